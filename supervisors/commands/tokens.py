"""Making and revoking API tokens."""

import time
from contextlib import suppress

from domain.errors import Conflict, NotFound
from domain.ids import new_id
from domain.tokens.events import TokenCreated, TokenRevoked
from domain.tokens.rules import Scope, check_token, hash_of, new_secret, shown
from eventlog.envelope import Origin
from eventlog.log import EventLog
from projections.tokens import Token
from projections.views import Views
from supervisors.commands.stream_end import StreamEnds

_MOST = 100


class Tokens:
    """Commands on API tokens."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self._views = views
        self._ends = StreamEnds(log)

    async def create(
        self,
        user_id: str,
        *,
        name: str,
        scope: Scope,
        models: tuple[str, ...],
        expires_at: int | None,
        origin: Origin,
    ) -> tuple[Token, str]:
        """Make a token; return it with its secret, which is kept nowhere. Raises Invalid or Conflict."""
        now = time.time()
        checked = check_token(name, expires_at, now)
        if len(self._views.tokens.of_user(user_id)) >= _MOST:
            raise Conflict(f"You have {_MOST} tokens, which is the most. Revoke some.", code="too_many_tokens")
        secret = new_secret()
        event = TokenCreated(
            token_id=new_id(now),
            user_id=user_id,
            name=checked,
            hash=hash_of(secret),
            prefix=shown(secret),
            scope=scope,
            models=models,
            expires_at=expires_at,
        )
        await self._ends.append(f"token:{event.token_id}", event, origin, owner=user_id)
        return self._owned(event.token_id, user_id), secret

    async def revoke(self, token_id: str, user_id: str, origin: Origin) -> None:
        """Make a user's token void. Raises NotFound, also for somebody else's."""
        token = self._owned(token_id, user_id)
        await self._ends.append(
            f"token:{token.id}", TokenRevoked(token_id=token.id, user_id=user_id), origin, owner=user_id
        )

    async def revoke_all(self, user_id: str, origin: Origin) -> None:
        """Make all tokens of a user void."""
        for token in self._views.tokens.of_user(user_id):
            with suppress(NotFound):  # Somebody was faster.
                await self.revoke(token.id, user_id, origin)

    def _owned(self, token_id: str, user_id: str) -> Token:
        token = self._views.tokens.find(token_id)
        if token is None or token.user_id != user_id:
            raise NotFound("There is no such token.")
        return token
