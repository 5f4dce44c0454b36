"""What comes while a user is being deleted: it goes too, and it holds nothing up."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from agentstack.root import Stack
from domain.conversations.events import Usage
from domain.errors import DomainError
from domain.users.events import UserDeleted
from eventlog.errors import AppendFailedError
from projections.users import User
from tests.harness.waiting import PATIENCE_SECONDS
from tests.projections.histories import rows
from tests.supervisors.deletion_setup import left_of, settled_in
from tests.supervisors.whole import KEY, ORIGIN, make_user
from web.auth.guard import Caller

Deed = Callable[[], Awaitable[object]]


@pytest.fixture
async def ada(stack: Stack) -> User:
    """Return a user who has something of everything."""
    return await settled_in(stack, "ada@example.org")


async def _replayed(stack: Stack) -> dict[str, list[Any]]:
    """Return the rows that the log alone leads to."""
    views = type(stack.services.views)()
    await trio.to_thread.run_sync(views.catch_up, stack.services.log.reader)
    return rows(views)


# -- after the account has gone ---------------------------------------------------------------------------


def _once_gone(stack: Stack, patch: pytest.MonkeyPatch, deed: Deed) -> None:
    """Do it right after the account has gone from the log."""
    original = stack.services.log.append

    async def append(*appends: Any, **more: Any) -> Any:
        found = await original(*appends, **more)
        if any(isinstance(event, UserDeleted) for a in appends for event in a.events):
            await deed()
        return found

    patch.setattr(stack.services.log, "append", append)


def _at_last(stack: Stack, patch: pytest.MonkeyPatch, deed: Deed) -> None:
    """Do it when all that was left over is gone, and only the homes and the key are there."""
    deletion = stack.services.deletion
    original = deletion._finish

    async def finish(user_id: str, slug: str) -> None:
        await deed()
        await original(user_id, slug)

    patch.setattr(deletion, "_finish", finish)


@pytest.mark.parametrize("moment", [_once_gone, _at_last], ids=lambda m: m.__name__.strip("_"))
async def test_a_key_and_a_token_that_come_after_the_account_has_gone_are_gone_afterwards(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch, moment: Callable[..., None]
) -> None:
    services, seen = stack.services, set[str]()

    async def deed() -> None:
        """As a request does that was let in before."""
        assert services.views.users.find(ada.id) is None
        await services.keys.set(ada.id, "scripted", KEY, "late", ORIGIN, at_once=False)
        await services.tokens.create(ada.id, name="T", scope="v1", models=(), expires_at=None, origin=ORIGIN)
        seen.update(left_of(stack, ada))

    moment(stack, monkeypatch, deed)
    await services.deletion.delete(ada, ORIGIN)
    assert seen, "both were there"
    assert left_of(stack, ada) == set()
    assert await _replayed(stack) == rows(services.views)


async def test_a_key_and_a_token_go_also_when_the_homes_cannot_be_removed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await make_user(stack, "ada@example.org")

    async def busy(_: object) -> str:
        return "Device or resource busy"

    monkeypatch.setattr("supervisors.commands.deletion.remove", busy)

    async def deed() -> None:
        await stack.services.keys.set(user.id, "scripted", KEY, "late", ORIGIN, at_once=False)

    _at_last(stack, monkeypatch, deed)
    with pytest.raises(DomainError, match="by hand"):
        await stack.services.deletion.delete(user, ORIGIN)
    assert left_of(stack, user) == set()


# -- at the same time -------------------------------------------------------------------------------------


async def test_usage_that_is_being_written_at_the_same_time_leaves_no_row(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = stack.services
    usage, reached, go = services.usage, trio.Event(), trio.Event()
    original = usage._ends.append

    async def append(*args: Any, **more: Any) -> None:
        reached.set()
        await go.wait()
        await original(*args, **more)

    (agent,) = services.views.agents.of_user(ada.id)
    told = Usage(prompt_tokens=3, completion_tokens=5)
    usage.count(agent, services.backends.get("scripted"), "scripted", told, failed=False)
    monkeypatch.setattr(usage._ends, "append", append)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.flush)
            await reached.wait()
            nursery.start_soon(services.deletion.delete, ada, ORIGIN)
            try:  # It goes on until it waits for the usage; if it did not, the account would be gone now.
                while services.views.users.find(ada.id) and not usage._writing.statistics().tasks_waiting:
                    await trio.sleep(0.01)
            finally:
                go.set()
    assert left_of(stack, ada) == set()
    assert await _replayed(stack) == rows(services.views)


async def test_a_user_who_renames_a_conversation_at_every_look_holds_up_no_deletion(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another name comes whenever the deletion looks at anything else."""
    services, names = stack.services, 0
    (conversation,) = services.views.conversations.of_user(ada.id)
    original = services.deletion._ends.version

    async def version(stream: str) -> int:
        nonlocal names
        found = await original(stream)
        if stream != f"conversation:{conversation.id}":
            names += 1
            await services.conversations.rename(conversation.id, ada.id, f"Title {names}", ORIGIN)
        return found

    monkeypatch.setattr(services.deletion._ends, "version", version)
    await services.deletion.delete(ada, ORIGIN)
    assert names
    assert left_of(stack, ada) == set()


# -- who is being deleted ---------------------------------------------------------------------------------


async def test_whoever_is_being_deleted_is_let_in_no_more_unless_it_fails(
    stack: Stack, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await stack.services.accounts.open_session(ada, "a browser", ORIGIN)
    caller = Caller(ada, session, "correlation")
    assert stack.guard.is_good(caller)

    async def append(*_: Any, **__: Any) -> Any:
        assert not stack.guard.is_good(caller)
        raise AppendFailedError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(stack.services.log, "append", append)
        with pytest.raises(AppendFailedError):
            await stack.services.deletion.delete(ada, ORIGIN)
    assert stack.guard.is_good(caller)
