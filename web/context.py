"""What a handler needs to know of its request."""

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, cast

import trio
from quart import current_app, g, request

from domain.errors import Forbidden, TooMany
from eventlog.envelope import Origin
from supervisors.wire.transit import Hold
from web.auth import address
from web.auth.devices import Device, Devices
from web.auth.guard import Caller, Guard, bearer
from web.auth.names import UNNAMED, Addressed
from web.auth.pages import SAFE_METHODS, Asking, refuse_all_but_our_scripts, refuse_foreign_page
from web.auth.throttle import SignInThrottle
from web.seats import Desks, StreamSeats
from web.services import Services

CORRELATION = "agentstack.correlation"
"""Key of the ASGI scope under which a request's id is kept."""
HEADERS = "agentstack.headers"
"""Key of the ASGI scope under which the headers are kept as text, by name; of several the last."""
ADDRESSED = "agentstack.addressed"
"""Key of the ASGI scope under which is kept how a request named this server."""
STILL_GOOD = "agentstack.still_good"
"""Key of the ASGI scope under which is kept what tells whether the caller, once known, would still be let in."""
SHUT_OUT = "agentstack.shut_out"
"""Key of the ASGI scope under which is kept what to call when the caller of a read is shut out."""
ENDINGS = "agentstack.endings"
"""Key of the ASGI scope under which an ExitStack is kept that is closed at the end of the exchange."""


def services() -> Services:
    """Return the services of this application."""
    return cast(Services, current_app.config["SERVICES"])


def correlation() -> str:
    """Return the id of this request."""
    return cast(str, cast(dict[str, object], request.scope)[CORRELATION])


def addressed() -> Addressed:
    """Return how this request named the server."""
    return cast(Addressed, cast(dict[str, object], request.scope).get(ADDRESSED, UNNAMED))


def headers() -> dict[str, str]:
    """Return this request's headers by lower-case name."""
    return {name.lower(): value for name, value in request.headers.items()}


def caller() -> Caller:
    """Return who is calling. Raises Unauthenticated or Forbidden.

    Who was let in a while ago, before the body had come, must still be good.
    """
    if "caller" not in g:
        g.caller = _guard().identify_beyond_v1(_asking())
        scope = cast(dict[str, Any], request.scope)
        scope[STILL_GOOD] = partial(_guard().is_good, g.caller)
        if request.method in SAFE_METHODS and SHUT_OUT in scope:  # A change may be what shuts its caller out.
            _endings().enter_context(_guard().watching(g.caller, partial(_end_read, scope)))
    _guard().refuse_unless_good(g.caller)
    return cast(Caller, g.caller)


def _end_read(scope: dict[str, Any]) -> None:
    scope[SHUT_OUT]()  # Which may have been replaced since the caller was looked up.


def caller_of_change() -> Caller:
    """Return who is calling for what a GET changes.

    Raises Forbidden unless a script of our own page, or a program, asks for it; TooMany when there is no more room
    in the log for the caller today.
    """
    who = caller()
    if not bearer(headers()):
        refuse_all_but_our_scripts(_asking())
    services().allowance.check_log(who.user.id)
    return who


def person() -> Caller:
    """Return who is calling. Raises Forbidden for a program with an API token."""
    who = caller()
    _ = who.session  # Which only a sign-in has.
    return who


def still_good() -> Callable[[], bool]:
    """Return what tells, later, whether the caller of this request would still be let in."""
    return partial(_guard().is_good, caller())


def when_shut_out(call: Callable[[], None]) -> None:
    """Have something called when the caller is shut out, in place of cutting the answer off."""
    cast(dict[str, Any], request.scope)[SHUT_OUT] = call


def take_stream_seat() -> tuple[trio.Lock, Hold]:
    """Count one event stream of the caller until the exchange ends. Raises TooMany.

    Return the lock that the streams of one user share, and what counts the memory that this one takes.
    """
    seats = cast(StreamSeats, current_app.config["STREAMS"])
    user_id = caller().user.id
    seats.take(user_id)
    _endings().callback(seats.leave, user_id)
    return seats.lock(user_id), _endings().enter_context(services().transit.hold(user_id))


async def take_desk() -> None:
    """Wait until the caller may read something that may be long, which is over when the exchange ends."""
    _endings().callback(await cast(Desks, current_app.config["DESKS"]).take(caller().user.id))


def _endings() -> ExitStack:
    return cast(dict[str, ExitStack], request.scope)[ENDINGS]


def throttle() -> SignInThrottle:
    """Return the throttle of sign-ins."""
    return cast(SignInThrottle, current_app.config["THROTTLE"])


def device() -> Device | None:
    """Return the device that this request comes from, None for one that nobody has signed in on."""
    return devices().of(headers())


def devices() -> Devices:
    """Return what knows devices."""
    return cast(Devices, current_app.config["DEVICES"])


def count_attempt(*, signs_in: bool) -> None:
    """Count an attempt to sign in or up, on whatever account. Raises TooMany.

    To sign in, a device that is known has attempts of its own; those of its address are left when it has none.
    """
    known = device() if signs_in else None
    if known:
        with suppress(TooMany):
            throttle().check_place(known.place)
            return
    throttle().check_place(client_site())


def client_site() -> str:
    """Return where this request comes from, in the form in which it is counted."""
    forwarded_for = ",".join(request.headers.getlist("X-Forwarded-For"))
    return address.client_site(request.remote_addr or "", forwarded_for, services().settings.trusted_proxies)


def anonymous_origin() -> Origin:
    """Return the origin of a request for which nobody need be signed in. Raises Forbidden for a foreign page."""
    refuse_foreign_page(_asking())
    return Origin("anonymous", correlation())


def admin_origin() -> Origin:
    """Return the origin of a request that only the admin or the command line may make. Raises Forbidden."""
    if _guard().is_operator(headers()):
        return Origin("operator", correlation())
    who = caller()
    if who.user.role != "admin":
        raise Forbidden("Only the admin may do this.", code="admin_only")
    return who.origin


def _asking() -> Asking:
    return Asking(request.method, headers(), correlation(), addressed().origins)


def _guard() -> Guard:
    return cast(Guard, current_app.config["GUARD"])
