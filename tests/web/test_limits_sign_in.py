"""How often somebody may try to sign in: by address, by address and account, and on devices that are known."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.harness.clock import Clock
from tests.harness.contract import is_problem, new_email
from tests.harness.inside import Inside, inside
from tests.harness.server import PASSWORD
from web.auth.throttle import ADDRESSES

WRONG = "not the password"
JSON = {"content-type": "application/json"}
SECRET = "kq3Vd81bTnZ0xWcRmYpL5uEa7HsJg9Fi"
FULL_WIDTH = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(ord("a"), ord("z") + 1)})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("web.auth.throttle.time", clock)
    return clock


async def login(client: httpx.AsyncClient, email: str, password: str = WRONG, **headers: str) -> httpx.Response:
    return await client.post("/auth/login", json={"email": email, "password": password}, headers=headers)


async def statuses(client: httpx.AsyncClient, count: int, **headers: str) -> list[int]:
    """Try unknown accounts, one after the other."""
    return [(await login(client, new_email("nobody"), **headers)).status_code for _ in range(count)]


def is_too_many(answer: httpx.Response) -> dict[str, Any]:
    problem = is_problem(answer, 429, "too_many_attempts")
    assert answer.headers["retry-after"] == str(problem["retry_after"])
    assert problem["retry_after"] >= 1
    assert f"{problem['retry_after']} s" in problem["detail"]
    return problem


async def user_of(stack: Inside) -> str:
    email = new_email("Someone")
    await stack.sign_up(email)
    return email


# -- by account -------------------------------------------------------------------------------------------


async def test_after_some_wrong_passwords_an_account_has_to_wait_also_for_the_right_one(
    tmp_path: Path, clock: Clock
) -> None:
    async with inside(tmp_path, sign_ins_per_account=3) as stack:
        email, other = await user_of(stack), await user_of(stack)
        client = stack.client()
        assert [(await login(client, email)).status_code for _ in range(3)] == [401] * 3
        wait = is_too_many(await login(client, email))["retry_after"]
        is_too_many(await login(client, email, PASSWORD))
        assert (await login(client, other, PASSWORD)).status_code == 200
        clock.now += wait
        assert (await login(client, email, PASSWORD)).status_code == 200


async def test_an_address_without_an_account_is_refused_in_the_same_words_at_the_same_time(
    tmp_path: Path, clock: Clock
) -> None:
    assert clock.now
    async with inside(tmp_path, sign_ins_per_account=2) as stack:
        told = []
        for email in (await user_of(stack), new_email("nobody"), "no address at all"):
            answers = [await login(stack.client(), email) for _ in range(4)]
            told.append([(a.status_code, a.json(), a.headers.get("retry-after")) for a in answers])
    assert told[0] == told[1] == told[2]
    assert [status for status, *_ in told[0]] == [401, 401, 429, 429]


async def test_every_spelling_of_an_address_is_the_same_account(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=4) as stack:
        email = await user_of(stack)
        for spelling in (email, email.upper(), f"  {email} ", email.lower().translate(FULL_WIDTH)):
            assert (await login(stack.client(), spelling)).status_code == 401
        is_too_many(await login(stack.client(), email, PASSWORD))


async def test_the_right_password_forgives_the_wrong_ones(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=3) as stack:
        email = await user_of(stack)
        for _ in range(3):
            assert [(await login(stack.client(), email)).status_code for _ in range(2)] == [401, 401]
            assert (await login(stack.client(), email, PASSWORD)).status_code == 200


async def test_guesses_at_the_same_moment_are_counted_too(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=3) as stack, trio.open_nursery() as nursery:
        email, found = await user_of(stack), []

        async def guess() -> None:
            found.append((await login(stack.client(), email)).status_code)

        for _ in range(12):
            nursery.start_soon(guess)
        while len(found) < 12:
            await trio.sleep(0.01)
    assert sorted(found) == [401] * 3 + [429] * 9


async def test_guessing_the_current_password_is_guessing_too(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=3) as stack:
        email = new_email()
        client = await stack.sign_up(email)
        body = {"current_password": WRONG, "new_password": "quite another password"}
        for _ in range(3):
            is_problem(await client.post("/api/me/password", json=body), 403, "wrong_password")
        is_too_many(await client.post("/api/me/password", json={**body, "current_password": PASSWORD}))
        is_too_many(await client.post("/api/me/password", json={**body, "current_password": PASSWORD}))
        assert (await client.get("/auth/me")).status_code == 200


async def test_a_stranger_at_another_address_locks_nobody_out(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=3) as stack:
        email = await user_of(stack)
        stranger = stack.client("203.0.113.7")
        found = [(await login(stranger, email)).status_code for _ in range(12)]
        assert found == [401] * 3 + [429] * 9
        is_too_many(await login(stranger, email, PASSWORD))
        assert (await login(stack.client("192.0.2.7"), email, PASSWORD)).status_code == 200


async def test_many_addresses_together_may_not_guess_for_ever(tmp_path: Path, clock: Clock) -> None:
    async with inside(tmp_path, sign_ins_per_account=2) as stack:
        email = await user_of(stack)
        found = [(await login(stack.client(f"203.0.113.{n}"), email)).status_code for n in range(40)]
        assert found == [401] * 2 * ADDRESSES + [429] * (40 - 2 * ADDRESSES)
        wait = is_too_many(await login(stack.client("192.0.2.7"), email, PASSWORD))["retry_after"]
        clock.now += wait
        assert (await login(stack.client("192.0.2.7"), email, PASSWORD)).status_code == 200


# -- on devices that are known ----------------------------------------------------------------------------


async def test_a_device_that_has_signed_in_before_always_has_a_way_in(tmp_path: Path, clock: Clock) -> None:
    """Whatever strangers do, and wherever: at its own address, and behind a proxy that makes all one address."""
    limits = {"sign_ins_per_account": 2, "sign_ins_per_address": 20}
    async with inside(tmp_path, **limits) as stack:
        email = new_email()
        known = await stack.sign_up(email)
        assert (await known.post("/auth/logout")).is_success
        clock.now += 60
        for number in range(40):
            await login(stack.client(f"203.0.113.{number}"), email)
        for _ in range(25):
            await login(stack.client(), email)
        is_too_many(await login(stack.client(), email, PASSWORD))
        is_too_many(await login(stack.client("192.0.2.7"), email, PASSWORD))
        assert (await login(known, email, PASSWORD)).status_code == 200
        assert (await known.get("/auth/me")).is_success
        for name in [n for n in known.cookies if not n.endswith("_device")]:
            del known.cookies[name]
        assert (await login(known, email, PASSWORD)).status_code == 200, "its sign-in has been lost"


async def test_a_known_device_may_guess_no_more_than_itself_and_its_address(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=3) as stack:
        email = new_email()
        known = await stack.sign_up(email)
        assert [(await login(known, email)).status_code for _ in range(8)] == [401] * 6 + [429] * 2
        assert (await login(stack.client("192.0.2.7"), email, PASSWORD)).status_code == 200


async def test_whoever_has_copied_a_devices_cookie_does_not_lock_the_device_out(
    tmp_path: Path, clock: Clock
) -> None:
    assert clock.now
    async with inside(tmp_path, sign_ins_per_account=3, sign_ins_per_address=10) as stack:
        email = new_email()
        known = await stack.sign_up(email)
        copied = {"cookie": f"agent_stack_session_device={known.cookies['agent_stack_session_device']}"}
        thief = stack.client("203.0.113.7", **copied)
        for _ in range(40):
            await thief.post("/auth/login", content=b"{", headers=JSON)
            await login(thief, email)
        assert (await login(known, email, PASSWORD)).status_code == 200


async def test_devices_make_no_more_accounts_than_their_address_may(tmp_path: Path, clock: Clock) -> None:
    assert clock.now
    async with inside(tmp_path, sign_ins_per_address=5) as stack:
        made = 0
        for _ in range(3):
            client = stack.client("203.0.113.7")
            for _ in range(5):
                body = {"email": new_email("many"), "password": PASSWORD}
                made += (await client.post("/auth/signup", json=body)).is_success
        assert made == 5


async def test_a_device_is_known_for_those_who_have_signed_in_on_it(tmp_path: Path, clock: Clock) -> None:
    """Whoever has an account of their own guesses no more at others' for it."""
    assert clock.now
    async with inside(tmp_path, sign_ins_per_account=100, sign_ins_per_address=6) as stack:
        victim = new_email()
        await stack.sign_up(victim)
        found = []
        for allowed in (3, 1):  # Each sign-up is an attempt too, and makes a device.
            own = stack.client("203.0.113.7")
            body = {"email": new_email("own"), "password": PASSWORD}
            assert (await own.post("/auth/signup", json=body)).is_success
            found = [(await login(own, victim)).status_code for _ in range(3)]
            assert found == [401] * allowed + [429] * (3 - allowed)


async def test_two_people_on_one_device_are_both_known(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=1) as stack:
        first, second = new_email(), new_email()
        device = await stack.sign_up(first)
        assert (await device.post("/auth/signup", json={"email": second, "password": PASSWORD})).is_success
        for email in (first, second):
            await login(stack.client(), email)
            is_too_many(await login(stack.client(), email, PASSWORD))
            assert (await login(device, email, PASSWORD)).status_code == 200


async def test_a_devices_cookie_opens_nothing_and_cannot_be_made_up(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=1, jwt_secret=SECRET) as stack:
        email = new_email()
        known = await stack.sign_up(email)
        session, device = (known.cookies[f"agent_stack_session{end}"] for end in ("", "_device"))
        for name in ("agent_stack_session", "agent_stack_session_device"):
            client = stack.client(cookie=f"{name}={device}")
            is_problem(await client.get("/auth/me"), 401)
        is_problem(await stack.client(authorization=f"Bearer {device}").get("/auth/me"), 401)
        await login(stack.client(), email)
        altered = device[:-4] + ("AAAA" if not device.endswith("AAAA") else "BBBB")
        for made_up in (session, altered, "x", ""):
            is_too_many(await login(stack.client(cookie=f"agent_stack_session_device={made_up}"), email, PASSWORD))


async def test_over_https_a_devices_cookie_is_the_hosts_own(tmp_path: Path) -> None:
    async with inside(tmp_path, cookie_secure=True) as stack:
        body = {"email": new_email(), "password": PASSWORD}
        set_ = (await stack.client().post("/auth/signup", json=body)).headers.get_list("set-cookie")
        (device,) = [c for c in set_ if "_device=" in c]
        assert device.startswith("__Host-agent_stack_session_device=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(device.split("; "))


# -- by address -------------------------------------------------------------------------------------------


async def test_one_address_may_try_so_often_whatever_it_tries(tmp_path: Path, clock: Clock) -> None:
    async with inside(tmp_path, sign_ins_per_address=3) as stack:
        email, here = new_email(), "192.0.2.1"
        body = {"email": email, "password": PASSWORD}
        assert (await stack.client(here).post("/auth/signup", json=body)).status_code == 200
        assert (await login(stack.client(here), email)).status_code == 401
        assert (await stack.client(here).post("/auth/setup", json={**body, "token": "x"})).status_code == 403
        wait = is_too_many(await login(stack.client(here), email, PASSWORD))["retry_after"]
        is_too_many(await stack.client(here).post("/auth/signup", json={**body, "email": new_email()}))
        is_too_many(await stack.client(here).post("/auth/setup", json={**body, "token": "x"}))
        assert (await login(stack.client("192.0.2.2"), email, PASSWORD)).status_code == 200
        assert (await stack.client(here).get("/auth/state")).status_code == 200
        clock.now += wait
        assert (await login(stack.client(here), email, PASSWORD)).status_code == 200


@pytest.mark.usefixtures("clock")
async def test_attempts_that_make_no_sense_are_attempts_too(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_address=4) as stack:
        client = stack.client("192.0.2.1")
        for path, body in (("login", b"{"), ("signup", b"[]"), ("setup", b'{"email": 7}'), ("login", b"")):
            is_problem(await client.post(f"/auth/{path}", content=body, headers=JSON), 422, "malformed")
        for path in ("login", "signup", "setup"):
            is_too_many(await client.post(f"/auth/{path}", content=b"{", headers=JSON))
        assert (await client.get("/auth/state")).status_code == 200


@pytest.mark.usefixtures("clock")
async def test_signing_out_is_no_attempt_and_always_possible(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_address=2) as stack:
        email = new_email()
        client = await stack.sign_up(email)
        assert (await client.post("/auth/logout")).status_code == 200
        for _ in range(5):
            is_problem(await client.post("/auth/logout"), 401)
        assert [(await login(client, email, PASSWORD)).status_code for _ in range(4)] == [200] * 3 + [429]
        assert (await client.post("/auth/logout")).status_code == 200


@pytest.mark.parametrize("path", ["/auth/login", "/auth/signup", "/auth/setup"])
@pytest.mark.parametrize(
    ("header", "status"),
    [((b"content-length", b"65537"), 413), ((b"transfer-encoding", b"chunked"), 411)],
    ids=["too long", "of any length"],
)
async def test_no_stranger_sends_more_than_a_sign_in_needs(
    tmp_path: Path, path: str, header: tuple[bytes, bytes], status: int
) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("its body is read")

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with inside(tmp_path) as stack:
        scope = {"type": "http", "method": "POST", "path": path, "headers": [header]}
        await stack.front(scope, receive, send)
        start, body = sent
        assert (start["status"], json.loads(body["body"])["status"]) == (status, status)
        assert (b"connection", b"close") in start["headers"]


async def test_a_sign_in_of_the_greatest_length_is_looked_at(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        email = await user_of(stack)
        body = json.dumps({"email": email, "password": PASSWORD}).encode().ljust(64 * 1024)
        assert (await stack.client().post("/auth/login", content=body, headers=JSON)).status_code == 200
        assert (await stack.client().post("/auth/login", content=body + b" ", headers=JSON)).status_code == 413


async def test_a_whole_network_of_ipv6_is_one_address(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_address=2) as stack:
        for last in ("1", "2"):
            assert await statuses(stack.client(f"2001:db8:1:2::{last}"), 1) == [401]
        assert await statuses(stack.client("2001:db8:1:2:ffff::9"), 1) == [429]
        assert await statuses(stack.client("2001:db8:1:3::1"), 1) == [401]


async def test_what_a_client_says_of_where_it_comes_from_is_not_believed(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_address=2, trusted_proxies="10.0.0.0/8") as stack:
        client = stack.client("192.0.2.1")
        for number in range(2):
            assert await statuses(client, 1, **{"x-forwarded-for": f"198.51.100.{number}"}) == [401]
        for liar in ("198.51.100.9", "10.0.0.1, 198.51.100.10", "127.0.0.1"):
            assert await statuses(client, 1, **{"x-forwarded-for": liar}) == [429]


async def test_a_proxy_that_is_trusted_speaks_for_its_clients(tmp_path: Path) -> None:
    proxies = "10.0.0.0/8, 2001:db8::1"
    async with inside(tmp_path, sign_ins_per_address=1, trusted_proxies=proxies) as stack:
        for peer in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"):
            proxy, client = stack.client(peer), f"192.0.2.{len(peer)}"
            assert await statuses(proxy, 2, **{"x-forwarded-for": client}) == [401, 429]
            assert await statuses(proxy, 1, **{"x-forwarded-for": f"203.0.113.{len(peer)}"}) == [401]
            # What the client itself wrote stands before what the proxy added.
            assert await statuses(proxy, 1, **{"x-forwarded-for": f"198.51.100.1, {client}"}) == [429]
            assert await statuses(proxy, 1, **{"x-forwarded-for": f"{client}, 10.9.9.9"}) == [429]


@pytest.mark.parametrize("last", ["unknown", "192.0.2.1:5555", "[2001:db8::9]:443"])
async def test_behind_an_entry_that_is_no_address_nothing_is_believed(tmp_path: Path, last: str) -> None:
    async with inside(tmp_path, sign_ins_per_address=2, trusted_proxies="10.0.0.0/8") as stack:
        proxy = stack.client("10.0.0.1")
        found = [(await statuses(proxy, 1, **{"x-forwarded-for": f"198.51.100.{n}, {last}"}))[0] for n in range(4)]
    assert found == [401, 401, 429, 429]


async def test_a_refusal_does_not_name_the_account(tmp_path: Path) -> None:
    async with inside(tmp_path, sign_ins_per_account=1) as stack:
        email = await user_of(stack)
        await login(stack.client(), email)
        answer = await login(stack.client(), email)
        assert not re.search(re.escape(email), answer.text, re.IGNORECASE)
