"""POST /api/me/env-overrides/test: does the model behind an agent answer, and does it take the key?"""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.conftest import FAST_DEMO
from tests.harness.beside import NOTICED, Beside
from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.faults import faults
from tests.harness.inside import inside
from tests.harness.keys import OVERRIDES, SHARED, set_key, share
from tests.harness.model_server import GOOD_KEY, MODELS, ModelServer
from tests.harness.server import Server

TEST = f"{OVERRIDES}/test"
VARS = ["LLM_API_KEY", "LLM_BASE_URL", "LLM_MODEL"]
KEYED = {**FAST_DEMO, "name": "keyed", "user_overridable_env": VARS}
Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose agent has a model behind it."""
    with Server(tmp_path_factory.mktemp("upstream"), backends=[KEYED, FAST_DEMO]) as running:
        yield running


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    """The server of models."""
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def signed_in(server: Server) -> httpx.Client:
    return server.admin()


@pytest.fixture
def admin(signed_in: httpx.Client, models: ModelServer) -> httpx.Client:
    """The admin, who may test any address and has a good key."""
    for scope, found in signed_in.get(OVERRIDES).json()["overrides"].items():
        for name in found:
            signed_in.delete(f"{OVERRIDES}/{name}", params={"backend": scope})
    set_key(signed_in, "LLM_API_KEY", GOOD_KEY)
    models.asked.clear()
    return signed_in


@pytest.fixture(scope="module")
def user(server: Server) -> httpx.Client:
    """A user, who may not."""
    client = server.sign_up(new_email())
    set_key(client, "LLM_API_KEY", GOOD_KEY)
    return client


def tried(client: httpx.Client, url: str, backend: str = "") -> Json:
    set_key(client, "LLM_BASE_URL", url)
    answer = client.post(TEST, json={"backend": backend})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    has_shape(found, {"ok": bool, "detail": str, "models": list})
    assert GOOD_KEY not in answer.text
    return found


# -- what comes of it -------------------------------------------------------------------------------------


def test_a_key_that_is_taken_shows_fifty_models_at_most(admin: httpx.Client, models: ModelServer) -> None:
    found = tried(admin, models.url("good"))
    assert found["ok"] is True
    assert found["models"] == MODELS[:50]
    assert "60 models" in found["detail"]
    ((path, headers),) = models.asked
    assert path == "/good/v1/models"
    assert headers["host"] == f"127.0.0.1:{models.port}"
    assert "cookie" not in headers


def test_a_slash_at_the_end_of_the_address_does_no_harm(admin: httpx.Client, models: ModelServer) -> None:
    assert tried(admin, models.url("good") + "/")["ok"] is True
    assert models.asked[0][0] == "/good/v1/models"


def test_a_key_that_is_refused_is_said_to_be(admin: httpx.Client, models: ModelServer) -> None:
    set_key(admin, "LLM_API_KEY", "sk-wrong")
    found = tried(admin, models.url("good"))
    assert (found["ok"], found["models"]) == (False, [])
    assert "LLM_API_KEY" in found["detail"]
    assert "401" in found["detail"]


def test_without_a_key_none_is_sent(admin: httpx.Client, models: ModelServer) -> None:
    admin.delete(f"{OVERRIDES}/LLM_API_KEY")
    assert tried(admin, models.url("good"))["ok"] is False
    assert "authorization" not in models.asked[0][1]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("forbidden", "LLM_API_KEY"),
        ("missing", "/v1"),
        ("broken", "500"),
        ("html", "no list of models"),
        ("list", "no list of models"),
        ("odd", "no list of models"),
        ("deep", "no list of models"),
        ("endless", "no list of models"),
        ("gone", "could not be reached"),
    ],
)
def test_what_is_wrong_is_said_in_words(admin: httpx.Client, models: ModelServer, how: str, words: str) -> None:
    found = tried(admin, models.url(how))
    assert (found["ok"], found["models"]) == (False, [])
    assert words in found["detail"]
    assert "nothing to see" not in found["detail"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("bomb", "could not be reached"),
        ("zipped", "no list of models"),
        ("values", "no list of models"),
        ("long", "no list of models"),
    ],
)
def test_an_answer_of_whatever_amount_holds_up_nobody(
    server: Server, admin: httpx.Client, models: ModelServer, how: str, words: str
) -> None:
    with Beside(server) as beside:
        found = tried(admin, models.url(how))
    assert words in found["detail"]
    assert beside.memory < 32 << 20
    assert beside.waits < NOTICED


def test_a_redirect_is_not_followed(admin: httpx.Client, models: ModelServer) -> None:
    found = tried(admin, models.url("redirect"))
    assert found["ok"] is False
    assert "302" in found["detail"]
    assert [path for path, _ in models.asked] == ["/redirect/v1/models"]


def test_a_model_that_is_not_on_the_list_is_named(admin: httpx.Client, models: ModelServer) -> None:
    set_key(admin, "LLM_MODEL", "model-59")
    assert tried(admin, models.url("good"))["ok"] is True
    set_key(admin, "LLM_MODEL", "model-60")
    found = tried(admin, models.url("good"))
    assert found["ok"] is False
    assert "LLM_MODEL" in found["detail"]
    assert found["models"] == MODELS[:50]


def test_the_values_of_the_backend_that_is_named_are_tried(admin: httpx.Client, models: ModelServer) -> None:
    set_key(admin, "LLM_BASE_URL", models.url("good"), "keyed")
    assert tried(admin, models.url("missing"), "keyed")["ok"] is True
    assert tried(admin, models.url("missing"))["ok"] is False


def test_what_is_missing_is_named(admin: httpx.Client) -> None:
    problem = is_problem(admin.post(TEST, json={}), 422, "missing_values")
    assert problem["missing"] == ["LLM_BASE_URL"]
    is_problem(admin.post(TEST, json={"backend": "demo"}), 422, "missing_values")
    is_problem(admin.post(TEST, json={"backend": "nope"}), 404, "unknown_backend")


def test_nobody_listens_there(admin: httpx.Client) -> None:
    found = tried(admin, "http://127.0.0.1:1/v1")
    assert "could not be reached" in found["detail"]


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org", "file:///etc/passwd", "example.org", "http://", "https:///v1", "//example.org"),
        *("http://[::1/v1", "http://]/v1", "http://example.org:99999/v1", "http://example.org:port/v1"),
        *("http://a..b/v1", "http://" + "a" * 300 + "/v1", "http://exa mple.org/v1", "http://\u2100.example/v1"),
    ],
)
def test_what_is_no_address_is_said_to_be_none(admin: httpx.Client, url: str) -> None:
    found = tried(admin, url)
    assert found["ok"] is False
    assert "LLM_BASE_URL" in found["detail"]


@pytest.mark.parametrize(
    "key", ["sk-first\nsecond-part", "sk-sch\u00fcssel-0123", "sk-\u2028-0123456789", "sk-\x7f-01234567"]
)
def test_a_key_that_no_header_can_hold_is_not_told(admin: httpx.Client, models: ModelServer, key: str) -> None:
    set_key(admin, "LLM_API_KEY", key)
    found = tried(admin, models.url("good"))
    assert found["ok"] is False
    assert key[:8] not in found["detail"]
    assert key[-8:] not in found["detail"]


# -- where it does not go ---------------------------------------------------------------------------------

SPELLINGS = [
    *("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0", "0.0.0.0", "[::1]", "[::]"),
    *("[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]"),
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_user_reaches_nothing_on_the_server_however_it_is_spelled(
    user: httpx.Client, models: ModelServer, host: str
) -> None:
    models.asked.clear()
    found = tried(user, models.url("good", host))
    assert (found["ok"], found["models"]) == (False, [])
    assert models.asked == []


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "[fd00::1]", "[fe80::1]"]
)
def test_a_user_reaches_nothing_in_the_servers_own_network(user: httpx.Client, host: str) -> None:
    found = tried(user, f"http://{host}/v1")
    assert found["ok"] is False
    assert "only the admin" in found["detail"]


def test_a_value_that_the_admin_shares_leads_a_user_nowhere_either(
    admin: httpx.Client, server: Server, models: ModelServer
) -> None:
    set_key(admin, "LLM_BASE_URL", models.url("good"))
    for name in VARS[:2]:
        share(admin, name)
    answer = server.sign_up(new_email()).post(TEST, json={"backend": "keyed"})
    for name in VARS[:2]:
        share(admin, name, shared=False)
    assert answer.json()["ok"] is False
    assert models.asked == []


def test_the_server_met_all_this_without_an_error_of_its_own(server: Server) -> None:
    assert faults(server) == []


# -- from within ------------------------------------------------------------------------------------------


class Names:
    """A name server that changes its mind: each name's next address, and then the last one again."""

    SOCK_STREAM = socket.SOCK_STREAM

    def __init__(self, **addresses: list[str]) -> None:
        self._addresses = addresses

    def getaddrinfo(self, host: str, port: int, **_: Any) -> Any:
        left = self._addresses[host.partition(".")[0]]
        address = left.pop(0) if len(left) > 1 else left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]


NOWHERE = "2a0f:ffff::1"
"""A public address at which nobody is."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.keys.upstream._SECONDS", 0.3)


async def _tried(client: httpx.AsyncClient, url: str) -> Json:
    await client.put(f"{OVERRIDES}/LLM_BASE_URL", json={"value": url})
    await client.put(f"{OVERRIDES}/LLM_API_KEY", json={"value": GOOD_KEY})
    answer = await client.post(TEST, json={"backend": ""})
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    path = tmp_path / "backends.json"
    path.write_bytes(httpx.Request("POST", "http://x", json={"backends": [KEYED]}).content)
    return path


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("how", ["silent", "drip"])
async def test_a_server_that_never_ends_is_given_up_soon(
    tmp_path: Path, declared: Path, models: ModelServer, how: str
) -> None:
    async with inside(tmp_path, backends_config_path=declared, private_upstreams=True) as stack:
        user = await stack.sign_up(new_email())
        found = await _tried(user, models.url(how))
    assert found["ok"] is False
    assert "LLM_BASE_URL" in found["detail"]


async def test_private_addresses_are_for_all_where_the_settings_say_so(
    tmp_path: Path, declared: Path, models: ModelServer
) -> None:
    models.asked.clear()
    async with inside(tmp_path, backends_config_path=declared, private_upstreams=True) as stack:
        user = await stack.sign_up(new_email())
        assert (await _tried(user, models.url("good")))["ok"] is True
        assert (await _tried(user, models.url("redirect")))["ok"] is False
    assert [path for path, _ in models.asked] == ["/good/v1/models", "/redirect/v1/models"]


@pytest.mark.parametrize("backend", ["", "keyed"])
async def test_the_key_that_the_admin_shares_goes_only_where_the_admin_says(
    tmp_path: Path, declared: Path, models: ModelServer, backend: str
) -> None:
    models.asked.clear()
    url = {"value": models.url("good")}
    async with inside(tmp_path, backends_config_path=declared, private_upstreams=True) as stack:
        admin, user = await stack.admin(), await stack.sign_up(new_email())

        async def test() -> Json:
            found: Json = (await user.post(TEST, json={"backend": backend})).json()
            return found

        for name, value in (("LLM_API_KEY", {"value": GOOD_KEY}), ("LLM_BASE_URL", url)):
            await admin.put(f"{OVERRIDES}/{name}", json=value)
            await admin.put(f"{SHARED}/{name}", json={"shared": True})
        assert (await test())["ok"] is True, "both are the admin's"
        models.asked.clear()
        await user.put(f"{OVERRIDES}/LLM_BASE_URL", json=url)
        found = await test()
        assert (found["ok"], found["models"], models.asked) == (False, [], [])
        assert "LLM_API_KEY" in found["detail"]
        await user.put(f"{OVERRIDES}/LLM_API_KEY", json={"value": GOOD_KEY})
        assert (await test())["ok"] is True, "both are the user's"
        await user.delete(f"{OVERRIDES}/LLM_BASE_URL")
        assert (await test())["ok"] is True, "the user's own key, for the admin's address"
    assert len(models.asked) == 2


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("answers", [["127.0.0.1"], [NOWHERE, "127.0.0.1"], ["10.0.0.1", NOWHERE]])
async def test_no_name_leads_a_user_to_the_server_itself(
    tmp_path: Path, declared: Path, models: ModelServer, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    models.asked.clear()
    monkeypatch.setattr("web.keys.upstream.socket", Names(models=answers))
    async with inside(tmp_path, backends_config_path=declared) as stack:
        user = await stack.sign_up(new_email())
        found = await _tried(user, models.url("good", "models.example.org"))
    assert found["ok"] is False
    assert models.asked == []


async def test_the_address_that_was_looked_at_is_the_one_that_is_asked_under_its_name(
    tmp_path: Path, declared: Path, models: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.asked.clear()
    monkeypatch.setattr("web.keys.upstream.socket", Names(models=["127.0.0.1", NOWHERE]))
    async with inside(tmp_path, backends_config_path=declared) as stack:
        found = await _tried(await stack.admin(), models.url("good", "models.example.org"))
    assert found["ok"] is True
    assert models.asked[0][1]["host"] == f"models.example.org:{models.port}"


@pytest.mark.usefixtures("short")
async def test_names_that_take_for_ever_to_be_found_hold_up_nobody_but_who_tests(
    tmp_path: Path, declared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    class Slow(Names):
        def getaddrinfo(self, host: str, port: int, **_: Any) -> Any:
            answered.wait(30)
            return super().getaddrinfo(host, port)

    monkeypatch.setattr("web.keys.upstream.socket", Slow(models=[NOWHERE]))
    async with inside(tmp_path, backends_config_path=declared) as stack, trio.open_nursery() as nursery:
        try:
            user, reader = await stack.sign_up(new_email()), await stack.sign_up(new_email())
            for _ in range(60):
                nursery.start_soon(_tried, user, "https://models.example.org/v1")
            await trio.sleep(0.5)
            with trio.fail_after(10):  # Threads that all share would be taken by now.
                assert (await reader.post("/api/conversations", json={"backend": "keyed"})).is_success
        finally:
            answered.set()
