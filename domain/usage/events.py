"""Events of the stream `usage:<user id>`: windows of many requests, never a single one."""

from pydantic import BaseModel, ConfigDict

from domain.event import Event


class Tally(BaseModel):
    """What went through one agent under one model. Tokens as the agent told them.

    `unknown` counts the requests of which it did not tell: their tokens are in neither sum. `estimated` is what
    counts for the budget all the same, since it was the user who broke the answers off.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    agent_id: str
    backend: str
    model: str
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    unknown: int
    estimated: int = 0


class UsageRecorded(Event):
    """What a user used between two moments (unix seconds); `tokens_used` tells when API tokens were used last."""

    TOPIC = "usage.recorded"

    user_id: str
    since: int
    until: int
    tallies: tuple[Tally, ...]
    tokens_used: dict[str, int] = {}
