"""What each user may take for good: the log of a day, conversations, agents' files."""

import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import trio

from eventlog.filter import Filter
from projections.usage import DAY
from tests.harness.clock import Clock
from tests.harness.contract import is_openai_error, is_problem, new_email
from tests.harness.inside import Inside, inside

pytestmark = pytest.mark.usefixtures("nothing_deep_is_left")
Json = dict[str, Any]
MIB = 1 << 20
CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def nothing_deep_is_left(tmp_path: Path) -> Iterator[None]:
    """Remove what is too deep for those who remove the folders of tests."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


async def _json(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:
    answer = await client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def _me(client: httpx.AsyncClient) -> str:
    found: str = (await _json(client, "GET", "/auth/me"))["user"]["id"]
    return found


async def _conversation(client: httpx.AsyncClient) -> str:
    made = await _json(client, "POST", "/api/conversations", {"backend": "demo"})
    found: str = made["conversation"]["id"]
    return found


async def _post(client: httpx.AsyncClient, conversation: str, size: int) -> httpx.Response:
    body = {"role": "user", "content": "x" * size}
    return await client.post(f"/api/conversations/{conversation}/messages", json=body)


async def _room(client: httpx.AsyncClient) -> Json:
    found = await _json(client, "GET", "/api/me/usage")
    return {**found["room"], "most": found["most"]}


# -- the log of a day -------------------------------------------------------------------------------------


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[tuple[Inside, httpx.AsyncClient, str]]:
    """A user who has filled the log of today, with a conversation."""
    async with inside(tmp_path, log_mib_per_day=1, text_mib_per_minute=0) as stack:
        client = await stack.sign_up(new_email())
        conversation = await _conversation(client)
        for _ in range(2):
            assert (await _post(client, conversation, 600_000)).is_success
        yield stack, client, conversation


async def test_a_day_has_so_much_room_in_the_log_and_the_next_one_again(
    filled: tuple[Inside, httpx.AsyncClient, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, client, conversation = filled
    room = await _room(client)
    assert room["log_today"] == room["log"] > 1_200_000
    assert room["most"] == {"log_per_day": MIB, "conversations": 10_000, "files": 10_240 * MIB}
    refused = await _post(client, conversation, 1)
    problem = is_problem(refused, 429, "log_quota")
    assert 0 < problem["retry_after"] <= DAY
    assert "1 MiB" in problem["detail"]
    assert "LOG_MIB_PER_DAY" in problem["detail"]
    is_openai_error(await client.post("/v1/chat/completions", json=CHAT), 429, "log_quota")
    other = await stack.sign_up(new_email())
    assert (await _post(other, await _conversation(other), 1)).is_success
    clock = Clock()
    clock.now = time.time() + DAY
    monkeypatch.setattr("supervisors.allowance.time", SimpleNamespace(time=lambda: clock.now))
    assert (await _post(client, conversation, 1)).is_success


async def test_every_change_by_somebody_whose_day_is_full_is_refused_but_what_ends_something(
    filled: tuple[Inside, httpx.AsyncClient, str],
) -> None:
    """Every route there is: one that can make the log grow may not be forgotten."""
    stack, client, conversation = filled
    token = await _json(await stack.sign_up(new_email()), "POST", "/api/me/tokens", {"name": "t"})
    assert token
    names = {
        "conversation_id": conversation,
        "agent_id": "none",
        "turn_id": "none",
        "message_id": "none",
        "backend": "demo",
        "name": "LLM_API_KEY",
        "token_id": "none",
        "session_id": "none",
        "stream": "none",
    }
    document = (await _json(stack.client(), "GET", "/openapi.json"))["paths"]
    before = stack.stack.services.log.position
    free = set()
    for path, methods in document.items():
        if not path.startswith("/api/") or path.startswith(("/api/admin/", "/api/internal/")):
            continue
        for method in {m.upper() for m in methods} & {"POST", "PUT", "PATCH"}:
            answer = await client.request(method, path.format(**names), json={})
            if answer.status_code == 429:
                is_problem(answer, 429, "log_quota")
            else:
                free.add(path)
    progress = await client.get("/api/runners/demo/progress", headers={"sec-fetch-mode": "cors"})
    is_problem(progress, 429, "log_quota")
    assert stack.stack.services.log.position == before
    assert free == {
        "/api/me/password",
        "/api/me/env-overrides/test",
        "/api/conversations/{conversation_id}/turns/{turn_id}/cancel",
    }
    assert (await client.delete(f"/api/conversations/{conversation}")).status_code == 204
    assert (await client.delete("/api/me/sessions")).is_success
    assert (await client.post("/auth/logout")).is_success


async def test_the_admin_sees_what_everybody_takes_and_may_always_do_something_about_it(
    filled: tuple[Inside, httpx.AsyncClient, str],
) -> None:
    stack, client, _ = filled
    admin = await stack.admin()
    conversation = await _conversation(admin)
    for _ in range(2):
        await _post(admin, conversation, 600_000)
    is_problem(await _post(admin, conversation, 1), 429, "log_quota")
    listed = await _json(admin, "GET", "/api/admin/users")
    assert listed["most"]["log_per_day"] == MIB
    me = await _me(client)
    room = {n: v for n, v in (await _room(client)).items() if n != "most"}
    assert listed["takes"][me] == {**room, "api_tokens": 0}
    assert (await admin.patch(f"/api/admin/users/{me}", json={"name": "Renamed"})).is_success
    assert (await admin.delete(f"/api/admin/users/{me}")).status_code == 204


async def test_agents_fill_the_day_of_their_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(tmp_path, log_mib_per_day=1, text_mib_per_minute=0) as stack:
        client = await stack.sign_up(new_email())
        conversation = await _conversation(client)
        services = stack.stack.services
        summary = services.views.conversations.find(conversation)
        assert summary
        run = SimpleNamespace(key="k" * 40, runner_id="r1", exited=trio.Event(), closed=trio.Event())
        monkeypatch.setattr(services.pool, "find", lambda _: SimpleNamespace(run_now=run))
        agent = stack.client(authorization=f"Bearer {run.key}")
        path = f"/api/internal/agents/{summary.agent_id}/event"
        answers = [await agent.post(path, json={"content": "x" * 600_000}) for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 429, 429]
        is_problem(answers[-1], 429, "log_quota")
        is_problem(await agent.post(path, json={"content": "x", "persist": False}), 429, "log_quota")
        is_problem(await _post(client, conversation, 1), 429, "log_quota")


# -- conversations ----------------------------------------------------------------------------------------


async def test_a_user_has_so_many_conversations(tmp_path: Path) -> None:
    async with inside(tmp_path, conversations_per_user=3) as stack:
        client, other = await stack.sign_up(new_email()), await stack.sign_up(new_email())
        made = [await _conversation(client) for _ in range(3)]
        refused = await client.post("/api/conversations", json={"backend": "demo"})
        problem = is_problem(refused, 507, "conversation_quota")
        assert "CONVERSATIONS_PER_USER" in problem["detail"]
        assert (await _room(client))["conversations"] == 3
        assert await _conversation(other)
        assert (await client.delete(f"/api/conversations/{made[0]}")).is_success
        assert await _conversation(client)


async def test_many_asked_for_at_once_are_not_more(tmp_path: Path) -> None:
    async with inside(tmp_path, conversations_per_user=3) as stack, trio.open_nursery() as nursery:
        client, found = await stack.sign_up(new_email()), []

        async def ask() -> None:
            found.append((await client.post("/api/conversations", json={"backend": "demo"})).status_code)

        for _ in range(12):
            nursery.start_soon(ask)
        while len(found) < 12:
            await trio.sleep(0.01)
        assert (await _room(client))["conversations"] == 3
    assert sorted(found) == [200] * 3 + [507] * 9


# -- files ------------------------------------------------------------------------------------------------


async def _measured(stack: Inside, client: httpx.AsyncClient) -> int:
    """Have the homes of a user measured, and return the bytes."""
    user = stack.stack.services.views.users.get(await _me(client))
    await stack.stack.sizes.measure(user)
    found: int = (await _room(client))["files"]
    return found


async def _home(stack: Inside, client: httpx.AsyncClient) -> Path:
    slug = (await _json(client, "GET", "/auth/me"))["user"]["slug"]
    home: Path = stack.stack.settings.stack_data_root / "users" / slug / "demo"
    home.mkdir(parents=True)
    return home


def _one_large_file(home: Path) -> None:
    (home / "large").write_bytes(os.urandom(3 * MIB))


def _many_empty_files(home: Path) -> None:
    for number in range(800):
        (home / str(number)).touch()


def _folders_in_folders(home: Path) -> None:
    """So deep that no name reaches them."""
    at = os.open(home, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 100, dir_fd=at)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)


@pytest.mark.parametrize("write", [_one_large_file, _many_empty_files, _folders_in_folders])
async def test_agents_whose_files_are_too_many_are_neither_asked_nor_started(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    async with inside(tmp_path, files_mib_per_user=2) as stack:
        client, other = await stack.sign_up(new_email()), await stack.sign_up(new_email())
        assert (await _room(client))["files"] == 0
        home = await _home(stack, client)
        assert await _measured(stack, client) < 100_000
        write(home)
        assert await _measured(stack, client) > 2 * MIB
        conversation = await _conversation(client)
        for answer in (
            await client.post("/api/runners/demo/start"),
            await client.post(f"/api/conversations/{conversation}/turns", json={"content": "hi"}),
        ):
            problem = is_problem(answer, 507, "files_quota")
            assert "FILES_MIB_PER_USER" in problem["detail"]
        told = await client.post("/v1/chat/completions", json=CHAT)
        is_openai_error(told, 507, "files_quota")
        assert told.headers["x-should-retry"] == "false"
        assert stack.stack.services.pool.statistics()["ready"] == 0
        assert await client.post(
            f"/api/conversations/{conversation}/messages", json={"role": "user", "content": "x"}
        )
        assert await _measured(stack, other) == 0
        agent = (await _json(client, "GET", "/api/agents"))["agents"][0]["id"]
        assert (await client.delete(f"/api/agents/{agent}?files=true")).status_code == 204
        assert not home.exists()
        assert await _measured(stack, client) < 100_000


async def test_runners_are_stopped_when_there_are_too_many_files(tmp_path: Path) -> None:
    async with inside(tmp_path, files_mib_per_user=2) as stack:
        client = await stack.sign_up(new_email())
        await _json(client, "POST", "/api/runners/demo/start")
        slug = (await _json(client, "GET", "/auth/me"))["user"]["slug"]
        home = stack.stack.settings.stack_data_root / "users" / slug / "demo"
        pool = stack.stack.services.pool
        assert await _measured(stack, client) < MIB
        pool.stop_over_allowance(await _me(client))
        assert pool.statistics()["ready"] == 1
        _one_large_file(home)
        assert await _measured(stack, client) > 2 * MIB
        pool.stop_over_allowance(await _me(client))
        with trio.fail_after(20):
            while pool.statistics()["absent"] != 1:
                await trio.sleep(0.05)
        stopped = await stack.stack.services.log.read(Filter(types=("runner.stopped",)), limit=-1)
        assert [r.event.reason for r in stopped] == ["files_full"]


async def test_links_are_not_followed_and_what_they_lead_to_is_not_counted(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client = await stack.sign_up(new_email())
        home = await _home(stack, client)
        (tmp_path / "elsewhere").write_bytes(os.urandom(3 * MIB))
        (home / "link").symlink_to(tmp_path / "elsewhere")
        (home / "folder").symlink_to(tmp_path)
        for number in range(5):
            (home / f"again{number}").symlink_to(home)
        assert await _measured(stack, client) < 100_000


async def test_an_agents_files_stay_unless_they_are_to_go(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client = await stack.sign_up(new_email())
        home = await _home(stack, client)
        (home / "kept").write_text("kept")
        agent = (await _json(client, "POST", "/api/agents", {"backend": "demo", "name": "a"}))["agent"]["id"]
        assert (await client.delete(f"/api/agents/{agent}")).status_code == 204
        assert (home / "kept").read_text() == "kept"


async def test_whatever_an_agent_has_built_its_user_is_deleted_and_the_disk_is_measured(tmp_path: Path) -> None:
    async with inside(tmp_path) as stack:
        client, admin = await stack.sign_up(new_email()), await stack.admin()
        home = await _home(stack, client)
        _folders_in_folders(home)
        at = home
        for _ in range(1200):  # Not too deep for names, but for whoever calls itself for each.
            at = at / "e"
            at.mkdir()
        assert (await _json(admin, "GET", "/api/admin/disk"))["total"] > 0
        assert (await admin.delete(f"/api/admin/users/{await _me(client)}")).status_code == 204
        assert not home.parent.exists()
