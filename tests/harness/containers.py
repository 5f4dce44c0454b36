"""A server whose agents are real containers, of which nothing is left in the engine at the end."""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.harness.contract import is_problem
from tests.harness.docker import RUNNER_LABEL, containers_of, inspect, networks_of, remove_labelled
from tests.harness.events import events
from tests.harness.images import scripted_container
from tests.harness.person import Person
from tests.harness.scripted import Gates
from tests.harness.server import Server
from tests.harness.waiting import eventually

Json = dict[str, Any]
NETWORK_POOL = "10.207.0.0/16"
USER_LABEL = "io.agent-stack.user"


def agent(gates: Gates, env: dict[str, str] | None = None, **changes: Any) -> Json:
    """Return an entry of backends.json: the scripted agent as a user whose home we can make."""
    own = {} if os.getuid() == 0 else {"user": "{uid}:{gid}"}
    return scripted_container(gates, env, **{**own, **changes})


class ContainerServer(Server):
    """A server with a network pool of its own, and names that no other server on this engine uses.

    `prefix` begins the names of its containers: `<prefix>-<backend>-<slug>`.
    """

    def __init__(self, folder: Path, backends: list[Json], env: dict[str, str] | None = None) -> None:
        self.prefix = _kept_prefix(folder)
        named = [{"container_prefix": f"{self.prefix}-{b['name']}", **b} for b in backends]
        engine = {k: v for k, v in os.environ.items() if k == "DOCKER_HOST"}
        super().__init__(folder, backends=named, env={"RUNNER_NETWORK_POOL": NETWORK_POOL, **engine, **(env or {})})

    @property
    def instance(self) -> str:
        """What its containers and networks are labelled with."""
        secret = (self.data / "secrets" / "instance").read_text(encoding="ascii").strip()
        return hmac.new(secret.encode(), b"docker-label", hashlib.sha256).hexdigest()[:16]

    def containers(self, *, running: bool = False) -> list[Json]:
        """Return what `docker inspect` shows of its containers, oldest first."""
        return containers_of(self.instance, running=running)

    def networks(self) -> list[Json]:
        """Return what `docker network inspect` shows of its networks."""
        return networks_of(self.instance)

    def container(self, user: Person, backend: str = "scripted") -> Json:
        """Return what `docker inspect` shows of a user's runner."""
        found = inspect(f"{self.prefix}-{backend}-{slug(user)}")
        assert found is not None
        return found

    def __exit__(self, *args: object) -> None:
        try:
            super().__exit__(*args)
        finally:
            with suppress(FileNotFoundError):
                remove_labelled(self.instance)


def slug(user: Person) -> str:
    """Return the name that a user's folder and containers bear."""
    found: str = user.http.get("/auth/me").json()["user"]["slug"]
    return found


def user_id(user: Person) -> str:
    """Return the id of a user."""
    found: str = user.http.get("/auth/me").json()["user"]["id"]
    return found


def containers_of_user(user: Person) -> list[Json]:
    """Return what `docker inspect` shows of a user's containers, oldest first."""
    return containers_of(user_id(user), label=USER_LABEL)


def networks_of_user(user: Person) -> list[Json]:
    """Return what `docker network inspect` shows of a user's networks."""
    return networks_of(user_id(user), label=USER_LABEL)


def await_gone(user: Person) -> None:
    """Wait until the engine has neither a container nor a network of a user's."""
    eventually(lambda: not containers_of_user(user) and not networks_of_user(user), "all of it is removed")


def runner_of(container: Json) -> str:
    """Return the runner that a container is."""
    found: str = container["Config"]["Labels"][RUNNER_LABEL]
    return found


def runner_events(user: Person, *types: str) -> list[Json]:
    """Return the events of these types about one user's runners, oldest first."""
    id_ = user_id(user)
    found = events(user.server, "runner.requested", *types)
    own = {e["stream"] for e in found if e["payload"].get("user_id") == id_}
    return [e for e in found if e["stream"] in own and e["type"] in types]


def is_refused_everywhere(user: Person, backend: str, status: int, code: str, *words: str) -> None:
    """Assert that a cold start is refused with these words: to the page, to OpenAI's clients, and as a turn."""
    detail = is_problem(user.http.post(f"/api/runners/{backend}/start"), status, code)["detail"]
    answer = user.chat("say hello", backend)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    conversation = user.conversation(backend)
    assert user.await_turn(conversation, user.ask(conversation, "say hello")) == "failed"
    role, said = user.messages(conversation)[-1]
    assert role == "error"
    for text in (detail, error["message"], said):
        missing = [word for word in words if word not in text]
        assert not missing, f"{missing} not in {text!r}"
    assert user.runners() == []


def _kept_prefix(folder: Path) -> str:
    """Return the same prefix for every server on a folder."""
    path = folder / "prefix"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(f"t{secrets.token_hex(4)}")
    return path.read_text()
