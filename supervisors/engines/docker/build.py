"""Building an image from a folder that holds a Dockerfile."""

import io
import tarfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from domain.backends.container import Build
from supervisors.engines.docker.daemon import Daemon
from supervisors.engines.protocol import EngineError

EXTRA_CA = "extra-ca.crt"
"""Name in the build context, and value of the build argument EXTRA_CA, of certificates to trust besides."""
_READ_SECONDS = 1800.0
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`arguments` are build arguments; `certificates` is PEM text, or None; `fresh` ignores the daemon's cache."""

    arguments: Mapping[str, str]
    certificates: bytes | None = None
    fresh: bool = False


class Builder:
    """Builds images. The first of `folders` that holds a build's folder is the one that counts."""

    def __init__(self, daemon: Daemon, folders: tuple[Path, ...]) -> None:
        self._daemon = daemon
        self._folders = folders

    async def build(self, build: Build, options: BuildOptions, on_line: Callable[[str], None]) -> str:
        """Build an image and return its id. `on_line` gets the lines; EngineError holds the last of them."""
        context = await trio.to_thread.run_sync(_context, self._folder(build), options.certificates)
        arguments = dict(options.arguments)
        if options.certificates is not None:
            arguments["EXTRA_CA"] = EXTRA_CA
        lines: list[str] = []
        image = ""

        def heard(line: dict[str, Any]) -> None:
            nonlocal image
            image = line.get("aux", {}).get("ID", image)
            for text in str(line.get("stream", "")).splitlines():
                if text.strip():
                    lines.append(text)
                    on_line(text)
            if "error" in line:
                tail = "\n".join(lines[-_TAIL_LINES:])
                raise EngineError(f"{build.image} could not be built: {line['error']}. It said last:\n{tail}")

        def run(_: Any) -> None:
            with closing(self._daemon.new_client(read_seconds=_READ_SECONDS)) as client:
                said = client.build(
                    fileobj=context,
                    custom_context=True,
                    tag=build.image,
                    buildargs=arguments,
                    nocache=options.fresh,
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
                for line in said:
                    trio.from_thread.run_sync(heard, line)

        await self._daemon.call(run)
        return image

    def _folder(self, build: Build) -> Path:
        for folder in self._folders:
            if (folder / build.folder / "Dockerfile").is_file():
                return folder / build.folder
        looked = ", ".join(str(folder / build.folder) for folder in self._folders)
        raise EngineError(f"There is no Dockerfile for {build.image}. Put it into {looked}, or mend `build`.")


def _context(folder: Path, certificates: bytes | None) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.add(folder, arcname=".", filter=_plain)
        if certificates is not None:
            info = tarfile.TarInfo(EXTRA_CA)
            info.size = len(certificates)
            tar.addfile(info, io.BytesIO(certificates))
    made.seek(0)
    return made


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what depends on the machine: owners, times, compiled files."""
    if "__pycache__" in info.name:
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info
