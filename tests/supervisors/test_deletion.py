"""Deleting a user: what goes, what stays, and what happens beside it."""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from agentstack.root import Stack
from domain.errors import Conflict, DomainError, Invalid, NotFound, Unavailable
from domain.runners.machine import State
from eventlog.errors import AppendFailedError, EventLogError
from eventlog.filter import Filter
from eventlog.log import EventLog
from projections.users import User
from tests.harness.processes import is_running
from tests.harness.waiting import PATIENCE_SECONDS
from tests.projections.histories import rows
from tests.supervisors.deletion_setup import left_of, settled_in
from tests.supervisors.whole import KEY, ORIGIN, PASSWORD, make_user, whole_stack

EMAIL = "ada@example.org"


@pytest.fixture
async def ada(stack: Stack) -> User:
    """Return a user who has something of everything."""
    return await settled_in(stack, EMAIL)


async def _types(stack: Stack, stream: str) -> list[str]:
    return [r.type for r in await stack.services.log.read_stream(stream)]


# -- what goes --------------------------------------------------------------------------------------------


async def test_of_a_deleted_user_nothing_is_left_but_who_did_what_when(stack: Stack, ada: User) -> None:
    services = stack.services
    folder = stack.settings.stack_data_root / "users" / ada.slug
    (agent,) = services.views.agents.of_user(ada.id)
    supervisor = services.pool.supervise(agent)
    assert supervisor.state is State.READY
    pid = _pid(stack)
    assert folder.exists()
    before = await services.log.read(Filter(), limit=-1)
    assert len(left_of(stack, ada)) >= 10

    await services.deletion.delete(ada, ORIGIN)

    assert left_of(stack, ada) == set()
    assert ada.id not in services.deletion._vault
    assert not folder.exists()
    assert services.pool.find(agent.id) is None
    assert not is_running(pid)
    after = await services.log.read(Filter(), limit=-1)
    assert [(r.position, r.stream, r.type, r.time) for r in after[: len(before)]] == [
        (r.position, r.stream, r.type, r.time) for r in before
    ]
    mine = [r for r in after if r.erased]
    assert {r.type for r in mine} >= {"user.registered", "session.opened", "message.posted", "turn.finished"}
    assert all(not getattr(r.event, name) for r in mine for name in r.event.PRIVATE)
    assert [r.type for r in after[len(before) :]] == [
        "conversation.deleted",
        "agent.deleted",
        "email.released",
        "user.deleted",
        "runner.stopped",
    ]
    assert services.log.reader.verify() == len(after)


def _pid(stack: Stack) -> int:
    (record,) = (stack.settings.stack_data_root / "runners").glob("*/runner.json")
    pid: int = orjson.loads(record.read_bytes())["pid"]
    assert is_running(pid)
    return pid


async def test_other_users_keep_everything(stack: Stack, ada: User) -> None:
    bob = await settled_in(stack, "bob@example.org")
    before = {name: [r for r in table if bob.id in repr(r)] for name, table in rows(stack.services.views).items()}
    await stack.services.deletion.delete(ada, ORIGIN)
    after = {name: [r for r in table if bob.id in repr(r)] for name, table in rows(stack.services.views).items()}
    assert after == before
    (conversation,) = stack.services.views.conversations.of_user(bob.id)
    state = await stack.services.conversations.load(conversation.id, bob.id)
    assert [m.content for m in state.messages] == ["say hello", "hello "]


async def test_a_running_answer_is_ended_without_a_complaint(
    stack: Stack, ada: User, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    services = stack.services
    (conversation,) = services.views.conversations.of_user(ada.id)
    state = await services.conversations.load(conversation.id, ada.id)
    live = await services.turns.ask(state, "gates slow 2", "", ORIGIN)
    with trio.fail_after(PATIENCE_SECONDS):
        while not (tmp_path / "gates" / "slow.0.reached").exists():
            await trio.sleep(0.01)
        await services.deletion.delete(ada, ORIGIN)
    assert live.ended.is_set()
    assert services.turns.statistics() == {"running": 0}
    assert services.admission.statistics() == {"running": 0, "users": 0}
    assert "Traceback" not in "".join(capfd.readouterr())
    assert (await _types(stack, f"conversation:{conversation.id}"))[-1] == "conversation.deleted"
    await services.usage.flush()
    assert left_of(stack, ada) == set()


async def test_nothing_can_be_kept_for_a_deleted_user_any_more(stack: Stack, ada: User) -> None:
    services = stack.services
    (agent,) = services.views.agents.of_user(ada.id)
    await services.deletion.delete(ada, ORIGIN)
    with pytest.raises(EventLogError, match="destroyed"):
        await services.accounts.open_session(ada, "a device", ORIGIN)
    with pytest.raises((EventLogError, DomainError)):
        await services.agents.change(agent, "Other", None, ORIGIN)
    with pytest.raises(DomainError):
        await services.accounts.authenticate(EMAIL, PASSWORD)
    assert await services.log.is_writable()


async def test_the_address_can_be_used_again_and_the_slug_is_never_given_out_twice(stack: Stack, ada: User) -> None:
    slugs = {ada.slug}
    user = ada
    for spelling in ("ADA@example.org", "ada@EXAMPLE.org", "ada@example.org"):
        await stack.services.deletion.delete(user, ORIGIN)
        user = await make_user(stack, spelling)
        assert user.slug not in slugs
        slugs.add(user.slug)
        with pytest.raises(Conflict):
            await make_user(stack, EMAIL)
    claims = await _types(stack, stack.services.accounts.email_stream(EMAIL))
    assert claims == ["email.claimed", "email.released"] * 3 + ["email.claimed"]


# -- what stays -------------------------------------------------------------------------------------------


async def test_the_admin_stays(stack: Stack) -> None:
    admin = stack.services.views.users.admin()
    assert admin is not None
    with pytest.raises(Invalid) as refused:
        await stack.services.deletion.delete(admin, ORIGIN)
    assert refused.value.reason == "admin_stays"
    assert await stack.services.accounts.authenticate(admin.email, PASSWORD) == admin


async def test_a_disk_that_refuses_keeps_the_user_whole(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(stack.services.views)

    async def refuse(*_: Any, **__: Any) -> None:
        raise AppendFailedError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", refuse)
        with pytest.raises(AppendFailedError):
            await stack.services.deletion.delete(ada, ORIGIN)
    assert rows(stack.services.views) == before
    (conversation,) = stack.services.views.conversations.of_user(ada.id)
    state = await stack.services.conversations.load(conversation.id, ada.id)
    live = await stack.services.turns.ask(state, "say again", "", ORIGIN)
    with trio.fail_after(PATIENCE_SECONDS):
        await live.ended.wait()
    await stack.services.deletion.delete(ada, ORIGIN)
    assert left_of(stack, ada) == set()


async def test_homes_that_cannot_be_removed_are_named_and_the_key_is_gone_all_the_same(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await make_user(stack, EMAIL)
    await stack.services.tokens.create(user.id, name="T", scope="v1", models=(), expires_at=None, origin=ORIGIN)
    monkeypatch.setattr("supervisors.commands.deletion.remove", _busy)
    with pytest.raises(Unavailable, match=f"busy.*users/{user.slug} by hand") as refused:
        await stack.services.deletion.delete(user, ORIGIN)
    assert refused.value.reason == "homes_not_removed"
    assert left_of(stack, user) == set()
    assert [r.erased for r in await stack.services.log.read_stream(f"user:{user.id}")] == [True, False]


async def _busy(_: Path) -> str:
    return "Device or resource busy"


@pytest.mark.parametrize("kind", ["file", "link"])
async def test_what_stands_in_the_place_of_homes_goes_and_not_what_it_leads_to(
    stack: Stack, tmp_path: Path, kind: str
) -> None:
    user = await make_user(stack, EMAIL)
    users, elsewhere = stack.settings.stack_data_root / "users", tmp_path / "elsewhere"
    users.mkdir(exist_ok=True)
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    if kind == "file":
        (users / user.slug).touch()
    else:
        (users / user.slug).symlink_to(elsewhere)
    await stack.services.deletion.delete(user, ORIGIN)
    assert not os.path.lexists(users / user.slug)
    assert (elsewhere / "kept").exists()
    assert left_of(stack, user) == set()


# -- what happens beside it -------------------------------------------------------------------------------

Deed = Callable[[Stack, User], Awaitable[object]]


async def _opens_a_conversation(stack: Stack, user: User) -> None:
    (agent,) = stack.services.views.agents.of_user(user.id)
    await stack.services.conversations.start(agent, "", "A late one", ORIGIN)


async def _makes_an_agent(stack: Stack, user: User) -> None:
    backend = stack.services.backends.get("scripted")
    await stack.services.agents.create(user.id, backend, "A late one", "", ORIGIN)


async def _makes_a_token(stack: Stack, user: User) -> None:
    await stack.services.tokens.create(user.id, name="T", scope="v1", models=(), expires_at=None, origin=ORIGIN)


async def _signs_in(stack: Stack, user: User) -> None:
    await stack.services.accounts.open_session(user, "a device", ORIGIN)


async def _sets_a_key(stack: Stack, user: User) -> None:
    await stack.services.keys.set(user.id, "scripted", KEY, "late", ORIGIN, at_once=False)


async def _renames(stack: Stack, user: User) -> None:
    await stack.services.accounts.rename(user, "Another name", ORIGIN)


async def _says_something(stack: Stack, user: User) -> None:
    conversation = stack.services.views.conversations.of_user(user.id)[0]
    await stack.services.conversations.post(conversation.id, user.id, "user", "late", ORIGIN)


DEEDS: list[Deed] = [
    _opens_a_conversation,
    _makes_an_agent,
    _makes_a_token,
    _signs_in,
    _sets_a_key,
    _renames,
    _says_something,
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda d: d.__name__.strip("_"))
async def test_what_a_user_does_just_while_being_deleted_is_deleted_too(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    """The deed comes when the deletion has looked at what there is, and has not written of it yet."""
    deletion, done = stack.services.deletion, False
    original = deletion._ends.version

    async def version(stream: str) -> int:
        nonlocal done
        found = await original(stream)
        if stream == f"user:{ada.id}" and not done:  # The last one that it looks at.
            done = True
            await deed(stack, ada)
        return found

    monkeypatch.setattr(deletion._ends, "version", version)
    await deletion.delete(ada, ORIGIN)
    assert done
    assert left_of(stack, ada) == set()
    live = rows(stack.services.views)
    replayed = type(stack.services.views)()
    await trio.to_thread.run_sync(replayed.catch_up, stack.services.log.reader)
    assert rows(replayed) == live


async def test_a_runner_that_is_started_just_while_its_user_is_deleted_is_stopped(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletion, done = stack.services.deletion, False
    original = deletion._ends.version
    supervisors = []

    async def version(stream: str) -> int:
        nonlocal done
        if not done:
            done = True
            backend = stack.services.backends.get("scripted")
            agent = await stack.services.agents.create(ada.id, backend, "A late one", "", ORIGIN)
            supervisors.append(stack.services.pool.supervise(agent))
            async with supervisors[0].lease(ORIGIN):
                pass
        return await original(stream)

    monkeypatch.setattr(deletion._ends, "version", version)
    await deletion.delete(ada, ORIGIN)
    assert [s.state for s in supervisors] == [State.ABSENT]
    assert list((stack.settings.stack_data_root / "runners").iterdir()) == []
    assert left_of(stack, ada) == set()


async def test_two_deletions_at_once_are_one(stack: Stack, ada: User) -> None:
    refused: list[DomainError] = []

    async def delete() -> None:
        try:
            await stack.services.deletion.delete(ada, ORIGIN)
        except NotFound as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(delete)
    assert left_of(stack, ada) == set()
    assert (await _types(stack, f"user:{ada.id}")).count("user.deleted") == 1
    claims = await _types(stack, stack.services.accounts.email_stream(EMAIL))
    assert claims == ["email.claimed", "email.released"]


async def test_a_choice_that_comes_too_late_leaves_nothing_and_does_not_keep_the_next_start_from_happening(
    tmp_path: Path,
) -> None:
    """Its request was let in before, and nothing in its event is private: the missing key does not stop it."""
    async with whole_stack(tmp_path) as stack:
        user = await make_user(stack, EMAIL)
        await stack.services.deletion.delete(user, ORIGIN)
        with suppress(DomainError, EventLogError):
            await stack.services.accounts.choose_idle(user, "scripted", 60, ORIGIN)
        left = left_of(stack, user)
    async with whole_stack(tmp_path) as stack:
        assert await stack.services.log.is_writable()
    assert left == set()
