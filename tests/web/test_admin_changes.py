"""Accounts as the admin changes and deletes them; the deletion itself is in tests/e2e/test_erasure.py."""

from typing import Any

import httpx
import pytest

from tests.harness.contract import has_shape, is_openai_error, is_problem, new_email
from tests.harness.events import events
from tests.harness.server import ADMIN, PASSWORD, Server
from tests.harness.tokens import bearer, new_token

USER = {
    "id": str,
    "email": str,
    "name": str,
    "slug": str,
    "role": str,
    "created_at": int,
    "monthly_tokens": (int, None),
    "used_tokens": int,
}
NEW = "quite another password"
Json = dict[str, Any]


@pytest.fixture
def admin(server: Server) -> httpx.Client:
    return server.admin()


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.sign_up(new_email())


def path(client: httpx.Client) -> str:
    id_: str = client.get("/auth/me").json()["user"]["id"]
    return f"/api/admin/users/{id_}"


def shown(admin: httpx.Client, client: httpx.Client) -> Json:
    id_ = path(client).rpartition("/")[2]
    (found,) = [u for u in admin.get("/api/admin/users").json()["users"] if u["id"] == id_]
    return dict(found)


def login(server: Server, email: str, password: str) -> httpx.Response:
    return server.client().post("/auth/login", json={"email": email, "password": password})


# -- name and password ------------------------------------------------------------------------------------


def test_a_user_is_renamed_and_stays_signed_in(admin: httpx.Client, client: httpx.Client) -> None:
    before = shown(admin, client)
    answer = admin.patch(path(client), json={"name": "Renamed"})
    assert answer.json() == {"user": {**before, "name": "Renamed"}}
    has_shape(answer.json()["user"], USER)
    assert client.get("/auth/me").json()["user"]["name"] == "Renamed"


def test_a_password_that_the_admin_sets_ends_all_sign_ins(server: Server, admin: httpx.Client) -> None:
    email = new_email()
    first = server.sign_up(email)
    second = server.client()
    second.post("/auth/login", json={"email": email, "password": PASSWORD})
    answer = admin.patch(path(first), json={"password": NEW})
    assert answer.status_code == 200
    assert NEW not in answer.text
    is_problem(first.get("/auth/me"), 401, "session_ended")
    is_problem(second.get("/auth/me"), 401, "session_ended")
    is_problem(login(server, email, PASSWORD), 401)
    assert login(server, email, NEW).status_code == 200


def test_a_change_of_nothing_changes_nothing(server: Server, admin: httpx.Client, client: httpx.Client) -> None:
    before, count = shown(admin, client), len(events(server))
    assert admin.patch(path(client), json={}).json() == {"user": before}
    same = {"name": before["name"], "role": "admin", "email": "other@example.org"}
    assert admin.patch(path(client), json=same).json() == {"user": before}
    assert len(events(server)) == count
    assert client.get("/auth/me").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"password": "short"}, 400, "weak_password"),
        ({"password": "password123"}, 400, "weak_password"),
        ({"name": "a\nb"}, 400, "bad_name"),
        ({"name": "n" * 81}, 400, "bad_name"),
        ({"name": 7}, 422, "malformed"),
        ({"name": "Fine", "password": "short"}, 400, "weak_password"),
    ],
)
def test_a_change_that_is_refused_changes_nothing(
    admin: httpx.Client, client: httpx.Client, body: Json, status: int, code: str
) -> None:
    before = shown(admin, client)
    is_problem(admin.patch(path(client), json=body), status, code)
    assert shown(admin, client) == before
    assert client.get("/auth/me").status_code == 200


def test_an_admins_token_changes_anybody_but_the_admin(
    server: Server, admin: httpx.Client, client: httpx.Client
) -> None:
    before, email = shown(admin, admin), shown(admin, client)["email"]
    program = server.client(headers=bearer(new_token(admin, scope="all")[1]))
    for body in ({"password": NEW}, {"name": "Taken over"}, {"name": "Taken over", "password": NEW}):
        is_problem(program.patch(path(admin), json=body), 403, "token_scope")
    assert shown(admin, admin) == before
    is_problem(login(server, ADMIN[0], NEW), 401, "bad_credentials")
    assert program.patch(path(client), json={"name": "By a program", "password": NEW}).status_code == 200
    assert login(server, email, NEW).json()["user"]["name"] == "By a program"


def test_the_admin_who_is_signed_in_changes_the_own_account_too(server: Server) -> None:
    admin = server.admin()
    name = shown(admin, admin)["name"]
    for other in ("Boss", name):
        assert admin.patch(path(admin), json={"name": other}).json()["user"]["name"] == other


def test_the_admin_changes_the_own_password_only_with_the_current_one(server: Server) -> None:
    admin, other = server.admin(), server.admin()
    before = shown(admin, admin)
    is_problem(admin.patch(path(admin), json={"password": NEW}), 403, "current_password_needed")
    wrong = {"name": "Taken over", "password": NEW, "current_password": "not the password"}
    is_problem(admin.patch(path(admin), json=wrong), 403, "wrong_password")
    assert shown(admin, admin) == before
    assert login(server, *ADMIN).status_code == 200
    changes = {"password": NEW, "current_password": ADMIN[1]}
    assert admin.patch(path(admin), json=changes).status_code == 200
    assert admin.get("/auth/me").status_code == 200
    is_problem(other.get("/auth/me"), 401, "session_ended")
    is_problem(login(server, *ADMIN), 401, "bad_credentials")
    assert admin.patch(path(admin), json={"password": ADMIN[1], "current_password": NEW}).status_code == 200


def test_with_a_new_password_the_admin_may_end_somebodys_tokens(server: Server, admin: httpx.Client) -> None:
    client = server.sign_up(new_email())
    secrets = [new_token(client)[1] for _ in range(2)]
    where = path(client)
    id_ = where.rpartition("/")[2]

    def api_tokens() -> int:
        found: int = admin.get("/api/admin/users").json()["takes"][id_]["api_tokens"]
        return found

    assert admin.patch(where, json={"password": NEW}).is_success
    assert api_tokens() == 2
    assert server.client(headers=bearer(secrets[0])).get("/v1/models").is_success
    assert admin.patch(where, json={"password": PASSWORD, "revoke_tokens": True}).is_success
    assert api_tokens() == 0
    for secret in secrets:
        assert server.client(headers=bearer(secret)).get("/v1/models").status_code == 401


# -- deleting ---------------------------------------------------------------------------------------------


def test_a_deleted_user_is_gone_with_all_credentials(server: Server, admin: httpx.Client) -> None:
    email = new_email()
    client = server.sign_up(email)
    _, secret = new_token(client, scope="all")
    where = path(client)
    slug = client.get("/auth/me").json()["user"]["slug"]
    assert client.post("/api/runners/demo/start").is_success
    answer = admin.delete(where)
    assert (answer.status_code, answer.content) == (204, b"")
    is_problem(client.get("/auth/me"), 401)
    is_problem(server.client().get("/api/agents", headers=bearer(secret)), 401)
    is_openai_error(server.client().get("/v1/models", headers=bearer(secret)), 401)
    is_problem(login(server, email, PASSWORD), 401, "bad_credentials")
    assert email not in [u["email"] for u in admin.get("/api/admin/users").json()["users"]]
    assert slug not in admin.get("/api/admin/runners").text
    is_problem(admin.delete(where), 404)
    is_problem(admin.patch(where, json={"name": "x"}), 404)
    again = server.sign_up(email)
    assert again.get("/auth/me").json()["user"]["slug"] != slug
    assert path(again) != where


def test_the_admin_is_never_deleted(admin: httpx.Client) -> None:
    is_problem(admin.delete(path(admin)), 400)
    assert admin.get("/auth/me").json()["user"]["role"] == "admin"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_user_that_does_not_exist_is_not_found(admin: httpx.Client, method: str) -> None:
    is_problem(admin.request(method, "/api/admin/users/nobody", json={}), 404)


def test_nobody_but_the_admin_changes_or_deletes_anybody(server: Server, client: httpx.Client) -> None:
    other = server.sign_up(new_email())
    for where in (path(other), path(client)):
        is_problem(client.patch(where, json={"name": "x", "password": NEW}), 403, "admin_only")
        is_problem(client.delete(where), 403, "admin_only")
        is_problem(client.put(f"{where}/budget", json={"monthly_tokens": None}), 403, "admin_only")
    assert other.get("/auth/me").status_code == 200


# -- budget -----------------------------------------------------------------------------------------------


def test_a_budget_is_set_shown_and_lifted(admin: httpx.Client, client: httpx.Client) -> None:
    assert client.get("/api/me/usage").json()["budget"]["monthly_tokens"] is None
    for budget in (0, 1000, 2**53 - 1, None):
        assert admin.put(f"{path(client)}/budget", json={"monthly_tokens": budget}).json() == {
            "monthly_tokens": budget
        }
        assert shown(admin, client)["monthly_tokens"] == budget
        assert client.get("/api/me/usage").json()["budget"]["monthly_tokens"] == budget


@pytest.mark.parametrize("budget", [-1, 2**53, "many", 1.5])
def test_a_budget_that_is_no_number_of_tokens_is_refused(
    admin: httpx.Client, client: httpx.Client, budget: object
) -> None:
    is_problem(admin.put(f"{path(client)}/budget", json={"monthly_tokens": budget}), 422, "malformed")
    is_problem(admin.put(f"{path(client)}/budget", json={}), 422, "malformed")
    assert shown(admin, client)["monthly_tokens"] is None


def test_a_budget_for_nobody_is_not_found(admin: httpx.Client) -> None:
    is_problem(admin.put("/api/admin/users/nobody/budget", json={"monthly_tokens": 5}), 404)


def test_the_admin_may_have_a_budget_too(admin: httpx.Client) -> None:
    assert admin.put(f"{path(admin)}/budget", json={"monthly_tokens": 5}).status_code == 200
    assert admin.put(f"{path(admin)}/budget", json={"monthly_tokens": None}).status_code == 200
