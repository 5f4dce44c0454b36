"""What makes an account acceptable, and the events that make one."""

import re
import unicodedata

from domain.errors import Invalid
from domain.event import Event
from domain.users.events import AdminAppointed, EmailClaimed, Role, SlugClaimed, UserRegistered

MAX_NAME = 80
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)*")


def normal_email(email: str) -> str:
    """Return the address in the form in which it is compared: trimmed, NFKC, case-folded.

    Raises Invalid when it cannot be an address.
    """
    text = unicodedata.normalize("NFKC", email).strip().casefold()
    if len(text) > 254 or not text.isprintable() or not _EMAIL.fullmatch(text):
        raise Invalid("That is not an email address. Write it as name@example.org.", code="bad_email")
    return text


def display_name(name: str | None, email: str) -> str:
    """Return the name to show: the given one, else what stands before the @. Raises Invalid when over 80."""
    chosen = (name or "").strip() or email.partition("@")[0]
    if len(chosen) > MAX_NAME or not chosen.isprintable():
        raise Invalid(f"A name has at most {MAX_NAME} characters, all of them printable.", code="bad_name")
    return chosen


def slug_base(email: str) -> str:
    """Return the readable start of a slug: what stands before the @, lower case ASCII, at most 24 characters.

    A slug names containers, folders and mentions. It has no dash, and is not `a` with a number, so that
    `<prefix>-<slug>` and `<prefix>-<slug>-a<ordinal>` can never mean the same runner.
    """
    local = unicodedata.normalize("NFKD", email.partition("@")[0]).encode("ascii", "ignore").decode()
    base = re.sub(r"[^a-z0-9]+", "", local.lower())[:24] or "user"
    return f"user{base}" if re.fullmatch(r"a\d*", base) else base


def register(
    *, user_id: str, email: str, name: str, slug: str, role: Role, password_hash: str, email_key: str
) -> dict[str, Event]:
    """Decide the events that make an account: one event for each stream named.

    All go into one append, so a taken address, slug or admin seat fails the whole, and a caller learns
    from the stream in conflict which one it was. `email_key` is the keyed hash of the normal address.
    """
    events: dict[str, Event] = {
        f"email:{email_key}": EmailClaimed(user_id=user_id),
        f"slug:{slug}": SlugClaimed(user_id=user_id),
    }
    if role == "admin":
        events["admin"] = AdminAppointed(user_id=user_id)
    events[f"user:{user_id}"] = UserRegistered(
        user_id=user_id, email=email, name=name, slug=slug, role=role, password_hash=password_hash
    )
    return events
