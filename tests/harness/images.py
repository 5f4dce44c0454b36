"""The image in which the test agents run: built once, rebuilt when a source of it changes."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import docker.errors

from tests.harness.docker import BASE_IMAGE, engine_client
from tests.harness.scripted import Gates
from tests.harness.server import ROOT

IMAGE_PYTHON = (3, 11)
PORT = 8900
PACKAGES = (
    "attrs", "h11", "h2", "hpack", "hypercorn", "hyperframe", "idna", "orjson", "outcome", "priority", "sniffio",
    "sortedcontainers", "trio", "wsproto",
)  # fmt: skip
SOURCES = ("tests/__init__.py", "tests/agents/*.py", "images/__init__.py", "images/demo/*.py")
DOCKERFILE = f"""\
FROM {BASE_IMAGE}
COPY app /app
ENV PYTHONPATH=/app:/app/lib PYTHONUNBUFFERED=1 HOME=/home/agent
ENV SCRIPTED_HOST=0.0.0.0 SCRIPTED_PORT={PORT} DEMO_HOST=0.0.0.0 DEMO_PORT={PORT}
RUN python3 -m compileall -q /app && mkdir -m 755 /home/agent && chown 1000:1000 /home/agent
USER 1000:1000
WORKDIR /home/agent
CMD ["python3", "-m", "tests.agents.scripted"]
"""


@cache
def scripted_image() -> str:
    """Build the image unless the engine has it, and return its tag. It carries the demo agent, too."""
    with engine_client() as engine:
        try:
            base = engine.images.get(BASE_IMAGE).id
        except docker.errors.ImageNotFound as error:
            raise AssertionError(f"{BASE_IMAGE} is missing; `.ci/engine` makes it") from error
        sources = {"Dockerfile": DOCKERFILE.encode(), **dict(_sources())}
        tag = f"agent-stack-test-scripted:{_digest(base, sources)}"
        try:
            engine.images.get(tag)
        except docker.errors.ImageNotFound:
            context = _tar({**sources, **dict(_packages())})
            # No network: what runs in it is what the tests themselves run.
            engine.images.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True, network_mode="none"
            )
        return tag


def scripted_container(gates: Gates, env: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Return an entry of backends.json: the scripted agent in a container, with the gates mounted into it."""
    gates.folder.chmod(0o777)  # The agent is another user there.
    own = {"SCRIPTED_PORT": "{port}", "SCRIPTED_FOLDER": "/gates"}
    return {
        "name": "scripted",
        "display_name": "Scripted agent",
        "engine": "docker",
        "image": scripted_image(),
        "command": ["python3", "-m", "tests.agents.scripted"],
        "user": "1000:1000",
        "port": PORT,
        "mounts": [{"source": str(gates.folder), "target": "/gates", "read_only": False}],
        "extra_env": {**own, **(env or {})},
        "api_key_env": "SCRIPTED_KEY",
        "ready_path": "/v1/models",
        "stop_grace_seconds": 2,
        **changes,
    }


def demo_container(**changes: Any) -> dict[str, Any]:
    """Return an entry of backends.json: the demo agent, without its pauses, in a container."""
    return {
        "name": "demo",
        "display_name": "Demo agent",
        "engine": "docker",
        "image": scripted_image(),
        "command": ["python3", "-m", "images.demo"],
        "user": "1000:1000",
        "port": PORT,
        "extra_env": {"DEMO_PORT": "{port}", "DEMO_WORDS_PER_SECOND": "0"},
        "api_key_env": "DEMO_API_KEY",
        "ready_path": "/v1/models",
        "stop_grace_seconds": 2,
        **changes,
    }


def saved_image(reference: str) -> tuple[dict[str, Any], list[bytes]]:
    """Return the configuration and the layers, oldest first, of an image that the engine has."""
    with engine_client() as engine, tempfile.TemporaryFile() as file:
        for part in engine.images.get(reference).save(named=reference):
            file.write(part)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:

            def read(name: str) -> bytes:
                member = tar.extractfile(name)
                assert member is not None, name
                return member.read()

            about = json.loads(read("manifest.json"))[0]
            return json.loads(read(about["Config"])), [read(name) for name in about["Layers"]]


def _sources() -> Iterator[tuple[str, bytes]]:
    for pattern in SOURCES:
        for path in ROOT.glob(pattern):
            yield f"app/{path.relative_to(ROOT)}", path.read_bytes()


def _packages() -> Iterator[tuple[str, bytes]]:
    if sys.version_info[:2] == IMAGE_PYTHON:
        folder = Path(str(distribution("trio").locate_file("")))
        files = [folder / str(file) for package in PACKAGES for file in distribution(package).files or []]
        yield from _library(folder, files)
        return
    # Compiled packages of this interpreter are of no use in the image.
    with tempfile.TemporaryDirectory() as made:
        version = ".".join(map(str, IMAGE_PYTHON))
        options = ["--target", made, "--python-version", version, "--only-binary=:all:", "--no-deps", "--quiet"]
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, *_pins()], check=True)
        yield from _library(Path(made), [p for p in Path(made).rglob("*") if p.is_file()])


def _pins() -> list[str]:
    return [f"{package}=={distribution(package).version}" for package in PACKAGES]


def _library(folder: Path, files: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield what is needed to run: no tests, no programs, nothing that an installation writes for itself."""
    unwanted = {"__pycache__", "_tests", "..", "bin"}
    for path in files:
        inside = path.relative_to(folder)
        installed = inside.parent.suffix == ".dist-info" and inside.name != "METADATA"
        if not installed and not unwanted.intersection(inside.parts):
            yield f"app/lib/{inside}", path.read_bytes()


def _digest(base: str, sources: dict[str, bytes]) -> str:
    files = [f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(sources.items())]
    parts = [base, *_pins(), *files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _tar(context: dict[str, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in sorted(context.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    made.seek(0)
    return made
