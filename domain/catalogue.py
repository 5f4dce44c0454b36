"""Every event there is, so that the log can be taught to read them all."""

from domain.agents import events as agents
from domain.conversations import events as conversations
from domain.event import Event
from domain.imports import events as imports
from domain.invites import events as invites
from domain.keys import events as keys
from domain.runners import events as runners
from domain.sessions import events as sessions
from domain.tokens import events as tokens
from domain.usage import events as usage
from domain.users import events as users

EVENT_TYPES: tuple[type[Event], ...] = tuple(
    sorted(
        (
            thing
            for module in (users, sessions, tokens, invites, keys, agents, runners, conversations, usage, imports)
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, Event) and thing is not Event
        ),
        key=lambda event_type: event_type.TOPIC,
    )
)
