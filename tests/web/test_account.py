"""/api/me: name, password and sign-ins."""

from pathlib import Path

import httpx
import pytest
import trio

from supervisors.commands.hashing import Hashing
from tests.harness.contract import has_shape, is_openai_error, is_problem, new_email
from tests.harness.events import events
from tests.harness.inside import inside
from tests.harness.server import PASSWORD, Server
from tests.harness.sse import frames
from tests.harness.tokens import TOKENS, bearer, new_token

NEW = "quite another password"
SESSION = {"id": str, "device": str, "created_at": int, "expires_at": int, "current": bool}


class Human:
    """A user with several sign-ins."""

    def __init__(self, server: Server, sign_ins: int = 1) -> None:
        self.email = new_email("human")
        self.server = server
        self.here = server.sign_up(self.email)
        self.others = [self.sign_in() for _ in range(sign_ins - 1)]

    def login(self, password: str = PASSWORD) -> httpx.Response:
        return self.server.client().post("/auth/login", json={"email": self.email, "password": password})

    def sign_in(self, device: str = "Another device") -> httpx.Client:
        client = self.server.client(headers={"user-agent": device})
        answer = client.post("/auth/login", json={"email": self.email, "password": PASSWORD})
        assert answer.is_success
        return client

    def change(self, new: str, current: str = PASSWORD) -> httpx.Response:
        return self.here.post("/api/me/password", json={"current_password": current, "new_password": new})


@pytest.fixture
def human(server: Server) -> Human:
    return Human(server, sign_ins=3)


def is_in(client: httpx.Client) -> bool:
    return client.get("/auth/me").status_code == 200


# -- name -------------------------------------------------------------------------------------------------


def test_a_new_name_is_shown_from_then_on(human: Human) -> None:
    before = human.here.get("/auth/me").json()["user"]
    answer = human.here.patch("/api/me", json={"name": "  Ada Lovelace "})
    assert answer.json() == {"user": {**before, "name": "Ada Lovelace"}}
    assert human.others[0].get("/auth/me").json() == answer.json()


def test_an_empty_name_is_the_one_that_the_address_gives(human: Human) -> None:
    human.here.patch("/api/me", json={"name": "Ada"})
    assert human.here.patch("/api/me", json={"name": " "}).json()["user"]["name"] == human.email.partition("@")[0]


@pytest.mark.parametrize(("name", "status"), [("n" * 81, 400), ("a\nb", 400), ("n" * 201, 422), (None, 422)])
def test_a_name_that_cannot_be_shown_is_refused(human: Human, name: object, status: int) -> None:
    before = human.here.get("/auth/me").json()
    is_problem(human.here.patch("/api/me", json={"name": name}), status)
    assert human.here.get("/auth/me").json() == before


def test_nothing_but_the_name_can_be_changed_there(human: Human) -> None:
    before = human.here.get("/auth/me").json()["user"]
    body = {
        "name": "Ada",
        "role": "admin",
        "email": "other@example.org",
        "slug": "x",
        "id": "1",
        "monthly_tokens": 5,
    }
    assert human.here.patch("/api/me", json=body).json()["user"] == {**before, "name": "Ada"}


# -- password ---------------------------------------------------------------------------------------------


def test_a_new_password_ends_all_sign_ins_but_this_one(human: Human) -> None:
    token = human.server.token(human.others[0])
    answer = human.change(NEW)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "tokens": []})
    assert is_in(human.here)
    assert [is_in(c) for c in human.others] == [False, False]
    is_openai_error(human.server.client().get("/v1/models", headers=bearer(token)), 401, "session_ended")
    is_problem(human.login(PASSWORD), 401, "bad_credentials")
    assert human.login(NEW).status_code == 200


def test_a_wrong_current_password_changes_nothing(human: Human) -> None:
    for wrong in ("", "wrong", PASSWORD.upper(), PASSWORD + " "):
        is_problem(human.change(NEW, wrong), 403, "wrong_password")
    assert all(is_in(c) for c in human.others)
    assert human.login().status_code == 200


@pytest.mark.parametrize(
    "weak", ["", "short", "x" * 257, "aaaaaaaaaaaa", "abababababab", "password123", "1234567890", "Password123"]
)
def test_a_weak_password_changes_nothing(human: Human, weak: str) -> None:
    is_problem(human.change(weak), 400, "weak_password")
    assert all(is_in(c) for c in human.others)
    assert human.login().status_code == 200


def test_a_new_password_that_is_no_good_is_no_guess(human: Human) -> None:
    for _ in range(15):
        is_problem(human.change("short"), 400, "weak_password")
    assert human.change(NEW).status_code == 200


def test_the_current_password_is_no_new_one(human: Human) -> None:
    is_problem(human.change(PASSWORD), 400, "same_password")
    assert all(map(is_in, human.others))


def test_ones_own_address_or_name_is_no_password(human: Human) -> None:
    human.here.patch("/api/me", json={"name": "Augusta Ada King"})
    for known in (human.email, human.email.upper(), f"{human.email}1", "augusta ada king", "Augusta Ada King!"):
        is_problem(human.change(known), 400, "weak_password")


def test_a_malformed_change_is_unprocessable(human: Human) -> None:
    is_problem(human.here.post("/api/me/password", json={"new_password": NEW}), 422, "malformed")


def test_tokens_that_are_older_than_the_password_are_offered_for_revocation(human: Human) -> None:
    old, secret = new_token(human.here)
    assert not old["older_than_password"]
    offered = human.change(NEW).json()
    assert offered == {"ok": True, "tokens": [{**old, "older_than_password": True}]}
    program = human.server.client(headers=bearer(secret))
    assert program.get("/v1/models").is_success, "whoever relies on it is asked first"
    young, _ = new_token(human.here)
    listed = human.here.get(TOKENS).json()["tokens"]
    assert [(t["id"], t["older_than_password"]) for t in listed] == [(young["id"], False), (old["id"], True)]
    body = {"current_password": NEW, "new_password": PASSWORD, "revoke_tokens": True}
    assert human.here.post("/api/me/password", json=body).json() == {"ok": True, "tokens": []}
    is_openai_error(program.get("/v1/models"), 401, "bad_token")
    assert human.here.get(TOKENS).json()["tokens"] == []


def test_no_password_is_in_an_event_or_a_log_line(human: Human) -> None:
    human.change(NEW)
    human.change(PASSWORD, NEW)
    told = str(events(human.server)) + human.server.errors()
    assert "user.password_changed" in told
    assert NEW not in told
    assert "$argon2" not in told


# -- sign-ins ---------------------------------------------------------------------------------------------


def test_the_sign_ins_are_listed_newest_first_with_the_device_they_are_on(human: Human) -> None:
    newest = human.sign_in("Newest/1.0 " + "x" * 300)
    found = human.here.get("/api/me/sessions").json()["sessions"]
    assert len(found) == 4
    for session in found:
        has_shape(session, SESSION)
        assert set(session) == set(SESSION)
    assert [s["current"] for s in found] == [False, False, False, True]
    assert found[0]["device"] == ("Newest/1.0 " + "x" * 300)[:200]
    assert found[1]["device"] == "Another device"
    assert [s["current"] for s in newest.get("/api/me/sessions").json()["sessions"]] == [True, False, False, False]


def test_one_sign_in_is_ended_and_no_other(human: Human) -> None:
    newest, *_ = human.here.get("/api/me/sessions").json()["sessions"]
    answer = human.here.delete(f"/api/me/sessions/{newest['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [is_in(c) for c in (human.here, *human.others)] == [True, True, False]
    is_problem(human.here.delete(f"/api/me/sessions/{newest['id']}"), 404)


def test_ones_own_sign_in_may_be_ended_too(human: Human) -> None:
    (mine,) = [s for s in human.here.get("/api/me/sessions").json()["sessions"] if s["current"]]
    assert human.here.delete(f"/api/me/sessions/{mine['id']}").status_code == 204
    assert [is_in(c) for c in (human.here, *human.others)] == [False, True, True]


def test_all_others_are_ended_at_once(human: Human) -> None:
    assert human.here.delete("/api/me/sessions").json() == {"revoked": 2}
    assert [is_in(c) for c in (human.here, *human.others)] == [True, False, False]
    assert human.here.delete("/api/me/sessions").json() == {"revoked": 0}


def test_nobody_ends_the_sign_in_of_another_user(human: Human, server: Server) -> None:
    stranger = Human(server)
    (theirs,) = stranger.here.get("/api/me/sessions").json()["sessions"]
    is_problem(human.here.delete(f"/api/me/sessions/{theirs['id']}"), 404)
    human.here.delete("/api/me/sessions")
    assert is_in(stranger.here)


def test_a_sign_in_that_was_ended_sees_no_more_of_a_stream(human: Human) -> None:
    body = {"backend": "demo", "title": "named"}
    id_ = human.here.post("/api/conversations", json=body).json()["conversation"]["id"]
    path = f"/api/conversations/{id_}/messages"
    with human.others[1].stream("GET", f"/api/conversations/{id_}/stream") as stream:
        shown = frames(stream)
        human.here.post(path, json={"role": "user", "content": "before"})
        next(f for _, f in shown if f["kind"] == "message")
        human.here.delete("/api/me/sessions")
        human.here.post(path, json={"role": "user", "content": "after"})
        assert list(shown) == []


async def test_a_sign_in_with_the_old_password_does_not_outlast_its_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, go_on = trio.Event(), trio.Event()
    fits = Hashing.fits

    async def held(self: Hashing, password: str, expected: str | None) -> bool:
        found = await fits(self, password, expected)
        if not verified.is_set():
            verified.set()
            await go_on.wait()
        return found

    async with inside(tmp_path) as stack, trio.open_nursery() as nursery:
        email = new_email()
        here, there = await stack.sign_up(email), stack.client()
        monkeypatch.setattr(Hashing, "fits", held)
        credentials = {"email": email, "password": PASSWORD}
        signed_in = trio.Event()

        async def sign_in() -> None:
            await there.post("/auth/login", json=credentials)
            signed_in.set()

        nursery.start_soon(sign_in)
        await verified.wait()
        body = {"current_password": PASSWORD, "new_password": NEW}
        assert (await here.post("/api/me/password", json=body)).is_success
        go_on.set()
        await signed_in.wait()
        assert (await there.get("/auth/me")).status_code == 401
