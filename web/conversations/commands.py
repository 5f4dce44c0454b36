"""What deleting a conversation takes besides the event."""

from contextlib import suppress

from domain.errors import Conflict
from web.auth.guard import Caller
from web.services import Services


async def delete_conversation(services: Services, conversation_id: str, who: Caller) -> None:
    """Cancel the running turn, if there is one, and delete a conversation of the caller."""
    live = services.turns.live(conversation_id)
    if live and live.user_id == who.user.id:
        state = await services.conversations.load(conversation_id, who.user.id)
        with suppress(Conflict):  # It ended in the meantime.
            await services.turns.cancel(state, live.id)
    await services.conversations.delete(conversation_id, who.user.id, who.origin)
