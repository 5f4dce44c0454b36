"""An image registry on the loopback address, from which a real engine pulls, and which fails when it is told to."""

import gzip
import hashlib
import http.server
import io
import json
import os
import platform
import re
import socket
import tarfile
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.harness.docker import remove_image
from tests.harness.images import saved_image

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def layer(files: dict[str, bytes]) -> bytes:
    """Return a layer with these files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def random_layer(size: int) -> bytes:
    """Return a layer that no engine has. Engines report progress about every 512 kB."""
    return layer({f"blob-{os.urandom(4).hex()}": os.urandom(size)})


class Registry:
    """`with Registry() as registry: reference = registry.add("name:tag", layers=[random_layer(1 << 20)])`.

    At the end the engine forgets what it has pulled. Faults, all of which can be changed while it runs:
    refusal    status with which manifests and layers are refused (0: they are not)
    breaks     layers break off in the middle; the engine goes on trying for more than a minute
    corrupts   layers arrive damaged; the engine gives up at once
    hold(), release()  layers all but stop in the middle; `held` is set when one does, `gone` when its client leaves
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.refusal = 0
        self.breaks = False
        self.corrupts = False
        self.held = threading.Event()
        self.gone = threading.Event()
        self.flowing = threading.Event()
        self.flowing.set()
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.blobs: dict[str, tuple[str, Path]] = {}
        self._references: list[str] = []

    def hold(self) -> None:
        """Let every layer stop in the middle from now on."""
        self.held.clear()
        self.gone.clear()
        self.flowing.clear()

    def release(self) -> None:
        """Let layers go on."""
        self.flowing.set()

    def add(self, name: str, layers: list[bytes], *, base: str = "", config: dict[str, Any] | None = None) -> str:
        """Offer an image and return the reference to pull. Its layers lie on those of `base`, which the engine has.

        Without a base there is nothing in it that could run.
        """
        image, saved = saved_image(base) if base else (_empty_image(), [])
        descriptors = [self._blob(data, _LAYER) for data in saved]
        image["config"].update(config or {})
        for data in layers:
            image["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(data).hexdigest()}")
            image["history"].append({"created_by": "a test"})
            descriptors.append(self._blob(gzip.compress(data, 1, mtime=0), _LAYER))
        config_blob = self._blob(json.dumps(image).encode(), _CONFIG)
        about = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_blob, "layers": descriptors}
        manifest = json.dumps(about).encode()
        repository, _, tag = name.partition(":")
        self.manifests[repository, tag] = manifest
        self.manifests[repository, f"sha256:{hashlib.sha256(manifest).hexdigest()}"] = manifest
        self._references.append(f"{self.host}/{repository}:{tag}")
        return self._references[-1]

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.host = f"127.0.0.1:{self._server.server_port}"  # Engines speak plain HTTP with a loopback address.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="registry")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._folder.cleanup()
        for reference in self._references:
            remove_image(reference)

    def _blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        path = Path(self._folder.name) / digest[7:]
        path.write_bytes(data)
        self.blobs[digest] = (media_type, path)
        return {"mediaType": media_type, "size": len(data), "digest": digest}


def _empty_image() -> dict[str, Any]:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    about: dict[str, Any] = {"config": {"Cmd": ["/nothing"]}, "rootfs": {"type": "layers", "diff_ids": []}}
    return {"architecture": architecture, "os": "linux", "history": [], **about}


def _handler(registry: Registry) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # Engines try TLS first: without an answer to its greeting they would wait for one.
            with suppress(OSError):
                if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
                    self.wfile.write(b"HTTP/1.0 400 This is plain HTTP\r\n\r\n")
                else:
                    super().handle()

        def do_GET(self) -> None:
            registry.requests.append(f"{self.command} {self.path}")
            found = re.fullmatch(r"/v2/(.+)/(?:manifests|blobs)/([^/]+)", self.path)
            name, key = found.groups() if found else ("", "")
            if found and registry.refusal:
                self._refuse(registry.refusal)
            elif self.path == "/v2/":
                self._send(b"{}", "application/json")
            elif (name, key) in registry.manifests:
                self._send(registry.manifests[name, key], _MANIFEST)
            elif key in registry.blobs:
                type_, path = registry.blobs[key]
                self._send(path.read_bytes(), type_)
            else:
                self._refuse(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _refuse(self, status: int) -> None:
            code = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN"}.get(status, "UNKNOWN")
            errors = [{"code": code, "message": f"the registry says {code.lower()}"}]
            self._send(json.dumps({"errors": errors}).encode(), "application/json", status)

        def _send(self, data: bytes, type_: str, status: int = 200) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", ""))
            start = int(asked[1]) if asked and type_ == _LAYER else 0
            self.send_response(206 if start else status)
            self.send_header("Content-Type", type_)
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(data).hexdigest()}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data[start:]) if type_ != _LAYER else self._send_layer(data, start)

        def _send_layer(self, data: bytes, start: int) -> None:
            half = start + (len(data) - start) // 2
            self.wfile.write(data[start:half])
            if registry.breaks:
                self.close_connection = True
                return
            while not registry.flowing.wait(0.02) and half < len(data) - 1:
                registry.held.set()
                try:
                    # An engine that has given up looks at its connection only when something comes.
                    self.wfile.write(data[half : half + 1])
                except OSError:
                    registry.gone.set()
                    raise
                half += 1
            self.wfile.write(data[half:-9] + bytes(9) if registry.corrupts else data[half:])

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
