"""The events that the earlier agent-stack would have written: same ids, times and order."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agentstack.legacy.database import Legacy, Row, is_time
from domain.agents.events import AgentChanged, AgentCreated
from domain.conversations.events import ConversationStarted, MessagePosted
from domain.errors import DomainError
from domain.event import Event
from domain.keys.events import KeySet, KeyShared
from domain.users.events import UserIdleChanged
from domain.users.rules import display_name, normal_email, register, slug_base
from eventlog.bounds import check
from eventlog.envelope import StreamAppend
from eventlog.errors import UnkeepableError

_GOOD_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_LIKE_A_SECOND_AGENT = re.compile(r"(.*-)?a\d*")
"""Containers and homes of second agents end like this: such a slug could be taken for one."""

_ODD_VALUES = (ArithmeticError, AttributeError, TypeError, ValueError)
"""What is raised by a value of a kind that the column should not hold: SQLite holds any in each."""

EmailStream = Callable[[str], str]
"""Returns the stream in which an address is claimed."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """One event; `at` is in unix seconds."""

    at: float
    stream: str
    event: Event
    owner: str


def plan(legacy: Legacy, email_stream: EmailStream) -> tuple[list[StreamAppend], dict[str, str]]:
    """Return the appends in the order of time, and the slugs that had to change (old to new).

    Problems are added to `legacy`.
    """
    planner = _Planner(legacy, email_stream)
    planned = sorted(planner.events(), key=lambda p: p.at)  # Of one moment, as they were planned.
    versions: dict[str, int] = {}
    appends = []
    for one in planned:
        version = versions.get(one.stream, 0)
        versions[one.stream] = version + 1
        appends.append(StreamAppend(one.stream, version, [one.event], one.owner, round(one.at * 1e6)))
    return appends, {old: new for old, new in planner.slugs.items() if old != new}


class _Planner:
    """Makes the events of each row, table by table, so that what others depend on comes first."""

    def __init__(self, legacy: Legacy, email_stream: EmailStream) -> None:
        self._legacy = legacy
        self._email_stream = email_stream
        self._owners = {str(c["id"]): str(c["user_id"]) for c in legacy["conversations"]}
        self._begun = {str(c["id"]): c["created_at"] for c in legacy["conversations"]}
        self._born = {str(u["id"]): u["created_at"] for u in legacy["users"]}
        self.slugs = _slugs(legacy)

    def events(self) -> Iterator[_Planned]:
        """Yield all events; a row that cannot be brought in becomes a problem."""
        makers: dict[str, Callable[[Row], Iterator[_Planned]]] = {
            "users": self._user,
            "user_backend_prefs": self._pref,
            "user_env_overrides": self._key,
            "admin_shared_env": self._share,
            "agents": self._agent,
            "conversations": self._conversation,
            "messages": self._message,
        }
        for table, make in makers.items():
            for row in self._legacy[table]:
                try:
                    made = [one for one in make(row) if is_time(one.at)]
                    for one in made:
                        check(one.event.model_dump())
                    yield from made
                except (DomainError, UnkeepableError, *_ODD_VALUES) as error:
                    which = row.get("id", row.get("user_id", ""))
                    self._legacy.problems.append(f"{table} {which}: {error}")

    def _user(self, row: Row) -> Iterator[_Planned]:
        user_id, email = str(row["id"]), str(row["email"]).strip()
        address = normal_email(email)
        events = register(
            user_id=user_id,
            email=email,
            name=display_name(row["name"], address),
            slug=self.slugs[str(row["slug"])],
            role="admin" if row["role"] == "admin" else "user",
            password_hash=str(row["pw_hash"]),
            email_key=self._email_stream(address).partition(":")[2],
        )
        for stream, event in events.items():
            yield _Planned(row["created_at"], stream, event, user_id)

    def _pref(self, row: Row) -> Iterator[_Planned]:
        user_id, seconds = str(row["user_id"]), max(0, int(row["idle_seconds"] or 0))
        event = UserIdleChanged(user_id=user_id, backend=str(row["backend"]), idle_seconds=seconds)
        yield _Planned(self._since(user_id), f"user:{user_id}", event, user_id)

    def _key(self, row: Row) -> Iterator[_Planned]:
        user_id = str(row["user_id"])
        if row["value"]:
            about = {"user_id": user_id, "backend": str(row["backend_name"] or ""), "name": str(row["env_var"])}
            at = max(row["updated_at"], self._since(user_id))
            yield _Planned(at, f"keys:{user_id}", KeySet(**about, value=str(row["value"])), user_id)

    def _share(self, row: Row) -> Iterator[_Planned]:
        event = KeyShared(name=str(row["env_var"]), shared=bool(row["shared"]))
        yield _Planned(row["updated_at"], "keys:shared", event, "")

    def _agent(self, row: Row) -> Iterator[_Planned]:
        agent_id, user_id = str(row["id"]), str(row["user_id"])
        name, model = str(row["name"] or row["backend"]), str(row["model"] or "")
        created = AgentCreated(
            agent_id=agent_id,
            user_id=user_id,
            backend=str(row["backend"]),
            name=name,
            model=model,
            ordinal=int(row["ordinal"]),
        )
        yield _Planned(row["created_at"], f"agent:{agent_id}", created, user_id)
        if row["updated_at"] > row["created_at"]:
            changed = AgentChanged(agent_id=agent_id, name=name, model=model)
            yield _Planned(row["updated_at"], f"agent:{agent_id}", changed, user_id)

    def _conversation(self, row: Row) -> Iterator[_Planned]:
        conversation_id, user_id = str(row["id"]), str(row["user_id"])
        event = ConversationStarted(
            conversation_id=conversation_id,
            user_id=user_id,
            agent_id=str(row["agent_id"]),
            backend=str(row["backend"]),
            model=str(row["model"] or ""),
            title=str(row["title"] or ""),
        )
        yield _Planned(row["created_at"], f"conversation:{conversation_id}", event, user_id)

    def _message(self, row: Row) -> Iterator[_Planned]:
        conversation_id = str(row["conversation_id"])
        event = MessagePosted(
            conversation_id=conversation_id,
            message_id=str(row["id"]),
            role=row["role"],
            content=str(row["content"] or ""),
        )
        owner = self._owners.get(conversation_id, "")
        # A clock that was set back does not put a message before its conversation.
        at = max(row["created_at"], self._begun.get(conversation_id, 0))
        yield _Planned(at, f"conversation:{conversation_id}", event, owner)

    def _since(self, user_id: str) -> float:
        """Return when a user's account was made: what has no time of its own happened then."""
        return float(self._born.get(user_id, 0.0))


def _slugs(legacy: Legacy) -> dict[str, str]:
    """Return a slug that is good here for each one there; most stay as they are."""
    kept = {str(u["slug"]) for u in legacy["users"] if _is_good(str(u["slug"]))}
    found = {slug: slug for slug in kept}
    for user in legacy["users"]:
        old, base, number = str(user["slug"]), slug_base(str(user["email"])), 1
        if old in kept:
            continue
        new = base
        while new in found.values():
            number += 1
            new = f"{base}{number}"
        found[old] = new
    return found


def _is_good(slug: str) -> bool:
    return bool(_GOOD_SLUG.fullmatch(slug)) and not _LIKE_A_SECOND_AGENT.fullmatch(slug)
