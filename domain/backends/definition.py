"""One declared backend: how its agent is started, probed and spoken to.

Everything that differs between agents is a field here. Code never asks for a backend by name.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domain.backends.container import ContainerOptions, HomePath


def _no_ordinal(name: str) -> str:
    if re.search(r"-a\d+$", name):
        raise ValueError("must not end like the name of a second agent (-a2)")
    return name


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from None
    return pattern


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$"), AfterValidator(_no_ordinal)]
"""Names runners and homes, where `-a2` means the second agent."""
Path = Annotated[str, StringConstraints(pattern=r"^/[^\s?#]*$")]
Pattern = Annotated[str, AfterValidator(_compiles)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]*$")]


class SessionPlacement(BaseModel):
    """Where a request to this agent carries its session: a header, or a member of the JSON body."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    place: Literal["header", "body"]
    """Where."""
    name: str = Field(min_length=1)
    """Name of the header or member."""


class Backend(ContainerOptions):
    """A backend as declared in `backends.json`.

    `command`, and the values of `extra_env`, may hold `{python}` (this interpreter), `{host}` and `{port}` (where
    the agent must listen), `{home}` (the agent's own folder) and `{key}` (the runner's own API key).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Name
    """Lower-case letters, digits and dashes. Also the name of the model."""
    display_name: str = Field(min_length=1, max_length=80)
    """What people see."""
    description: str = ""
    """A sentence for people who choose."""
    engine: Literal["docker", "process"] = "docker"
    """`docker`: a container. `process`: a program that runs as the router's own user, isolated from nothing."""
    disabled: bool = False
    """Not offered, and not started."""

    command: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("command", "cmd"))
    """Program and arguments. In a container they follow the entry point, and the image's own when empty."""
    extra_env: dict[EnvName, str] = {}
    """Variables of the agent."""
    user_overridable_env: tuple[EnvName, ...] = ()
    """Variables whose values are each user's own; `extra_env` may hold a default. All of them must have one."""
    home_template: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Folder beside `backends.json` that is copied into an agent's home when the home is made."""
    templated_files: tuple[HomePath, ...] = ()
    """Files of the template that are written anew at every start, with `${VAR}` replaced by its variables."""
    container_prefix: Name | None = None
    """Start of the container's name; the backend's name when not given."""

    api_key_env: EnvName | None = None
    """Variable in which the agent is told the key that the router will present."""
    api_key_header: str = "Authorization"
    """Header in which the router presents it."""
    api_key_scheme: str = "Bearer"
    """Word before it."""
    health_path: Path = "/health"
    """Asked without the key; answers 2xx when the agent is up."""
    ready_path: Path | None = None
    """Asked with the runner's key once `health_path` answers; any answer below 500 means ready."""
    startup_timeout_seconds: float | None = Field(default=None, gt=0)
    """How long the agent may take to be ready; `BACKEND_STARTUP_TIMEOUT` when not given."""
    stop_grace_seconds: float = Field(default=10, ge=0, le=300)
    """Seconds between SIGTERM and SIGKILL."""
    default_idle_seconds: int | None = Field(default=None, ge=0)
    """How long a runner idles when its user has not chosen, 0 for ever; `DEFAULT_IDLE_SECONDS` when not given."""

    extra_models: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = ()
    """More names of models that lead here."""
    session: SessionPlacement | None = None
    """Where a request carries its session: `{"place": "header" or "body", "name": ...}`."""
    model_handling: Literal["keep", "drop", "override"] = "keep"
    """What happens to `model` in a request: sent as it is, left out, or set to the agent's model override
    (left out when there is none)."""
    forward_model_env: EnvName | None = None
    """With `override`: the variable whose value is sent as `model` when the agent has no override."""
    history: Literal["whole", "last_user"] = "whole"
    """`last_user`: the agent keeps the history by session and takes exactly one user message a request."""

    error_answers: tuple[Pattern, ...] = ()
    """Regular expressions. An answer in a conversation that begins with one is the agent's report of an error."""

    def is_error_answer(self, text: str) -> bool:
        """Tell whether an answer is really an error."""
        return any(re.match(pattern, text) for pattern in self.error_answers)

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        if self.engine == "docker" and not (self.image or self.build):
            raise ValueError("the docker engine needs an `image`, or a `build`")
        if self.engine == "process" and not self.command:
            raise ValueError("the process engine needs a `command`")
        if self.templated_files and not self.home_template:
            raise ValueError("`templated_files` needs a `home_template` that holds them")
        if self.forward_model_env and self.model_handling != "override":
            raise ValueError('`forward_model_env` needs `"model_handling": "override"`')
        return self

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
