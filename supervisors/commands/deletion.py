"""Deleting a user for good: what runs, what is kept, and the key of what was encrypted.

The key goes last: as long as it is there, a deletion that was cut short is found at the next start and finished.
"""

from functools import partial
from pathlib import Path

import structlog
import trio

from domain.agents.events import AgentDeleted
from domain.conversations.events import ConversationDeleted
from domain.errors import Conflict, Invalid, Unavailable
from domain.event import Event
from domain.keys.events import KeyCleared
from domain.tokens.events import TokenRevoked
from domain.users.events import EmailClaimed, EmailReleased, SlugClaimed, UserDeleted
from eventlog.envelope import Origin, StreamAppend
from eventlog.errors import StreamConflictError
from eventlog.filter import Filter
from eventlog.log import EventLog
from eventlog.vault import Vault
from projections.users import User
from projections.views import Views
from supervisors.broadcasts import Broadcasts
from supervisors.commands.accounts import Accounts
from supervisors.commands.stream_end import StreamEnds
from supervisors.homes.removal import remove
from supervisors.runners.pool import RunnerPool
from supervisors.turns.turns import Turns
from supervisors.usage import UsageMeter

_ATTEMPTS = 20

_logger = structlog.get_logger("deletion")


class Deletion:
    """Deletes users. `users` is the folder that holds a folder of homes for each of them."""

    def __init__(
        self,
        *,
        log: EventLog,
        views: Views,
        vault: Vault,
        accounts: Accounts,
        pool: RunnerPool,
        turns: Turns,
        broadcasts: Broadcasts,
        usage: UsageMeter,
        users: Path,
    ) -> None:
        self._log = log
        self._views = views
        self._vault = vault
        self._accounts = accounts
        self._pool = pool
        self._turns = turns
        self._broadcasts = broadcasts
        self._usage = usage
        self._users = users
        self._ends = StreamEnds(log)
        self.leaving: set[str] = set()
        """Users who are being deleted. They are let in no more, lest they hold it up by changing things."""

    async def delete(self, user: User, origin: Origin) -> None:
        """Delete a user. Raises Invalid for the admin, Unavailable when the homes could not be removed."""
        if user.role == "admin":
            raise Invalid("The admin cannot be deleted: there is always exactly one.", code="admin_stays")
        if user.id in self.leaving:
            return  # Somebody else is at it.
        self.leaving.add(user.id)
        try:
            await self._delete(user, origin)
        finally:
            self.leaving.discard(user.id)

    async def _delete(self, user: User, origin: Origin) -> None:
        # Not cancelled half way: from the first event on, the user is gone.
        with trio.CancelScope(shield=True):
            conversations = [c.id for c in self._views.conversations.of_user(user.id)]
            async with self._usage.not_writing():  # What it writes of a user who is gone, nothing would remove.
                if not await self._append(user, origin):
                    return  # Somebody else was faster.
            for conversation_id in conversations:
                self._broadcasts.forget(conversation_id)
            # A request that was under way may still have made something: what is left over goes as well.
            ended: set[str] = set()
            while await self._end_what_is_left(user, origin, ended):
                pass
            self._usage.forget(user.id)
            try:
                await self._finish(user.id, user.slug)
            finally:  # Without their key nothing private can be appended any more: now it is the rest.
                await self._end_what_is_left(user, origin, ended)

    async def finish_interrupted(self) -> None:
        """Finish deletions that a crash cut short. Their runners must have been stopped: they would go on writing.

        A key is destroyed only where the log tells of the deletion: a log that is not there is no reason.
        """
        for user_id in self._vault.owners:
            if self._views.users.find(user_id):
                continue
            stream = await self._log.read_stream(f"user:{user_id}")
            if not any(isinstance(record.event, UserDeleted) for record in stream):
                continue
            _logger.info("deletion_finished", user=user_id)
            try:
                await self._finish(user_id, "")
            except Unavailable as error:
                _logger.error("home_not_removed", user=user_id, error=error.message)  # noqa: TRY400 - expected

    async def _append(self, user: User, origin: Origin) -> bool:
        """Append the end of all that the user has, all at once; again, if something was just being changed.

        False when the user is gone already.
        """
        versions: dict[str, int] = {}
        claims = (
            [self._accounts.email_stream(user.email)]
            if user.email
            else await self._claimed(EmailClaimed.TOPIC, user.id)
        )
        for _ in range(_ATTEMPTS):
            ends: dict[str, Event] = {
                **self._ends_of(user),
                **{stream: EmailReleased(user_id=user.id) for stream in claims},
                f"user:{user.id}": UserDeleted(user_id=user.id),
            }
            for stream in ends.keys() - versions.keys():
                versions[stream] = await self._ends.version(stream)
            if self._views.users.find(user.id) is None:
                return False
            appends = [StreamAppend(stream, versions[stream], [event], user.id) for stream, event in ends.items()]
            try:
                await self._log.append(*appends, origin=origin)
            except StreamConflictError as conflict:  # Looked up again alone: whoever is quick cannot hold it up.
                del versions[conflict.stream]
            else:
                return True
        raise Conflict("The user is too busy to be deleted just now. Try again.", code="busy")

    async def _end_what_is_left(self, user: User, origin: Origin, ended: set[str]) -> bool:
        """Stop what runs for a user who is gone, and end what came too late. False when there was nothing.

        `ended` are streams that were ended so: each is ended once, whatever the read models say afterwards.
        """
        for conversation_id in self._turns.of_user(user.id):
            await self._turns.abandon(conversation_id)
        supervisors = [s for s in self._pool.all() if s.agent.user_id == user.id]
        async with trio.open_nursery() as nursery:
            for supervisor in supervisors:
                nursery.start_soon(self._pool.dismiss, supervisor.agent.id, origin)
        late = {stream: event for stream, event in self._ends_of(user).items() if stream not in ended}
        ended.update(late)
        for stream, event in late.items():
            await self._ends.append(stream, event, origin, owner=user.id)
        for key in self._views.keys.of_user(user.id):
            cleared = KeyCleared(user_id=user.id, backend=key.backend, name=key.name)
            await self._ends.append(f"keys:{user.id}", cleared, origin, owner=user.id)
        for token in self._views.tokens.of_user(user.id):
            revoked = TokenRevoked(token_id=token.id, user_id=user.id)
            await self._ends.append(f"token:{token.id}", revoked, origin, owner=user.id)
        return bool(late or supervisors)

    async def _claimed(self, topic: str, user_id: str) -> list[str]:
        """Return the streams of what a user has claimed by events of one type, whatever the read models know."""
        claims = await self._log.read(Filter(types=(topic,), user=user_id), limit=-1)
        return [r.stream for r in claims if r.owner == user_id]

    def _ends_of(self, user: User) -> dict[str, Event]:
        """Return the ends of a user's conversations and agents."""
        conversations = [c.id for c in self._views.conversations.of_user(user.id)]
        agents = [a.id for a in self._views.agents.of_user(user.id)]
        return {
            **{f"conversation:{id_}": ConversationDeleted(conversation_id=id_) for id_ in conversations},
            **{f"agent:{id_}": AgentDeleted(agent_id=id_) for id_ in agents},
        }

    async def _finish(self, user_id: str, slug: str) -> None:
        """Remove what is left on disk: the homes, then the key.

        Homes are in the folder of each slug that the user has claimed, and of the one given, unless that is "".
        """
        claimed = await self._claimed(SlugClaimed.TOPIC, user_id)
        slugs = {slug, *(stream.partition(":")[2] for stream in claimed)} - {""}
        left = ""
        for name in sorted(slugs):
            if problem := await remove(self._users / name):
                slug, left = name, problem
        await trio.to_thread.run_sync(partial(self._vault.destroy, user_id))
        self._log.forget()
        if left:
            raise Unavailable(
                f"The user is deleted, but their agents' files could not be removed ({left}). "
                f"Remove the folder {self._users / slug} by hand.",
                code="homes_not_removed",
            )
