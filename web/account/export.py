"""/api/me/export: all that is kept about somebody, as one file."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, Self

import orjson
from quart import Blueprint, Response
from quart_schema import tag_blueprint

from domain.errors import NotFound
from domain.keys.policy import masked
from web.auth.guard import Caller
from web.auth.routes import Account
from web.context import person, services, take_desk
from web.conversations.export import as_json
from web.pieces import gathered
from web.services import Services

blueprint = Blueprint("account_export", __name__, url_prefix="/api/me/export")
tag_blueprint(blueprint, ["account"])


@blueprint.get("")
async def export() -> Response:
    """Return a JSON file with the caller's account, agents, keys (masked), tokens, sign-ins and conversations."""
    await take_desk()
    headers = {"Content-Disposition": 'attachment; filename="agent-stack-export.json"', "Cache-Control": "no-store"}
    return Response(Export(services(), person()), content_type="application/json", headers=headers)


class Export:
    """The file, one conversation at a time: it may be larger than memory."""

    def __init__(self, services: Services, who: Caller) -> None:
        self._services = services
        self._user = who.user
        self._left = [c.id for c in services.views.conversations.of_user(who.user.id)]
        self._begun = self._ended = False
        self._joint = b""
        self._pieces: Iterator[bytes] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        if not self._begun:
            self._begun = True
            return orjson.dumps(self._head())[:-1] + b',"conversations":['
        while (piece := next(self._pieces, None)) is None and self._left:
            with suppress(NotFound):  # Deleted in the meantime.
                self._pieces = await self._conversation(self._left.pop())
        if piece is not None:
            return piece
        self._ended = True
        return b"]}\n"

    async def _conversation(self, conversation_id: str) -> Iterator[bytes]:
        summary = self._services.views.conversations.owned(conversation_id, self._user.id)
        state = await self._services.conversations.load(conversation_id, self._user.id)
        joint, self._joint = self._joint, b",\n"
        return gathered(chain([joint], as_json(summary, state)))

    def _head(self) -> dict[str, Any]:
        views, user = self._services.views, self._user
        agents = ("id", "backend", "name", "model", "ordinal", "created_at")
        tokens = ("id", "name", "prefix", "scope", "created_at", "expires_at")
        sessions = ("id", "device", "created_at", "expires_at")
        return {
            "user": Account.model_validate(user).model_dump(),
            "agents": [{n: getattr(a, n) for n in agents} for a in views.agents.of_user(user.id)],
            "keys": [
                {"backend": k.backend, "name": k.name, "value": masked(k.value)}
                for k in views.keys.of_user(user.id)
            ],
            "tokens": [{n: getattr(t, n) for n in tokens} for t in views.tokens.of_user(user.id)],
            "sessions": [{n: getattr(s, n) for n in sessions} for s in views.sessions.of_user(user.id)],
        }
