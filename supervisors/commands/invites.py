"""Inviting people by a link."""

import hashlib
import secrets
import time

from domain.errors import Forbidden, NotFound
from domain.ids import new_id
from domain.invites.events import InviteCreated, InviteRevoked
from eventlog.envelope import Origin
from eventlog.log import EventLog
from projections.invites import Invite
from projections.views import Views
from supervisors.commands.stream_end import StreamEnds

PREFIX = "inv-"
_SHOWN = 10


class Invites:
    """Commands on invitations."""

    def __init__(self, log: EventLog, views: Views) -> None:
        self._views = views
        self._ends = StreamEnds(log)

    async def create(self, admin_id: str, note: str, uses: int, seconds: int, origin: Origin) -> tuple[Invite, str]:
        """Make an invitation for so many accounts and so long; return it with its code, which is kept nowhere."""
        now = time.time()
        code = PREFIX + secrets.token_urlsafe(24)
        event = InviteCreated(
            invite_id=new_id(now),
            user_id=admin_id,
            note=note.strip(),
            hash=hash_of(code),
            prefix=code[:_SHOWN],
            uses=uses,
            expires_at=int(now) + seconds,
        )
        await self._ends.append(f"invite:{event.invite_id}", event, origin, owner=admin_id)
        return self._get(event.invite_id), code

    async def revoke(self, invite_id: str, origin: Origin) -> None:
        """Make an invitation void. Raises NotFound."""
        invite = self._get(invite_id)
        await self._ends.append(f"invite:{invite.id}", InviteRevoked(invite_id=invite.id), origin)

    def _get(self, invite_id: str) -> Invite:
        invite = self._views.invites.find(invite_id)
        if invite is None:
            raise NotFound("There is no such invitation.")
        return invite


def hash_of(code: str) -> str:
    """Return what is kept of a code. It is as random as a key, so a fast hash is enough."""
    return hashlib.sha256(code.encode()).hexdigest()


def bad_invite() -> Forbidden:
    """Return the refusal of a wrong, spent or expired code."""
    return Forbidden("The invite code is wrong or spent. Ask the admin for another one.", code="bad_invite")
