"""What a handler needs to know of its request."""

from typing import cast

from quart import current_app, g, request

from domain.errors import Forbidden
from eventlog.envelope import Origin
from web.auth.guard import Caller, Guard, refuse_foreign_origin
from web.services import Services

CORRELATION = "agentstack.correlation"
"""Key of the ASGI scope under which a request's id is kept."""


def services() -> Services:
    """Return the services of this application."""
    return cast(Services, current_app.config["SERVICES"])


def correlation() -> str:
    """Return the id of this request."""
    return cast(str, cast(dict[str, object], request.scope)[CORRELATION])


def headers() -> dict[str, str]:
    """Return this request's headers by lower-case name."""
    return {name.lower(): value for name, value in request.headers.items()}


def caller() -> Caller:
    """Return who is calling. Raises Unauthenticated or Forbidden."""
    if "caller" not in g:
        g.caller = _guard().identify(request.method, headers(), correlation())
    return cast(Caller, g.caller)


def anonymous_origin() -> Origin:
    """Return the origin of a request for which nobody need be signed in. Raises Forbidden for a foreign page."""
    refuse_foreign_origin(headers())
    return Origin("anonymous", correlation())


def admin_origin() -> Origin:
    """Return the origin of a request that only the admin or the command line may make. Raises Forbidden."""
    if _guard().is_operator(headers()):
        return Origin("operator", correlation())
    who = caller()
    if who.user.role != "admin":
        raise Forbidden("Only the admin may do this.", code="admin_only")
    return who.origin


def _guard() -> Guard:
    return cast(Guard, current_app.config["GUARD"])
