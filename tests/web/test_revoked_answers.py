"""Whoever was let in a while ago: what is under way for them ends when they are shut out."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.harness.contract import is_problem, new_email
from tests.harness.inside import Inside, inside
from tests.harness.server import PASSWORD
from web.auth.guard import Guard

EXPORTS = ("/api/me/export", "/api/conversations/{id}/export", "/api/conversations/{id}/export?format=json")
READ = "/api/conversations/{id}"
LONG = "long " * 80_000
Message = dict[str, Any]
End = Callable[[Inside, httpx.AsyncClient], Awaitable[object]]


async def _json(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:
    answer = await client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def _logout(stack: Inside, client: httpx.AsyncClient) -> None:
    await _json(client, "POST", "/auth/logout")


async def _other_device_ends_all(stack: Inside, client: httpx.AsyncClient) -> None:
    email = (await _json(client, "GET", "/auth/me"))["user"]["email"]
    other = stack.client()
    await _json(other, "POST", "/auth/login", {"email": email, "password": PASSWORD})
    await _json(other, "DELETE", "/api/me/sessions")


async def _new_password(stack: Inside, client: httpx.AsyncClient) -> None:
    id_ = (await _json(client, "GET", "/auth/me"))["user"]["id"]
    await _json(await stack.admin(), "PATCH", f"/api/admin/users/{id_}", {"password": "quite another password"})


async def _deleted(stack: Inside, client: httpx.AsyncClient) -> None:
    id_ = (await _json(client, "GET", "/auth/me"))["user"]["id"]
    await _json(await stack.admin(), "DELETE", f"/api/admin/users/{id_}")


ENDS = [_logout, _other_device_ends_all, _new_password, _deleted]


async def _writer(stack: Inside) -> tuple[httpx.AsyncClient, str]:
    """Return a user with a conversation that does not fit into one piece."""
    client = await stack.sign_up(new_email())
    conversation = (await _json(client, "POST", "/api/conversations", {"backend": "demo"}))["conversation"]["id"]
    for _ in range(4):
        path = f"/api/conversations/{conversation}/messages"
        await _json(client, "POST", path, {"role": "user", "content": LONG})
    return client, conversation


async def _asked(
    stack: Inside,
    path: str,
    headers: dict[str, str],
    *,
    method: str = "GET",
    body: bytes = b"",
    before_body: Callable[[], Awaitable[object]] | None = None,
    after_first: Callable[[], Awaitable[object]] | None = None,
) -> list[Message]:
    """Ask at the front door; return what is sent."""
    sent: list[Message] = []
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        if received == 1:
            if before_body:
                await before_body()
            return {"type": "http.request", "body": body, "more_body": False}
        return await trio.sleep_forever()

    async def send(message: Message) -> None:
        sent.append(message)
        if after_first and message.get("body") and sum(bool(m.get("body")) for m in sent) == 1:
            await after_first()

    target, _, query = path.partition("?")
    named = {"host": "localhost", "content-type": "application/json", **headers}
    if body:
        named["content-length"] = str(len(body))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.encode(), v.encode()) for n, v in named.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
    }
    with trio.fail_after(20):
        await stack.front(scope, receive, send)
    return sent


def _cookie(client: httpx.AsyncClient) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}


@pytest.mark.parametrize("path", [*EXPORTS, READ])
@pytest.mark.parametrize("end", ENDS)
async def test_what_is_being_sent_is_cut_when_its_reader_is_shut_out(tmp_path: Path, path: str, end: End) -> None:
    async with inside(tmp_path) as stack:
        client, conversation = await _writer(stack)
        path, headers = path.format(id=conversation), _cookie(client)
        whole = await _asked(stack, path, headers)
        assert sum(bool(m.get("body")) for m in whole) > 2
        assert not whole[-1]["more_body"]
        cut = await _asked(stack, path, headers, after_first=lambda: end(stack, client))
        assert [m["type"] for m in cut] == ["http.response.start", "http.response.body"]
        assert cut[-1]["more_body"], "its reader must not take it for all there is"


async def test_a_revoked_token_ends_what_it_reads(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client, conversation = await _writer(stack)
        made = await _json(client, "POST", "/api/me/tokens", {"name": "t", "scope": "all"})
        headers = {"authorization": f"Bearer {made['secret']}"}

        async def revoke() -> None:
            await _json(client, "DELETE", f"/api/me/tokens/{made['token']['id']}")

        for path in EXPORTS[1:]:
            assert len(await _asked(stack, path.format(id=conversation), headers)) > 3
        assert len(await _asked(stack, EXPORTS[1].format(id=conversation), headers, after_first=revoke)) == 2


async def test_no_route_answers_somebody_who_was_shut_out_while_it_was_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every GET there is: the caller is good for as long as the handler works, and no more when it answers."""
    gone: list[bool] = []
    is_good = Guard.is_good
    monkeypatch.setattr(Guard, "is_good", lambda self, caller: is_good(self, caller) and not gone)
    async with inside(tmp_path) as stack:
        admin = await stack.admin()
        agent = (await _json(admin, "POST", "/api/agents", {"backend": "demo", "name": "a"}))["agent"]["id"]
        about = {"agent_id": agent, "title": "t"}
        conversation = (await _json(admin, "POST", "/api/conversations", about))["conversation"]["id"]
        me = (await _json(admin, "GET", "/auth/me"))["user"]["id"]
        names = {
            "conversation_id": conversation,
            "agent_id": agent,
            "user_id": me,
            "seq": "1",
            "position": "1",
            "backend": "demo",
            "stream": f"conversation:{conversation}",
            "runner_id": "none",
        }
        document = (await _json(stack.client(), "GET", "/openapi.json"))["paths"]
        quart = stack.front._quart

        async def late(scope: Any, receive: Any, send: Any) -> None:
            async def leaving(message: Message) -> None:
                gone.append(True)
                await send(message)

            await quart(scope, receive, leaving)

        stack.front._quart = late
        routes = [path for path, methods in document.items() if "get" in methods and path.startswith("/api/")]
        assert len(routes) > 25
        for route in routes:
            path = route.format(**names) + ("?q=t&prefix=as-xxxx&version=1" if "none" not in route else "")
            gone.clear()
            sent = await _asked(stack, path, _cookie(admin))
            assert sent[0]["status"] == 401, (path, sent)
            assert b"session_ended" in sent[1]["body"], path
            assert len(sent) == 2, path


@pytest.mark.parametrize("end", ENDS)
async def test_a_body_that_comes_after_its_sender_was_shut_out_changes_nothing(tmp_path: Path, end: End) -> None:
    async with inside(tmp_path) as stack:
        client = await stack.sign_up(new_email())
        headers = _cookie(client)
        sent = await _asked(
            stack,
            "/api/me",
            headers,
            method="PATCH",
            body=b'{"name": "Eve"}',
            before_body=lambda: end(stack, client),
        )
        assert sent[0]["status"] == 401, sent
        assert all(user.name != "Eve" for user in stack.stack.services.views.users.all())


async def test_a_request_to_an_agent_whose_body_comes_too_late_reaches_no_agent(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client = await stack.sign_up(new_email())
        sent = await _asked(
            stack,
            "/v1/chat/completions",
            _cookie(client),
            method="POST",
            body=b'{"model": "demo", "messages": [{"role": "user", "content": "hi"}]}',
            before_body=lambda: _logout(stack, client),
        )
        assert sent[0]["status"] == 401, sent
        assert stack.stack.services.pool.all() == []


async def test_whoever_signs_out_is_told_so(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client = await stack.sign_up(new_email())
        assert (await client.post("/auth/logout")).json() == {"ok": True}
        is_problem(await client.get("/auth/me"), 401)
