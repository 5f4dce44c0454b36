"""API tokens that were not revoked."""

from dataclasses import dataclass, replace

from domain.tokens.events import TokenCreated, TokenRevoked
from domain.usage.events import UsageRecorded
from domain.users.events import UserDeleted
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Token:
    """One token. Times in unix seconds; `models` are names divided by newlines, "" for all of them."""

    id: str
    user_id: str
    name: str
    hash: str
    prefix: str
    scope: str
    models: str
    created_at: float
    expires_at: int | None
    last_used_at: int | None

    def allows(self, model: str) -> bool:
        """Tell whether the token may be used for a model: one it was made for, or `<one of them>/<anything>`."""
        names = self.models.split("\n")
        return not self.models or model in names or model.partition("/")[0] in names


class Tokens(Projection):
    """Who has which tokens."""

    name = "tokens"

    def __init__(self) -> None:
        super().__init__()
        self._tokens: Table[Token] = Table("tokens", Token, sealed=("name",))
        self._by_user = self._tokens.index(lambda t: t.user_id)
        self._by_hash = self._tokens.index(lambda t: t.hash)
        self.tables = (self._tokens,)
        self.on = {
            TokenCreated: self._created,
            TokenRevoked: lambda e, _: self._tokens.remove(e.token_id),
            UsageRecorded: self._used,
            UserDeleted: self._user_deleted,
        }

    def by_hash(self, hash_: str) -> Token | None:
        """Return the token with this hash, expired or not, or None."""
        return self._by_hash.one(hash_)

    def find(self, token_id: str) -> Token | None:
        """Return a token, or None."""
        return self._tokens.get(token_id)

    def beginning_with(self, start: str) -> list[Token]:
        """Return the tokens whose kept prefix agrees with `start`, which may be a whole token."""
        return [t for t in self._tokens if t.prefix.startswith(start) or start.startswith(t.prefix)]

    def of_user(self, user_id: str) -> list[Token]:
        """Return a user's tokens, oldest first."""
        return self._by_user.all(user_id)

    def _created(self, event: TokenCreated, record: Recorded[TokenCreated]) -> None:
        self._tokens.put(
            Token(
                id=event.token_id,
                user_id=event.user_id,
                name=event.name,
                hash=event.hash,
                prefix=event.prefix,
                scope=event.scope,
                models="\n".join(event.models),
                created_at=record.time,
                expires_at=event.expires_at,
                last_used_at=None,
            )
        )

    def _used(self, event: UsageRecorded, _: Recorded[UsageRecorded]) -> None:
        for token_id, at in event.tokens_used.items():
            token = self._tokens.get(token_id)
            if token:
                self._tokens.put(replace(token, last_used_at=at))

    def _user_deleted(self, event: UserDeleted, _: Recorded[UserDeleted]) -> None:
        for token in self._by_user.all(event.user_id):
            self._tokens.remove(token.id)
