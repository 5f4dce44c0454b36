"""Signing up, in and out; who counts as signed in; the one admin."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import jwt
import pytest

from tests.conftest import FAST_DEMO
from tests.harness.contract import has_shape, is_openai_error, is_problem, new_email, operations
from tests.harness.server import ADMIN, PASSWORD, Server

USER = {"id": str, "email": str, "name": str, "slug": str, "role": str}
WEEK = 7 * 24 * 3600
NO_ADMIN = {"BOOTSTRAP_ADMIN_EMAIL": "", "BOOTSTRAP_ADMIN_PASSWORD": ""}
CREDENTIALS = {"password": PASSWORD}


def signup(client: httpx.Client, email: str, **more: str) -> httpx.Response:
    return client.post("/auth/signup", json={"email": email, **CREDENTIALS, **more})


def login(client: httpx.Client, email: str, password: str) -> httpx.Response:
    return client.post("/auth/login", json={"email": email, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def attributes(answer: httpx.Response) -> dict[str, str]:
    """Return the attributes of the cookie of the sign-in that an answer sets, by lower-case name."""
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if "_device=" not in c.partition(";")[0]]
    pairs = (part.strip().partition("=") for part in cookie.split(";"))
    return {name.lower(): value for name, _, value in pairs}


def jwt_secret(server: Server) -> str:
    return (server.data / "secrets" / "jwt").read_text().strip()


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server at which nobody may sign up, behind TLS, with a cookie of another name."""
    env = {"ALLOW_SIGNUP": "false", "COOKIE_SECURE": "true", "COOKIE_NAME": "other_name"}
    with Server(tmp_path_factory.mktemp("closed"), backends=[FAST_DEMO], env=env) as server:
        yield server


@pytest.fixture(scope="module")
def invited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for an invite code."""
    env = {"INVITE_CODE": "sésame"}
    with Server(tmp_path_factory.mktemp("invited"), backends=[FAST_DEMO], env=env) as server:
        yield server


# -- signing up -------------------------------------------------------------------------------------------


def test_signing_up_answers_with_the_user_and_a_session_cookie(server: Server) -> None:
    email = new_email("Ada.Lovelace")
    with server.client() as client:
        answer = signup(client, email, name="Ada")
        assert answer.status_code == 200
        assert list(answer.json()) == ["user"]
        user = answer.json()["user"]
        has_shape(user, USER)
        assert (user["email"], user["name"], user["role"]) == (email, "Ada", "user")
        assert re.fullmatch(r"ada-?lovelace[a-z0-9-]*", user["slug"])
        assert client.get("/auth/me").json() == {"user": user}


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(server: Server) -> None:
    cookie = attributes(signup(server.client(), new_email()))
    assert "agent_stack_session" in cookie
    assert "httponly" in cookie
    assert "secure" not in cookie
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert cookie["max-age"] == str(WEEK)


def test_the_cookie_lasts_exactly_as_long_as_the_token_in_it(server: Server) -> None:
    client = server.sign_up(new_email())
    claims = jwt.decode(server.token(client), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == WEEK


def test_without_a_name_the_address_gives_one(server: Server) -> None:
    email = new_email("grace")
    assert signup(server.client(), email).json()["user"]["name"] == email.partition("@")[0]


@pytest.mark.parametrize("email", ["", "x", "@example.org", "a@", "a b@example.org", "a@b@c", "a\x00b@example.org"])
def test_signing_up_with_what_is_no_address_is_refused(server: Server, email: str) -> None:
    is_problem(signup(server.client(), email), 400, "bad_email")


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_signing_up_with_a_weak_password_is_refused(server: Server, password: str) -> None:
    answer = signup(server.client(), new_email(), password=password)
    is_problem(answer, 400, "weak_password")


@pytest.mark.parametrize("body", [{}, {"email": "a@example.org"}, {"email": 1, "password": PASSWORD}])
def test_signing_up_with_a_malformed_body_is_unprocessable(server: Server, body: dict[str, object]) -> None:
    is_problem(server.client().post("/auth/signup", json=body), 422, "malformed")


def test_an_address_is_taken_in_every_spelling(server: Server) -> None:
    email = new_email("twice")
    server.sign_up(email)
    for spelling in (email, email.upper(), f"  {email} ", email.replace("twice", "\uff54\uff57\uff49\uff43\uff45")):
        is_problem(signup(server.client(), spelling), 409, "email_taken")


def test_of_ten_who_sign_up_with_one_address_at_once_exactly_one_wins(server: Server) -> None:
    email = new_email("rush")
    clients = [server.client() for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda c: signup(c, email), clients))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 9
    users = server.admin().get("/api/admin/users").json()["users"]
    assert [u["email"] for u in users].count(email) == 1


def test_people_with_the_same_name_at_different_hosts_get_different_slugs(server: Server) -> None:
    clients = [server.client() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: signup(clients[n], f"same@host-{n}.example.org"), range(4)))
    slugs = {a.json()["user"]["slug"] for a in answers}
    assert len(slugs) == 4


def test_signing_up_is_refused_where_it_is_switched_off(closed: Server) -> None:
    is_problem(signup(closed.client(), new_email()), 403, "signup_off")
    assert closed.client().get("/auth/state").json()["allow_signup"] is False


def test_signing_up_needs_the_right_invite_code_where_one_is_set(invited: Server) -> None:
    assert invited.client().get("/auth/state").json()["invite_required"] is True
    is_problem(signup(invited.client(), new_email()), 403, "bad_invite")
    is_problem(signup(invited.client(), new_email(), invite_code="sesame"), 403, "bad_invite")
    assert signup(invited.client(), new_email(), invite_code="sésame").status_code == 200


def test_an_invite_code_means_nothing_where_none_is_set(server: Server) -> None:
    assert signup(server.client(), new_email(), invite_code="whatever").status_code == 200


# -- signing in -------------------------------------------------------------------------------------------


def test_signing_in_answers_with_the_user_and_a_session_cookie(server: Server) -> None:
    email = new_email()
    server.sign_up(email)
    with server.client() as client:
        answer = login(client, email.upper(), PASSWORD)
        assert answer.status_code == 200
        has_shape(answer.json()["user"], USER)
        assert attributes(answer)["max-age"] == str(WEEK)
        assert client.get("/auth/me").json() == answer.json()


def test_an_unknown_address_and_a_wrong_password_get_the_same_answer(server: Server) -> None:
    email = new_email()
    server.sign_up(email)
    unknown = is_problem(login(server.client(), new_email("nobody"), PASSWORD), 401)
    wrong = is_problem(login(server.client(), email, "not the password"), 401)
    no_address = is_problem(login(server.client(), "no address", PASSWORD), 401)
    assert unknown == wrong == no_address


def test_signing_in_with_a_malformed_body_is_unprocessable(server: Server) -> None:
    is_problem(server.client().post("/auth/login", json={"email": "a@example.org"}), 422, "malformed")


# -- signing out ------------------------------------------------------------------------------------------


def test_signing_out_voids_the_token_wherever_it_was_copied_to(server: Server) -> None:
    client = server.sign_up(new_email())
    token = server.token(client)
    answer = client.post("/auth/logout")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert attributes(answer)["max-age"] == "0"
    assert "agent_stack_session" not in client.cookies
    is_problem(server.client().get("/auth/me", headers=bearer(token)), 401, "session_ended")
    is_problem(server.client(cookies={"agent_stack_session": token}).get("/auth/me"), 401, "session_ended")
    is_openai_error(server.client().get("/v1/models", headers=bearer(token)), 401)


def test_signing_out_ends_only_the_one_session(server: Server) -> None:
    email = new_email()
    first = server.sign_up(email)
    second = server.client()
    login(second, email, PASSWORD)
    first.post("/auth/logout")
    assert second.get("/auth/me").status_code == 200


def test_signing_out_without_a_session_is_unauthenticated(server: Server) -> None:
    is_problem(server.client().post("/auth/logout"), 401)


# -- tokens -----------------------------------------------------------------------------------------------


def test_a_session_token_works_as_bearer_on_both_surfaces(server: Server) -> None:
    token = server.token(server.sign_up(new_email()))
    assert server.client().get("/auth/me", headers=bearer(token)).status_code == 200
    assert server.client().get("/v1/models", headers=bearer(token)).status_code == 200
    assert server.client().get("/auth/me", headers={"authorization": f"bearer {token}"}).status_code == 200


def test_a_bearer_token_comes_before_the_cookie(server: Server) -> None:
    first, second = server.sign_up(new_email()), server.sign_up(new_email())
    answer = first.get("/auth/me", headers=bearer(server.token(second)))
    assert answer.json() == second.get("/auth/me").json()
    is_problem(first.get("/auth/me", headers=bearer("nonsense")), 401)


def test_a_token_that_was_altered_anywhere_is_void(server: Server) -> None:
    head, claims, signature = server.token(server.sign_up(new_email())).split(".")
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    other = server.token(server.sign_up(new_email())).split(".")[1]
    for token in (
        f"{head}.{claims}.{flipped}",
        f"{head}.{other}.{signature}",
        f"{head}.{claims}.",
        f"{head}.{claims}",
    ):
        is_problem(server.client().get("/auth/me", headers=bearer(token)), 401)


def test_an_expired_token_is_void_and_so_is_one_signed_by_somebody_else(server: Server) -> None:
    client = server.sign_up(new_email())
    claims = jwt.decode(server.token(client), options={"verify_signature": False})
    secret = jwt_secret(server)
    again = jwt.encode(claims, secret, "HS256")
    assert server.client().get("/auth/me", headers=bearer(again)).status_code == 200
    expired = {**claims, "exp": int(time.time()) - 1}
    endless = {k: v for k, v in claims.items() if k != "exp"}
    elsewhere = {**claims, "sid": "01h000000000000000000000000"}
    for token in (
        jwt.encode(expired, secret, "HS256"),
        jwt.encode(endless, secret, "HS256"),
        jwt.encode(elsewhere, secret, "HS256"),
        jwt.encode(claims, "somebody else's secret of enough characters", "HS256"),
        jwt.encode(claims, secret.ljust(64, "x"), "HS512"),
        jwt.encode(claims, "", "none"),
    ):
        is_problem(server.client().get("/auth/me", headers=bearer(token)), 401)


@pytest.mark.parametrize("token", [".", "..", "a.b.c", "é" * 10, "x" * 5000, "as-0000000000000000"])
def test_garbage_for_a_token_is_unauthenticated_and_no_error_of_ours(server: Server, token: str) -> None:
    header = [(b"authorization", f"Bearer {token}".encode())]
    is_problem(server.client().get("/auth/me", headers=header), 401)
    is_openai_error(server.client().get("/v1/models", headers=header), 401)


def test_the_key_of_the_command_line_opens_nothing_that_belongs_to_a_user(server: Server) -> None:
    key = (server.data / "secrets" / "operator").read_text().strip()
    now = int(time.time())
    token = jwt.encode({"sub": "operator", "iat": now, "exp": now + 60}, key, "HS256")
    for path in ("/auth/me", "/api/agents", "/api/conversations"):
        is_problem(server.client().get(path, headers=bearer(token)), 401)
    assert server.client().get("/api/admin/users", headers=bearer(token)).status_code == 200


def test_me_without_a_session_is_unauthenticated(server: Server) -> None:
    is_problem(server.client().get("/auth/me"), 401, "unauthenticated")


# -- the cookie's settings --------------------------------------------------------------------------------


def test_the_cookie_has_the_name_and_the_secure_flag_that_the_settings_ask_for(closed: Server) -> None:
    with closed.client() as client:
        answer = login(client, *ADMIN)
        name, _, token = answer.headers["set-cookie"].partition(";")[0].partition("=")
        assert name == "__Host-other_name"  # Browsers take that from this host only, and over HTTPS.
        assert "secure" in attributes(answer)
        # A client keeps a secure cookie to itself over plain HTTP, so send it by hand.
        named = {"cookie": f"{name}={token}"}
        assert closed.client().get("/auth/me", headers=named).status_code == 200
        for another in ("agent_stack_session", "other_name", "__Host-agent_stack_session"):
            unusual = {"cookie": f"{another}={token}"}
            is_problem(closed.client().get("/auth/me", headers=unusual), 401)


# -- the one admin ----------------------------------------------------------------------------------------


def test_signing_up_never_makes_an_admin(server: Server) -> None:
    answer = signup(server.client(), new_email(), role="admin")
    assert answer.json()["user"]["role"] == "user"
    roles = [u["role"] for u in server.admin().get("/api/admin/users").json()["users"]]
    assert roles.count("admin") == 1


def test_the_set_up_token_makes_one_admin_once(tmp_path: Path) -> None:
    with Server(tmp_path, backends=[FAST_DEMO], env=NO_ADMIN) as server:
        client = server.client()
        assert client.get("/auth/state").json()["needs_setup"] is True
        # Whoever comes first is no admin for that.
        assert signup(server.client(), new_email()).json()["user"]["role"] == "user"
        token = (tmp_path / "out.txt").read_text().rpartition("token=")[2].strip()
        body = {"email": "boss@example.org", "password": PASSWORD, "name": "Boss"}
        is_problem(client.post("/auth/setup", json={**body, "token": token[:-1]}), 403, "bad_setup_token")
        is_problem(client.post("/auth/setup", json={**body, "token": ""}), 403, "bad_setup_token")
        is_problem(client.post("/auth/setup", json={**body, "password": "short", "token": token}), 400)
        clients = [server.client() for _ in range(5)]
        with ThreadPoolExecutor(5) as threads:
            rush = list(
                threads.map(
                    lambda n: clients[n].post(
                        "/auth/setup", json={**body, "email": f"boss{n}@example.org", "token": token}
                    ),
                    range(5),
                )
            )
        assert sorted(a.status_code for a in rush)[0] == 200
        assert [a.status_code for a in rush].count(200) == 1
        assert {a.status_code for a in rush} <= {200, 403, 409}
        winner = next(c for c, a in zip(clients, rush, strict=True) if a.is_success)
        assert winner.get("/auth/me").json()["user"]["role"] == "admin"
        is_problem(server.client().post("/auth/setup", json={**body, "token": token}), 403, "bad_setup_token")
        assert server.client().get("/auth/state").json()["needs_setup"] is False
        users = winner.get("/api/admin/users").json()["users"]
        assert [u["role"] for u in users].count("admin") == 1


def test_where_there_is_an_admin_there_is_no_set_up(server: Server) -> None:
    body = {"email": new_email(), "password": PASSWORD, "token": ""}
    is_problem(server.client().post("/auth/setup", json=body), 403, "bad_setup_token")


# -- other sites' pages -----------------------------------------------------------------------------------

FOREIGN = ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"]


def test_a_cookie_alone_authorises_no_change_that_a_foreign_page_asks_for(server: Server) -> None:
    client = server.sign_up(new_email())
    others = ("/admin/", "/internal/")  # The command line's and the agents', who send a key of their own.
    unsafe = [o for o in operations(server) if o.method != "get" and not any(p in o.path for p in others)]
    assert len(unsafe) > 15
    for operation in unsafe:
        answer = operation.call(client, headers={"origin": "https://evil.example"})
        assert is_problem(answer, 403)["code"] == "foreign_origin", operation
    assert client.get("/auth/me").status_code == 200, "the sign-out was refused too"


@pytest.mark.parametrize("origin", FOREIGN)
def test_every_kind_of_foreign_origin_is_recognised(server: Server, origin: str) -> None:
    client = server.sign_up(new_email())
    body = {"backend": "demo", "name": "x"}
    is_problem(client.post("/api/agents", json=body, headers={"origin": origin}), 403, "foreign_origin")
    chat = {"model": "demo", "messages": []}
    answer = client.post("/v1/chat/completions", json=chat, headers={"origin": origin})
    is_openai_error(answer, 403, "foreign_origin")
    is_problem(
        server.client().post(
            "/auth/login", json=dict(zip(("email", "password"), ADMIN, strict=True)), headers={"origin": origin}
        ),
        403,
        "foreign_origin",
    )


def test_our_own_page_may_do_what_a_foreign_one_may_not(server: Server) -> None:
    client = server.sign_up(new_email())
    answer = client.post("/api/agents", json={"backend": "demo", "name": "x"}, headers={"origin": server.url})
    assert answer.status_code == 200


def test_a_foreign_page_may_not_use_the_admins_cookie_either(server: Server) -> None:
    body = {"email": new_email(), "password": PASSWORD}
    answer = server.admin().post("/api/admin/users", json=body, headers={"origin": "https://evil.example"})
    is_problem(answer, 403, "foreign_origin")


def test_with_a_bearer_token_the_origin_does_not_matter(server: Server) -> None:
    token = server.token(server.sign_up(new_email()))
    headers = {**bearer(token), "origin": "https://evil.example"}
    for operation in operations(server):
        if operation.method != "get" and not operation.public and "logout" not in operation.path:
            answer = operation.call(server.client(), headers=headers)
            assert "foreign_origin" not in answer.text, operation
    created = server.client().post("/api/agents", json={"backend": "demo", "name": "x"}, headers=headers)
    assert created.status_code == 200
