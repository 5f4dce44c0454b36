"""One declared backend: how its agent is started, probed and spoken to.

Everything that differs between agents is a field here. Code never asks for a backend by name.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


def _no_ordinal(name: str) -> str:
    if re.search(r"-a\d+$", name):
        raise ValueError("must not end like the name of a second agent (-a2)")
    return name


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$"), AfterValidator(_no_ordinal)]
"""Names runners and homes, where `-a2` means the second agent."""
Path = Annotated[str, StringConstraints(pattern=r"^/[^\s?#]*$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]


class SessionPlacement(BaseModel):
    """Where a request to this agent carries its session: a header, or a member of the JSON body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: Literal["header", "body"]
    name: str = Field(min_length=1)


class Backend(BaseModel):
    """A backend as declared in `backends.json`.

    `command`, and the values of `extra_env`, may hold `{python}` (this interpreter), `{port}` (the one that
    the agent must listen on), `{home}` (the agent's own folder) and `{key}` (the runner's own API key).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    display_name: str = Field(min_length=1, max_length=80)
    description: str = ""
    engine: Literal["docker", "process"] = "docker"
    disabled: bool = False

    command: tuple[str, ...] = ()
    extra_env: dict[EnvName, str] = {}
    user_overridable_env: tuple[EnvName, ...] = ()
    home_template: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Folder beside `backends.json` that is copied into an agent's home when the home is made."""
    container_prefix: Name | None = None
    """Start of the container's name; the backend's name when not given."""

    api_key_env: EnvName | None = None
    """Variable in which the agent is told the key that the router will present."""
    api_key_header: str = "Authorization"
    api_key_scheme: str = "Bearer"
    health_path: Path = "/health"
    ready_path: Path | None = None
    """Asked with the runner's key once `health_path` answers; any answer below 500 means ready."""
    startup_timeout_seconds: float | None = Field(default=None, gt=0)
    stop_grace_seconds: float = Field(default=10, ge=0, le=300)
    default_idle_seconds: int | None = Field(default=None, ge=0)

    extra_models: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = ()
    session: SessionPlacement | None = None
    model_handling: Literal["keep", "drop", "override"] = "keep"
    """What happens to `model` in a request: sent as it is, left out, or set to the agent's model override
    (left out when there is none)."""
    history: Literal["whole", "last_user"] = "whole"
    """`last_user`: the agent keeps the history by session and takes exactly one user message a request."""

    @property
    def models(self) -> tuple[str, ...]:
        """The model names under which it is offered: its own name first."""
        return (self.name, *self.extra_models)

    def container_name(self, slug: str, ordinal: int) -> str:
        """Return the name of a user's runner: `<prefix>-<slug>`, with `-a<ordinal>` from the second on."""
        return f"{self.container_prefix or self.name}-{slug}" + (f"-a{ordinal}" if ordinal > 1 else "")

    def home_name(self, ordinal: int) -> str:
        """Return the folder of a user's agent below `users/<slug>/`."""
        return self.name + (f"-a{ordinal}" if ordinal > 1 else "")
