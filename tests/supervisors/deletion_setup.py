"""Users who are worth deleting, and what is left of them."""

import trio

from agentstack.root import Stack
from projections.users import User
from tests.harness.waiting import PATIENCE_SECONDS
from tests.projections.histories import rows
from tests.supervisors.whole import KEY, ORIGIN, make_user


async def settled_in(stack: Stack, email: str) -> User:
    """Make a user who has something of everything."""
    services = stack.services
    user = await make_user(stack, email)
    await services.accounts.open_session(user, "a device", ORIGIN)
    await services.accounts.choose_idle(user, "scripted", 60, ORIGIN)
    await services.tokens.create(user.id, name="Laptop", scope="all", models=(), expires_at=None, origin=ORIGIN)
    await services.keys.set(user.id, "", KEY, "sk-planted", ORIGIN, at_once=False)
    agent = await services.agents.first(user.id, services.backends.get("scripted"), ORIGIN)
    conversation = await services.conversations.start(agent, "", "A title", ORIGIN)
    state = await services.conversations.load(conversation.id, user.id)
    live = await services.turns.ask(state, "say hello", "", ORIGIN)
    with trio.fail_after(PATIENCE_SECONDS):
        await live.ended.wait()
    await services.usage.flush()
    return user


def left_of(stack: Stack, user: User) -> set[str]:
    """Return the read models that know a user."""
    found = rows(stack.services.views)
    return {name for name, table in found.items() for row in table if user.id in repr(row)}
