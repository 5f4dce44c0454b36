"""What a runner is made from: its environment, its key and the fingerprint of it all."""

import hashlib
import hmac
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from domain.backends.container import ContainerOptions
from domain.backends.definition import Backend
from domain.errors import Unprocessable
from domain.keys.policy import values
from projections.agents import Agent
from projections.users import User
from projections.views import Views
from supervisors.engines.protocol import RunnerSpec

_MADE_FROM = {
    "engine",
    "command",
    "api_key_env",
    "home_template",
    "templated_files",
    *ContainerOptions.model_fields,
}
"""The keys of a backend that a runner is made from; the others are the router's own business."""


@dataclass(frozen=True, slots=True)
class RunnerMaker:
    """Makes specifications. `secret` is the installation's own; runner keys are derived from it, never stored."""

    views: Views
    data_root: Path
    secret: bytes
    callback_urls: Mapping[str, str]
    """Where agents reach this server, by engine: the loopback address of a container is its own."""
    agents_host: str
    """Where agents listen."""

    def key(self, runner_id: str) -> str:
        """Return the key of one start: the same after a restart of the router, useless for any other."""
        return hmac.new(self.secret, f"runner:{runner_id}".encode(), hashlib.sha256).hexdigest()

    def home(self, backend: Backend, user: User, agent: Agent) -> Path:
        """Return the agent's folder below the data folder."""
        return (self.data_root / "users" / user.slug / backend.home_name(agent.ordinal)).absolute()

    def effective(self, backend: Backend, user_id: str) -> dict[str, str]:
        """Return the variables of a backend that have a value for a user, and the values."""
        return values(self.views.effective(backend, user_id))

    def model(self, backend: Backend, agent: Agent) -> str:
        """Return the model to ask an agent for: its override, else what its user has set, else ""."""
        if agent.model or backend.forward_model_env is None:
            return agent.model
        return self.effective(backend, agent.user_id).get(backend.forward_model_env, "")

    def spec(self, backend: Backend, user: User, agent: Agent, runner_id: str) -> RunnerSpec:
        """Return the specification of one start. Raises Unprocessable when a variable has no value."""
        home = self.home(backend, user, agent)
        key = self.key(runner_id)
        home_seen = backend.home if backend.engine == "docker" else str(home)

        def fill(text: str) -> str:
            return text.replace("{python}", sys.executable).replace("{home}", home_seen).replace("{key}", key)

        own = self._own_values(backend, user.id)
        env = {
            "AGENT_STACK_AGENT_ID": agent.id,
            "AGENT_STACK_RUNNER_API_KEY": key,
            "AGENT_STACK_CALLBACK_URL": self.callback_urls[backend.engine],
            "AGENT_USER_ID": user.id,
            "AGENT_USER_EMAIL": user.email,
            "AGENT_USER_NAME": user.name,
            **{name: fill(value) for name, value in backend.extra_env.items()},
            **{name: fill(value) if value == backend.extra_env.get(name) else value for name, value in own.items()},
        }
        if backend.api_key_env:
            env[backend.api_key_env] = key
        return RunnerSpec(
            runner_id=runner_id,
            agent_id=agent.id,
            user_id=user.id,
            user_slug=user.slug,
            backend=backend,
            name=backend.container_name(user.slug, agent.ordinal),
            command=tuple(fill(part) for part in backend.command),
            home=home,
            spec_hash=self.spec_hash(backend, user, agent),
            env=env,
            values=own,
        )

    def _own_values(self, backend: Backend, user_id: str) -> dict[str, str]:
        own = self.effective(backend, user_id)
        missing = [name for name in backend.user_overridable_env if name not in own]
        if missing:
            raise Unprocessable(
                f"{backend.display_name} needs a value for {', '.join(missing)}. "
                "Set it under Settings, Keys, or ask the admin to share theirs.",
                code="missing_values",
                missing=missing,
            )
        return own

    def spec_hash(self, backend: Backend, user: User, agent: Agent) -> str:
        """Return the fingerprint by which a restarted router tells whether a runner is still as declared."""
        made_from = [
            sys.executable if backend.engine == "process" else "",
            backend.model_dump(mode="json", include=_MADE_FROM),
            sorted(backend.extra_env.items()),
            sorted(self.effective(backend, user.id).items()),
            self.callback_urls[backend.engine],
            self.agents_host,
            str(self.home(backend, user, agent)),
            (user.email, user.name),
        ]
        # Keyed: values that somebody could guess are among it, and it is in events and labels.
        return hmac.new(self.secret, orjson.dumps(made_from), hashlib.sha256).hexdigest()[:16]
