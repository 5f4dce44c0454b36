"""/api/admin/invites: links with which people make their own accounts."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.events import events
from tests.harness.inside import ORIGIN, inside
from tests.harness.server import PASSWORD, Server

INVITES = "/api/admin/invites"
INVITE = {
    "id": str,
    "note": str,
    "prefix": str,
    "uses": int,
    "used": int,
    "created_at": int,
    "expires_at": int,
}
STATIC = "inv-static code"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server at which nobody may sign up without an invitation."""
    env = {"ALLOW_SIGNUP": "false"}
    with Server(tmp_path_factory.mktemp("invites"), backends=[FAST_DEMO], env=env) as running:
        yield running


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has a code for everybody, one that looks like an invitation."""
    env = {"INVITE_CODE": STATIC}
    with Server(tmp_path_factory.mktemp("coded"), backends=[FAST_DEMO], env=env) as running:
        yield running


@pytest.fixture(scope="module")
def admin(server: Server) -> httpx.Client:
    return server.admin()


def invite(admin: httpx.Client, **body: Any) -> tuple[Json, str]:
    answer = admin.post(INVITES, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["path"] == f"/#/signup?invite={answer.json()['code']}"
    return answer.json()["invite"], answer.json()["code"]


def sign_up(server: Server, code: str | None, email: str = "") -> httpx.Response:
    body = {"email": email or new_email("guest"), "password": PASSWORD, "invite_code": code}
    return server.client().post("/auth/signup", json=body)


def live(admin: httpx.Client) -> dict[str, Json]:
    return {i["id"]: i for i in admin.get(INVITES).json()["invites"]}


def test_an_invitation_is_good_for_one_account_and_a_week_unless_told_otherwise(admin: httpx.Client) -> None:
    found, code = invite(admin)
    has_shape(found, INVITE)
    assert set(found) == set(INVITE)
    assert (found["uses"], found["used"], found["note"]) == (1, 0, "")
    assert found["expires_at"] == pytest.approx(time.time() + 7 * 86400, abs=30)
    assert code.startswith("inv-")
    assert len(code) > 30
    assert code.startswith(found["prefix"])
    assert len(found["prefix"]) <= 10


def test_the_newest_is_listed_first_and_no_code_is_shown_again(server: Server, admin: httpx.Client) -> None:
    made = [invite(admin, note=f"number {n}", uses=n + 1, expires_in_seconds=3600) for n in range(3)]
    answer = admin.get(INVITES)
    assert answer.json()["invites"][:3] == [found for found, _ in made[::-1]]
    told = answer.text + str(events(server, "invite.created")) + server.errors()
    assert not [code for _, code in made if code in told]


def test_an_invitation_makes_one_account_where_signing_up_is_off(server: Server, admin: httpx.Client) -> None:
    is_problem(sign_up(server, None), 403, "signup_off")
    found, code = invite(admin)
    answer = sign_up(server, code)
    assert answer.status_code == 200
    assert answer.json()["user"]["role"] == "user"
    assert found["id"] not in live(admin)
    is_problem(sign_up(server, code), 403, "bad_invite")


def test_an_invitation_for_several_counts_its_uses(server: Server, admin: httpx.Client) -> None:
    found, code = invite(admin, uses=3)
    for used in (1, 2):
        assert sign_up(server, code).status_code == 200
        assert live(admin)[found["id"]] == {**found, "used": used}
    assert sign_up(server, code).status_code == 200
    assert found["id"] not in live(admin)
    is_problem(sign_up(server, code), 403, "bad_invite")


def test_a_sign_up_that_is_refused_uses_nothing(server: Server, admin: httpx.Client) -> None:
    found, code = invite(admin)
    taken = admin.get("/auth/me").json()["user"]["email"]
    body = {"email": new_email(), "password": "short", "invite_code": code}
    is_problem(server.client().post("/auth/signup", json=body), 400, "weak_password")
    is_problem(sign_up(server, code, "no address"), 400, "bad_email")
    is_problem(sign_up(server, code, taken), 409, "email_taken")
    assert live(admin)[found["id"]] == found
    assert sign_up(server, code).status_code == 200


@pytest.mark.parametrize("uses", [1, 3])
def test_of_many_who_sign_up_at_once_no_more_get_in_than_are_invited(
    server: Server, admin: httpx.Client, uses: int
) -> None:
    found, code = invite(admin, uses=uses)
    before = len(admin.get("/api/admin/users").json()["users"])
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: sign_up(server, code), range(10)))
    assert [a.status_code for a in answers].count(200) == uses
    assert {a.json()["code"] for a in answers if not a.is_success} == {"bad_invite"}
    assert len(admin.get("/api/admin/users").json()["users"]) == before + uses
    used = [e for e in events(server, "invite.used") if e["payload"]["invite_id"] == found["id"]]
    assert len(used) == uses


def test_of_many_who_sign_up_at_once_with_one_address_one_gets_in_and_one_use_is_counted(
    server: Server, admin: httpx.Client
) -> None:
    found, code = invite(admin, uses=5)
    email = new_email("rush")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: sign_up(server, code, email), range(6)))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 5
    assert live(admin)[found["id"]]["used"] == 1


def test_a_revoked_invitation_is_void_at_once(server: Server, admin: httpx.Client) -> None:
    found, code = invite(admin, uses=10)
    assert sign_up(server, code).status_code == 200
    answer = admin.delete(f"{INVITES}/{found['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    is_problem(sign_up(server, code), 403, "bad_invite")
    assert found["id"] not in live(admin)
    is_problem(admin.delete(f"{INVITES}/{found['id']}"), 404)


async def test_an_invitation_that_has_expired_is_void_and_not_listed(tmp_path: Path) -> None:
    async with inside(tmp_path, allow_signup=False) as stack:
        services = stack.stack.services
        boss = services.views.users.admin()
        assert boss is not None
        _, code = await services.invites.create(boss.id, "late", 5, 0, ORIGIN)
        assert (await (await stack.admin()).get(INVITES)).json() == {"invites": []}
        body = {"email": new_email(), "password": PASSWORD, "invite_code": code}
        is_problem(await stack.client().post("/auth/signup", json=body), 403, "bad_invite")


@pytest.mark.parametrize(
    "body",
    [
        *({"uses": 0}, {"uses": 1001}, {"uses": "x"}, {"expires_in_seconds": 0}, {"expires_in_seconds": 10**9}),
        *({"note": "n" * 201}, {"note": 5}),
    ],
)
def test_an_invitation_that_cannot_be_is_refused(admin: httpx.Client, body: Json) -> None:
    before = live(admin)
    is_problem(admin.post(INVITES, json=body), 422, "malformed")
    assert live(admin) == before


@pytest.mark.parametrize("code", ["", "inv-", "inv-nonsense", "inv-\u00e9", "x" * 200, None])
def test_a_wrong_code_lets_nobody_in(server: Server, code: str | None) -> None:
    assert is_problem(sign_up(server, code), 403)["code"] in {"signup_off", "bad_invite"}


def test_a_wrong_code_tells_nothing_of_who_has_an_account(server: Server, admin: httpx.Client) -> None:
    taken = admin.get("/auth/me").json()["user"]["email"]
    assert sign_up(server, "inv-nonsense", taken).json() == sign_up(server, "inv-nonsense").json()


def test_nobody_but_the_admin_invites(server: Server, admin: httpx.Client) -> None:
    guest = server.client()
    found, code = invite(admin)
    body = {"email": new_email(), "password": PASSWORD, "invite_code": code}
    assert guest.post("/auth/signup", json=body).is_success
    for call in (guest.get(INVITES), guest.post(INVITES, json={}), guest.delete(f"{INVITES}/{found['id']}")):
        is_problem(call, 403, "admin_only")


def test_the_code_for_everybody_works_beside_invitations(coded: Server) -> None:
    assert coded.client().get("/auth/state").json()["invite_required"] is True
    for _ in range(2):
        assert sign_up(coded, STATIC).status_code == 200
    _, code = invite(coded.admin())
    assert sign_up(coded, code).status_code == 200
    for wrong in (code, None, "inv-static", STATIC.upper()):
        is_problem(sign_up(coded, wrong), 403, "bad_invite")


def test_an_invitation_survives_a_restart(server: Server, admin: httpx.Client) -> None:
    found, code = invite(admin, uses=2)
    assert sign_up(server, code).is_success
    server.stop()
    server.start()
    assert live(admin)[found["id"]] == {**found, "used": 1}
    assert sign_up(server, code).is_success
    is_problem(sign_up(server, code), 403, "bad_invite")
