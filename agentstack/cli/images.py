"""`agentstack images`: what the agents' containers run from."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
import trio
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from agentstack.cli.folder import as_json, console
from agentstack.declaration import build_folders, load_backends
from agentstack.engines import make_engines
from agentstack.settings import Settings, load_settings
from domain.backends.definition import Backend
from supervisors.engines.docker.build import BuildOptions
from supervisors.engines.docker.engine import DockerEngine
from supervisors.engines.docker.images import names_of
from supervisors.engines.protocol import EngineError

_MB = 1_000_000
T = TypeVar("T")


@click.group()
def images() -> None:
    """List, build and pull the images of agents."""


@images.command("list")
@as_json
def list_images(json_: bool) -> None:
    """List the images that the declared backends run from, and whether Docker has them."""
    rows = _with_docker(_rows)
    if json_:
        for row in rows:
            click.echo(orjson.dumps(row))
        return
    table = Table("backend", "image", "here", "size", "how to get it")
    for row in rows:
        size = f"{row['size'] / _MB:,.0f} MB" if row["size"] else ""
        table.add_row(row["backend"], row["image"], "yes" if row["present"] else "no", size, row["get"])
    console.print(table)


@images.command()
@click.argument("backends", nargs=-1)
@click.option("--base-image", help="Build on this image instead of the one that the Dockerfile names.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificates (PEM) to trust besides the usual ones, in the build and in the image.",
)
@click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Another build argument.")
@click.option("--no-cache", is_flag=True, help="Build every step anew.")
def build(
    backends: tuple[str, ...], base_image: str | None, ca: Path | None, arguments: tuple[str, ...], no_cache: bool
) -> None:
    """Build the images of these backends, or of all that can be built here."""
    more = dict(_pair(argument) for argument in arguments)
    if base_image:
        more["BASE_IMAGE"] = base_image
    options = BuildOptions(more, ca.read_bytes() if ca else None, no_cache)
    settings = load_settings()
    chosen = [b for b in _chosen(settings, backends) if b.build]
    without = set(backends) - {b.name for b in chosen}
    if without or not chosen:
        raise click.ClickException(f"No `build` is declared for {', '.join(sorted(without)) or 'any backend'}.")

    async def work(engine: DockerEngine, _: Sequence[Backend]) -> None:
        builder = engine.builder(build_folders(settings))
        for backend in chosen:
            if backend.build:
                console.rule(f"{backend.name}: {backend.build.image}")
                await builder.build(backend.build, options, lambda line: console.print(line, markup=False))
                console.print(f"Built {backend.build.image}.")

    _with_docker(work)


@images.command()
@click.argument("backends", nargs=-1)
def pull(backends: tuple[str, ...]) -> None:
    """Pull the missing images of these backends, or of all that are not built here."""
    settings = load_settings()

    async def work(engine: DockerEngine, _: Sequence[Backend]) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
        with Progress(*columns, console=console) as progress:
            for backend in _chosen(settings, backends):
                if backend.image is None:
                    continue
                task = progress.add_task(backend.image, total=1.0, detail="")

                def report(done: float, detail: str, task: Any = task) -> None:
                    progress.update(task, completed=done, detail=detail)

                found = await engine.images.ensure(backend, report)
                progress.update(task, completed=1.0, detail=f"{found.name} is here, {found.size / _MB:,.0f} MB")

    _with_docker(work)


async def _rows(engine: DockerEngine, backends: Sequence[Backend]) -> list[dict[str, Any]]:
    rows = []
    for backend in backends:
        for name in names_of(backend):
            found = await engine.images.find([name])
            built = backend.build is not None and name == backend.build.image
            rows.append(
                {
                    "backend": backend.name,
                    "image": name,
                    "present": found is not None,
                    "size": found.size if found else 0,
                    "get": f"agentstack images {'build' if built else 'pull'} {backend.name}",
                }
            )
    return rows


def _chosen(settings: Settings, names: tuple[str, ...]) -> list[Backend]:
    backends = load_backends(settings)
    of_docker = [b for b in backends if b.engine == DockerEngine.name]
    return [backends.get(name) for name in names] if names else of_docker


def _with_docker(work: Callable[[DockerEngine, Sequence[Backend]], Awaitable[T]]) -> T:
    """Do something with the engine, while it is followed, and the backends that use it."""
    settings = load_settings()
    engine = make_engines(settings, b"").docker

    async def run() -> T:
        await engine.check()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run, trio.lowlevel.checkpoint)
            done = await work(engine, _chosen(settings, ()))
            nursery.cancel_scope.cancel()
        return done

    try:
        return trio.run(run)
    except* EngineError as group:
        raise click.ClickException(str(group.exceptions[0])) from None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE.")
    return name, value
