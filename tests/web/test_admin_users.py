"""Accounts as the admin sees and makes them."""

import httpx
import pytest

from tests.harness.contract import has_shape, is_problem, new_email
from tests.harness.server import ADMIN, PASSWORD, Server

USER = {"id": str, "email": str, "name": str, "slug": str, "role": str, "created_at": int}


@pytest.fixture
def admin(server: Server) -> httpx.Client:
    return server.admin()


def test_all_users_are_listed_newest_first(server: Server, admin: httpx.Client) -> None:
    emails = [new_email() for _ in range(3)]
    for email in emails:
        server.sign_up(email)
    users = admin.get("/api/admin/users").json()["users"]
    for user in users:
        has_shape(user, USER)
        assert not [name for name in user if "password" in name]
    assert [u["email"] for u in users[:3]] == emails[::-1]
    assert (users[-1]["email"], users[-1]["role"]) == (ADMIN[0], "admin")


def test_an_account_that_the_admin_makes_can_sign_in(server: Server, admin: httpx.Client) -> None:
    email = new_email("made")
    answer = admin.post("/api/admin/users", json={"email": email, "password": PASSWORD, "name": "Made"})
    assert answer.status_code == 200
    has_shape(answer.json()["user"], USER)
    assert (answer.json()["user"]["name"], answer.json()["user"]["role"]) == ("Made", "user")
    assert "set-cookie" not in answer.headers
    signed_in = server.client().post("/auth/login", json={"email": email, "password": PASSWORD})
    assert signed_in.json()["user"]["id"] == answer.json()["user"]["id"]


def test_the_admin_cannot_make_another_admin(admin: httpx.Client) -> None:
    body = {"email": new_email(), "password": PASSWORD, "role": "admin"}
    assert admin.post("/api/admin/users", json=body).json()["user"]["role"] == "user"
    roles = [u["role"] for u in admin.get("/api/admin/users").json()["users"]]
    assert roles.count("admin") == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"email": "no address", "password": PASSWORD}, 400),
        ({"email": "a@example.org", "password": "short"}, 400),
        ({"email": ADMIN[0].upper(), "password": PASSWORD}, 409),
        ({"email": "a@example.org"}, 422),
        ({"email": "a@example.org", "password": PASSWORD, "name": "n" * 81}, 400),
    ],
)
def test_an_account_that_cannot_be_is_refused(admin: httpx.Client, body: dict[str, str], status: int) -> None:
    is_problem(admin.post("/api/admin/users", json=body), status)


def test_nobody_but_the_admin_sees_or_makes_accounts(server: Server) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    user = server.sign_up(new_email())
    is_problem(user.get("/api/admin/users"), 403, "admin_only")
    is_problem(user.post("/api/admin/users", json=body), 403, "admin_only")
    is_problem(server.client().get("/api/admin/users"), 401)
    is_problem(server.client().post("/api/admin/users", json=body), 401)
