"""Shapes that more than one endpoint answers with. Times are whole unix seconds."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

Seconds = Annotated[int, BeforeValidator(int)]
"""A time that is kept with a fraction and shown without."""


class Request(BaseModel):
    """A body: unknown members are passed over, as older clients may send more."""

    model_config = ConfigDict(extra="ignore", str_max_length=2_000_000)


class Answer(BaseModel):
    """A JSON answer made from rows by attribute."""

    model_config = ConfigDict(from_attributes=True)


class Ok(Answer):
    """It is done."""

    ok: bool = True


class Stopped(Answer):
    """Whether there was a runner to stop."""

    stopped: bool
