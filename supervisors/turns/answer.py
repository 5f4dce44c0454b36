"""Reading an agent's answer: OpenAI chat completion chunks over server-sent events, or one JSON object."""

from dataclasses import dataclass, field
from typing import Any

from supervisors.wire.documents import DocumentError, read_document, read_line

MAX_LINE = 1_000_000
"""Bytes of one server-sent line: an agent that sends more without a line end is broken or hostile."""
MAX_WHOLE = 8 * 1024 * 1024
"""Bytes of an answer that is not streamed: more than any answer takes that is kept, however it is written."""
_NO_JSON = "The agent sent something that is not JSON, or not in reason."


class BrokenAnswerError(Exception):
    """The agent sent something that is no answer; the message says what, for a person."""


class ReportedError(BrokenAnswerError):
    """The agent says itself that it has failed; the message carries its words."""


@dataclass(slots=True)
class AnswerReader:
    """Takes the bytes of an event stream as they come and returns the text in them.

    Lines may be cut anywhere, in the middle of a character too. Frames that are not chunks of the answer (comments,
    named events of tools) are passed over. Garbage or an error frame is kept in `error`, so that the text before
    it, in the same packet, is not lost.
    """

    finish_reason: str = ""
    done: bool = False
    error: BrokenAnswerError | None = None
    _rest: bytearray = field(default_factory=bytearray)
    _named: bool = False

    def feed(self, data: bytes) -> str:
        """Return the text that `data` completes. Look at `error` afterwards: after one, nothing more is read."""
        end = 0 if self.error else data.rfind(b"\n") + 1
        text: list[str] = []
        try:
            if end:
                lines = (bytes(self._rest) + data[:end]).split(b"\n")
                self._rest.clear()
                lines.pop()
                for line in lines:
                    if line and line != b"\r":
                        text.append(self._line(line.rstrip(b"\r")))
                    else:
                        self._named = False
            self._rest += data[end:]  # Added to, never copied: it may come one byte at a time.
            if len(self._rest) > MAX_LINE:
                raise BrokenAnswerError("The agent sent a line without an end.")
        except BrokenAnswerError as error:
            self.error = self.error or error
        if self.error:
            self._rest.clear()
        return "".join(text)

    def end(self) -> None:
        """Note the end of the stream. Raises BrokenAnswerError when the answer is not complete."""
        if self.error:
            raise self.error
        if not self.done and not self.finish_reason:
            raise BrokenAnswerError("The agent's answer broke off in the middle.")

    def _line(self, line: bytes) -> str:
        if line.startswith(b"event:"):
            self._named = line[6:].strip() not in {b"", b"message"}
        elif line.startswith(b"data:") and not self._named and not self.done:
            data = line[5:].strip()
            if data == b"[DONE]":
                self.done = True
            elif data:
                return self._chunk(parse_object(data))
        return ""

    def _chunk(self, chunk: dict[str, Any]) -> str:
        raise_error_of(chunk)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        self.finish_reason = _reason(choice.get("finish_reason")) or self.finish_reason
        delta = choice.get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        return content if isinstance(content, str) else ""


async def whole_answer(data: bytes) -> tuple[str, str]:
    """Return text and finish reason of an answer that was not streamed. Raises BrokenAnswerError."""
    try:
        answer = _object(await read_document(data))
    except DocumentError as error:
        raise BrokenAnswerError(f"{_NO_JSON} {error}") from None
    raise_error_of(answer)
    try:
        choice = answer["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise BrokenAnswerError("The agent's answer is not a chat completion.") from None
    return _text(text), _reason(reason) or "stop"


def parse_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object that is no longer than a line. Raises BrokenAnswerError."""
    try:
        return _object(read_line(data))
    except DocumentError as error:
        raise BrokenAnswerError(f"{_NO_JSON} {error}") from None


def _object(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise BrokenAnswerError("The agent sent something that is not a JSON object.")
    return found


def raise_error_of(answer: dict[str, Any]) -> None:
    """Raise ReportedError with the agent's own words when the object is an error."""
    if answer.get("error"):
        raise ReportedError(f"The agent reported an error: {error_text(answer)}")


def error_text(answer: dict[str, Any]) -> str:
    """Return the message of an error object in any of the usual shapes."""
    error = answer.get("error", answer)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return _text(error)[:2000]


def _text(found: object) -> str:
    """Return something as text, "" for nothing."""
    try:
        return str(found or "")
    except RecursionError:
        return "(something that is nested too deeply)"


def _reason(found: object) -> str:
    """Return a reason to finish, "" for none; what is no word is some other reason."""
    return found if isinstance(found, str) else "other" if found else ""
