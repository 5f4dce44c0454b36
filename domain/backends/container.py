"""How a backend's container is made: image, user, folders, network and limits.

Everything is as tight as it can be unless the declaration says otherwise.
"""

import re
from collections import Counter
from ipaddress import ip_address
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([bkmg]?)b?$", re.IGNORECASE)
_MIB = 1 << 20


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        found = _SIZE.match(value.strip())
        if not found:
            raise ValueError("must be a size such as 512m or 1.5g")
        return int(float(found[1]) * _UNITS[found[2].lower()])
    return value


def _straight(path: str) -> str:
    if {".", ".."} & set(path.split("/")) or "\0" in path:
        raise ValueError("must not hold the parts . or ..")
    return path


def _address(text: str) -> str:
    ip_address(text)
    return text


Size = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema({"type": ["string", "integer"], "pattern": _SIZE.pattern, "examples": ["512m", "1.5g"]}),
]
"""Bytes; written with a unit: `512m`."""
Ids = Annotated[str, StringConstraints(pattern=r"^(\d+|\{uid\}):(\d+|\{gid\})$")]
"""`uid:gid`. `{uid}` and `{gid}` are the router's own."""
ContainerPath = Annotated[str, StringConstraints(pattern=r"^(/[^/:]+)+$"), AfterValidator(_straight)]
"""An absolute path inside the container."""
HomePath = Annotated[str, StringConstraints(pattern=r"^[^/:]+(/[^/:]+)*$"), AfterValidator(_straight)]
"""A relative path below an agent's home, which leads nowhere else."""
Image = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]{0,254}$")]
Folder = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Host = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$")]
Capability = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z_]+$")]


class Build(BaseModel):
    """An image that can be built here: `folder` below `images/` holds its Dockerfile, `image` is its name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    folder: Folder
    """Folder below `images/`, beside the backends file or in agent-stack itself."""
    image: Image
    """The image's name."""


class Mount(BaseModel):
    """A folder of the host in the container.

    `source` is `{home}/...`, a folder in the agent's home that is made when it is missing, or an absolute path on
    the host. Of the data folder only `users/` and `shared/` may be given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: Annotated[str, StringConstraints(pattern=r"^(\{home\})?(/[^/:]+)+$"), AfterValidator(_straight)]
    """`{home}/...` or an absolute path."""
    target: ContainerPath
    """Where it is in the container."""
    read_only: bool = False
    """Whether the agent may only read it."""


class ContainerOptions(BaseModel):
    """The keys of a backend that say how its container is made. The process engine uses none of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image: Image | None = None
    """Pulled when it is missing. May be left out when there is a `build`."""
    build: Build | None = None
    """Preferred to `image` when it has been built (`agentstack images build`)."""
    entrypoint: tuple[str, ...] | None = None
    """Replaces the image's entry point."""

    user: Ids = "1000:1000"
    """Who the agent runs as, whatever the image says: `uid:gid`. `{uid}:{gid}` is the router itself."""
    chown: Ids | None = None
    """Who owns the files of the home; `user` when not given."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Where the agent listens in its container."""
    home: ContainerPath = "/home/agent"
    """Where the agent's home is in the container; also its variable `HOME`."""
    mounts: tuple[Mount, ...] = ()
    """More folders of the host: `{"source", "target", "read_only"}`."""
    tmpfs: tuple[ContainerPath, ...] = ("/tmp",)  # noqa: S108 - a path inside the container
    """Folders in memory, empty at every start."""
    read_only: bool = True
    """Whether all of the container but the home, mounts and tmpfs is read-only."""
    hostname: Host | None = None
    """The container's own name for itself; its container name when not given. It is the same at every start."""

    extra_hosts: dict[Host, str] = {}
    """More names, with their addresses. `host.docker.internal` is always there."""
    extra_networks: tuple[str, ...] = ()
    """Docker networks that the container joins besides its user's own."""
    dns: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    """Name servers, instead of Docker's."""
    network_mode: Annotated[str, StringConstraints(pattern=r"^(user|bridge|host)$")] = "user"
    """`user`: a network of its user's own. `bridge`: Docker's default network, shared. `host`: no isolation."""

    memory: Annotated[Size, Field(ge=16 * _MIB)] = 1024 * _MIB
    """Most memory, without any swap."""
    cpus: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] = 1.0
    """Most processors; never more than the machine has."""
    pids: Annotated[int, Field(ge=1)] = 256
    """Most processes and threads."""
    shm_size: Annotated[Size, Field(ge=_MIB)] = 64 * _MIB
    """Size of `/dev/shm`. Browsers want more."""
    capabilities: tuple[Capability, ...] = ()
    """Linux capabilities that are kept; all others are dropped."""
    log_max_size: Annotated[Size, Field(ge=1024)] = 10 * _MIB
    """Size at which what the agent prints is begun in a new file."""
    log_max_files: Annotated[int, Field(ge=1)] = 3
    """How many such files are kept."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        places = Counter([self.home, *self.tmpfs, *(mount.target for mount in self.mounts)])
        twice = [place for place, count in places.items() if count > 1]
        if twice:
            raise ValueError(
                f"the path {twice[0]} in the container is given to two of `home`, `mounts` and `tmpfs`"
            )
        if self.network_mode == "host" and self.extra_networks:
            raise ValueError('`extra_networks` cannot be joined with `"network_mode": "host"`')
        return self
