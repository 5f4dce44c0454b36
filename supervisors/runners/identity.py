"""What a runner is made from: its home, its environment, its key and the fingerprint of it all."""

import hashlib
import hmac
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from domain.backends.definition import Backend
from projections.agents import Agent
from projections.users import User
from supervisors.engines.protocol import EngineError, RunnerSpec


@dataclass(frozen=True, slots=True)
class RunnerMaker:
    """Makes specifications. `secret` is the installation's own; runner keys are derived from it, never stored."""

    data_root: Path
    templates: Path
    secret: bytes
    callback_url: str

    def key(self, runner_id: str) -> str:
        """Return the key of one start: the same after a restart of the router, useless for any other."""
        return hmac.new(self.secret, f"runner:{runner_id}".encode(), hashlib.sha256).hexdigest()

    def home(self, backend: Backend, user: User, agent: Agent) -> Path:
        """Return the agent's folder below the data folder."""
        return (self.data_root / "users" / user.slug / backend.home_name(agent.ordinal)).absolute()

    def ensure_home(self, backend: Backend, home: Path) -> None:
        """Make the home, from its template when there is one, unless it exists. Blocking."""
        if home.is_dir():
            return
        home.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if backend.home_template is None:
            home.mkdir(mode=0o700)
            return
        template = self.templates / backend.home_template
        if not template.is_dir():
            raise EngineError(
                f"The home template {template} of backend {backend.name!r} does not exist. "
                "Create the folder, or mend `home_template` in backends.json."
            )
        unfinished = home.with_name(f".{home.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(template, unfinished, symlinks=True)
        unfinished.chmod(0o700)
        unfinished.replace(home)

    def spec(self, backend: Backend, user: User, agent: Agent, runner_id: str) -> RunnerSpec:
        """Return the specification of one start."""
        home = self.home(backend, user, agent)
        key = self.key(runner_id)

        def fill(text: str) -> str:
            return text.replace("{python}", sys.executable).replace("{home}", str(home)).replace("{key}", key)

        env = {
            "AGENT_STACK_AGENT_ID": agent.id,
            "AGENT_STACK_RUNNER_API_KEY": key,
            "AGENT_STACK_CALLBACK_URL": self.callback_url,
            "AGENT_USER_ID": user.id,
            "AGENT_USER_EMAIL": user.email,
            "AGENT_USER_NAME": user.name,
            **{name: fill(value) for name, value in backend.extra_env.items()},
        }
        if backend.api_key_env:
            env[backend.api_key_env] = key
        return RunnerSpec(
            runner_id=runner_id,
            agent_id=agent.id,
            user_id=user.id,
            backend=backend.name,
            name=backend.container_name(user.slug, agent.ordinal),
            command=tuple(fill(part) for part in backend.command),
            home=home,
            spec_hash=self.spec_hash(backend, user, agent),
            stop_grace_seconds=backend.stop_grace_seconds,
            env=env,
        )

    def spec_hash(self, backend: Backend, user: User, agent: Agent) -> str:
        """Return the fingerprint by which a restarted router tells whether a runner is still as declared."""
        made_from = [
            sys.executable,
            backend.engine,
            backend.command,
            backend.extra_env,
            backend.api_key_env,
            self.callback_url,
            str(self.home(backend, user, agent)),
            (user.email, user.name),
        ]
        return hashlib.sha256(orjson.dumps(made_from)).hexdigest()[:16]
