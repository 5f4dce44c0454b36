"""The page, and the policy that says what it may load."""

import base64
import hashlib
import html
import re
from functools import lru_cache
from pathlib import Path

from quart import Blueprint, Response, send_from_directory

from domain.errors import NotFound
from web.auth.names import Addressed

blueprint = Blueprint("pages", __name__)

_STATIC = Path(__file__).parent / "static"
_REFUSAL = (_STATIC / "refusal.html").read_bytes()
_INDEX = (_STATIC / "index.html").read_bytes()


def _inline_sources(page: bytes, tag: bytes) -> str:
    """Return the CSP sources of what stands in these tags, such as the import map: nothing else inline counts."""
    found = re.findall(rb"<%b(?![^>]*\bsrc=)[^>]*>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)


_INLINE = _inline_sources(_INDEX, b"script")
REFUSAL_POLICY = f"default-src 'none'; style-src {_inline_sources(_REFUSAL, b'style')}; frame-ancestors 'none'"


@lru_cache(maxsize=64)
def content_security_policy(addressed: Addressed) -> str:
    """Return what the page may load: files of its own folder, and nothing that an agent could have sent.

    Whatever becomes a part of the page as HTML has passed the sanitiser: the browser takes it from nowhere else.
    """
    own = addressed.policy_sources("/static/")
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {own} {_INLINE}",
            f"style-src {own}",
            f"img-src {own} data:",
            f"font-src {own}",
            f"manifest-src {own}",
            "connect-src 'self'",
            "worker-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types dompurify",
        ]
    )


def refusal_page(text: str) -> bytes:
    """Return a page that says why there is no page."""
    return _REFUSAL.replace(b"{text}", html.escape(text).encode())


@blueprint.get("/")
async def index() -> Response:
    """Return the page."""
    return Response(_INDEX, content_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})


@blueprint.get("/static/<path:name>")
async def static(name: str) -> Response:
    """Return a file of the page. Browsers ask anew each time: after an upgrade none mixes old files and new."""
    try:
        answer = await send_from_directory(_STATIC, name)
    except (OSError, OverflowError, ValueError):
        # A name that no file can have, or a date that no clock can show.
        raise NotFound("There is no such file.") from None
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@blueprint.get("/favicon.ico")
async def favicon() -> Response:
    """Send browsers that ask by habit to the real icon."""
    return Response(b"", 301, headers={"Location": "/static/icon.svg"})
