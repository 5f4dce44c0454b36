"""Invitations that can still be used."""

from dataclasses import dataclass, replace

from domain.invites.events import InviteCreated, InviteRevoked, InviteUsed
from eventlog.envelope import Recorded
from projections.projection import Projection
from projections.table import Table


@dataclass(frozen=True, slots=True)
class Invite:
    """One link. Times in unix seconds; `version` is that of its stream, for whoever appends next."""

    id: str
    user_id: str
    note: str
    hash: str
    prefix: str
    uses: int
    used: int
    created_at: float
    expires_at: int
    version: int

    def is_good(self, now: float) -> bool:
        """Tell whether one more account may be made with it."""
        return self.used < self.uses and now < self.expires_at


class Invites(Projection):
    """Which links there are. Those that are spent or have expired fall out when another one is made."""

    name = "invites"

    def __init__(self) -> None:
        super().__init__()
        self._invites: Table[Invite] = Table("invites", Invite, sealed=("note",))
        self._by_hash = self._invites.index(lambda i: i.hash)
        self.tables = (self._invites,)
        self.on = {
            InviteCreated: self._created,
            InviteUsed: self._used,
            InviteRevoked: lambda e, _: self._invites.remove(e.invite_id),
        }

    def good(self, now: float) -> list[Invite]:
        """Return those that can be used, oldest first."""
        return [i for i in self._invites if i.is_good(now)]

    def find(self, invite_id: str) -> Invite | None:
        """Return an invitation, or None."""
        return self._invites.get(invite_id)

    def by_hash(self, hash_: str, now: float) -> Invite | None:
        """Return the invitation with this hash if it can be used, or None."""
        found = self._by_hash.one(hash_)
        return found if found and found.is_good(now) else None

    def _created(self, event: InviteCreated, record: Recorded[InviteCreated]) -> None:
        for old in [i for i in self._invites if not i.is_good(record.time)]:
            self._invites.remove(old.id)
        self._invites.put(
            Invite(
                id=event.invite_id,
                user_id=event.user_id,
                note=event.note,
                hash=event.hash,
                prefix=event.prefix,
                uses=event.uses,
                used=0,
                created_at=record.time,
                expires_at=event.expires_at,
                version=record.version,
            )
        )

    def _used(self, event: InviteUsed, record: Recorded[InviteUsed]) -> None:
        invite = self._invites.get(event.invite_id)
        if invite:
            self._invites.put(replace(invite, used=invite.used + 1, version=record.version))
