"""The page, and the policy that says what it may load."""

import base64
import hashlib
import re
from pathlib import Path

from quart import Blueprint, Response, send_from_directory

from domain.errors import NotFound

blueprint = Blueprint("pages", __name__)

_STATIC = Path(__file__).parent / "static"
_INDEX = (_STATIC / "index.html").read_bytes()


def _inline_script_hashes(page: bytes) -> list[str]:
    """Return the CSP sources of the inline scripts (the import map): nothing else inline may run."""
    scripts = re.findall(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", page, re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(s).digest()).decode()}'" for s in scripts]


CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src 'self' {' '.join(_inline_script_hashes(_INDEX))}",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)


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
