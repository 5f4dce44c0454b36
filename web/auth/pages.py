"""Which pages may ask for something with nothing but the cookie that a browser adds by itself.

What a browser says of a page, no page can change: `Origin` for whatever is not a plain read, and, at addresses that
browsers trust (HTTPS, and this machine's own), `Sec-Fetch-*` for everything. A program that sends a cookie says
nothing of this, and need not.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from domain.errors import Forbidden
from web.auth.names import normal_origin

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
"""The second is another port of the same host, or a host beside it."""
_SCRIPT_MODES = frozenset({"cors", "same-origin"})
_NAVIGATION = "navigate"
_NO_SCRIPT_ACCEPTS = ("text/html", "image/", "text/css")
"""What a browser accepts for a link, an image or a style sheet, and never for a script's call."""
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asking:
    """What is to be known of a request. Header names are lower case; `origins` are those of our own pages."""

    method: str
    headers: Mapping[str, str]
    correlation: str
    origins: AbstractSet[str]


def refuse_foreign_page(asking: Asking) -> None:
    """Raise Forbidden when a browser says that a page of another site makes this request.

    A link on it may lead here: what is only read may be navigated to.
    """
    origin, headers = asking.headers.get("origin"), asking.headers
    if origin is not None:
        is_foreign = normal_origin(origin) not in asking.origins
    else:
        is_foreign = headers.get("sec-fetch-site", "").lower() in _FOREIGN_SITES and not (
            asking.method in SAFE_METHODS and headers.get("sec-fetch-mode") == _NAVIGATION
        )
    if is_foreign:
        told = (origin or "as a browser says")[:100]
        ours = " or ".join(sorted(asking.origins)) or "not known"
        raise Forbidden(
            f"This request came from another site's page ({told}; this server's own is {ours}) and was refused. If "
            "it is this server's page, its admin sets PUBLIC_ORIGIN to what the address bar shows before the path.",
            code="foreign_origin",
        )


def refuse_all_but_our_scripts(asking: Asking) -> None:
    """Raise Forbidden for all that a browser asks for but what a script of our own page does.

    That is for what changes or starts something, also by GET: a link, an image or a script on any page, an agent's
    answer among them, must not.
    """
    refuse_foreign_page(asking)
    headers = asking.headers
    mode, kind = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    if (mode is None or mode in _SCRIPT_MODES) and kind in {None, "empty"} and _tells_its_page(asking):
        return
    raise Forbidden(
        "With a cookie alone, only agent-stack's own page may do this. Send an API token: "
        "`Authorization: Bearer <token>`.",
        code="cookie_alone",
    )


def _tells_its_page(asking: Asking) -> bool:
    """Tell whether a request is no browser's, or shows that it comes from our own page.

    Over plain HTTP a browser says nothing of a read but where it was asked for, and that only if the page lets it.
    """
    headers = asking.headers
    if asking.method not in SAFE_METHODS or "mozilla/" not in headers.get("user-agent", "").lower():
        return True
    if "origin" in headers or headers.get("sec-fetch-site"):
        return True  # Which was looked at.
    if any(kind in headers.get("accept", "") for kind in _NO_SCRIPT_ACCEPTS):
        return False
    page = _ORIGIN.match(headers.get("referer", ""))
    return page is not None and normal_origin(page[0]) in asking.origins
