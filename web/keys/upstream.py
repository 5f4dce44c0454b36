"""Trying the model behind an agent: does its address answer, and does it take the key?

A user names the address, and this server goes there: so it goes nowhere that only this server can reach, unless the
admin says so; it follows no redirect; and it tells of the answer only what is in a list of models.
"""

import socket
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
import trio

from domain.backends.definition import Backend
from domain.errors import Unprocessable
from domain.keys.policy import Effective
from supervisors.wire.client import make_client
from supervisors.wire.coding import CodingError
from supervisors.wire.documents import DocumentError, read_document
from supervisors.wire.reading import IDENTITY, read_at_most
from web.context import caller, services
from web.keys.public import Address, is_public

BASE_URL, API_KEY, MODEL = "LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL"
_SECONDS = 8.0
_MOST_BYTES = 2_000_000
_MOST_MODELS = 50
_LONGEST_ID = 200
_LOOK_UPS = trio.CapacityLimiter(8)
"""Threads that ask for addresses: slow answers hold up nobody but who tests, too."""


@dataclass(frozen=True, slots=True)
class Tested:
    """`detail` is a sentence that says what is wrong, or that nothing is."""

    ok: bool
    detail: str
    models: tuple[str, ...] = ()


async def test_upstream(backend_name: str) -> Tested:
    """Ask `<LLM_BASE_URL>/models`, with the values that count for the caller. Raises Unprocessable without any."""
    found = _values(backend_name)
    values = {name: e.value for name, e in found.items()}
    url = values.get(BASE_URL, "")
    if not url:
        raise Unprocessable(f"{BASE_URL} has no value. Set it first.", code="missing_values", missing=[BASE_URL])
    host = _host(url)
    if not host:
        return Tested(False, f"{BASE_URL} must be an address such as https://api.example.org/v1.")
    key = values.get(API_KEY, "")
    if not (key.isascii() and key.isprintable()):
        return Tested(False, f"{API_KEY} holds a character that no key can have, such as a line break.")
    if key and found[API_KEY].source == "shared" and found[BASE_URL].source not in {"shared", "default"}:
        return Tested(
            False,
            f"{API_KEY} is the admin's and {BASE_URL} is yours: the admin's key is not tried there. "
            f"Set {API_KEY} of your own, or clear {BASE_URL}.",
        )
    with trio.move_on_after(_SECONDS):
        return await _ask(url.rstrip("/") + "/models", key, values.get(MODEL, ""))
    return Tested(False, f"{host} did not answer within {_SECONDS:.0f} seconds. Check {BASE_URL}.")


def _host(url: str) -> str:
    """Return the host of an address over HTTP, "" when it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # Which may not be one.
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        return ""
    return parts.hostname or "" if parts.scheme in {"http", "https"} else ""


def _values(backend_name: str) -> dict[str, Effective]:
    user = caller().user
    backend = services().backends.get(backend_name) if backend_name else _AnyBackend
    return services().views.effective(backend, user.id)


_AnyBackend = Backend.model_validate(
    {
        "name": "any",
        "display_name": "any",
        "image": "any",
        "user_overridable_env": (BASE_URL, API_KEY, MODEL),
    }
)
"""Stands for all backends: it has no values of its own."""


async def _ask(url: str, key: str, model: str) -> Tested:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        address = await _resolved(host, parts.port or (443 if parts.scheme == "https" else 80))
        if address is None:
            return Tested(
                False,
                f"{host} is a private address, or this server's, which only the admin may test. Ask the admin.",
            )
        status, body = await _get(url, address, key)
    except OSError as error:
        return Tested(False, f"The host {host} was not found ({error.strerror or error}). Check {BASE_URL}.")
    except (httpx.HTTPError, httpx.InvalidURL, CodingError, UnicodeError) as error:
        return Tested(False, f"{host} could not be reached ({error or type(error).__name__}). Check {BASE_URL}.")
    if status in {401, 403}:
        return Tested(False, f"{host} refuses the key (status {status}). Check {API_KEY}.")
    if 300 <= status < 400:
        return Tested(False, f"{host} sends elsewhere (status {status}). Check {BASE_URL}: is it http for https?")
    if status == 404:
        return Tested(False, f"{host} has no list of models there. {BASE_URL} usually ends with /v1.")
    if status != 200:
        return Tested(False, f"{host} answers with status {status}. Check {BASE_URL} and {API_KEY}.")
    return _judged(host, await _ids(body), model)


def _judged(host: str, models: list[str] | None, model: str) -> Tested:
    if models is None:
        return Tested(False, f"What {host} answers is no list of models. {BASE_URL} usually ends with /v1.")
    shown = tuple(models[:_MOST_MODELS])
    if model and models and model not in models:
        return Tested(False, f"{host} takes the key, but does not list the model {model!r}. Check {MODEL}.", shown)
    return Tested(True, f"{host} takes the key and offers {len(models)} models.", shown)


async def _resolved(host: str, port: int) -> Address | None:
    """Return an address of a host; None when it is not public and the caller may not test those. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=_LOOK_UPS)
    address = ip_address(found[0][4][0])
    may = caller().user.role == "admin" or services().settings.private_upstreams
    return address if may or is_public(address) else None


async def _get(url: str, address: Address, key: str) -> tuple[int, bytes]:
    """Ask the address that was looked at, so that a name cannot lead elsewhere in the meantime."""
    asked = httpx.URL(url)
    headers = {"host": asked.netloc.decode("ascii"), "accept": "application/json", **IDENTITY}
    if key:
        headers["authorization"] = f"Bearer {key}"
    async with make_client(timeout=_SECONDS) as client:
        pinned = asked.copy_with(host=str(address))
        sni = {"sni_hostname": asked.host} if asked.scheme == "https" else {}
        async with client.stream("GET", pinned, headers=headers, extensions=sni) as response:
            body, _ = await read_at_most(response, _MOST_BYTES)
            return response.status_code, body


async def _ids(body: bytes) -> list[str] | None:
    try:
        listed = (await read_document(body))["data"]
        return [_id(one["id"]) for one in listed]
    except (DocumentError, KeyError, TypeError):
        return None


def _id(found: object) -> str:
    if not isinstance(found, str | int):
        raise TypeError("it is no name of a model")
    return str(found)[:_LONGEST_ID]
