"""Limits that many requests meet at the same moment."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.harness.backends import backend
from tests.harness.contract import new_email
from tests.harness.inside import Inside, inside
from tests.harness.waiting import PATIENCE_SECONDS

AT_ONCE, ASKED = 2, 8
MUTE = backend("mute", "{python}", "-c", "import time; time.sleep(600)")
"""It never answers, so whoever is let in stays."""
Json = dict[str, Any]


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    path = tmp_path / "backends.json"
    path.write_text(json.dumps({"backends": [MUTE]}))
    return path


async def rush(stack: Inside, client: httpx.AsyncClient, calls: list[tuple[str, Json]]) -> list[httpx.Response]:
    """Make all calls at once; return the answers that came while the other ones are let in and wait."""
    answers: list[httpx.Response] = []

    async def call(path: str, body: Json) -> None:
        answers.append(await client.post(path, json=body))

    def let_in() -> int:
        return stack.stack.services.admission.statistics()["running"]

    async with trio.open_nursery() as nursery:
        for path, body in calls:
            nursery.start_soon(call, path, body)
        with trio.move_on_after(PATIENCE_SECONDS):
            while len([a for a in answers if not a.is_success]) + let_in() < len(calls):
                await trio.sleep(0.02)
        assert let_in() == AT_ONCE
        nursery.cancel_scope.cancel()
    return [a for a in answers if not a.is_success]


async def test_no_more_requests_are_let_in_than_may_run(tmp_path: Path, declared: Path) -> None:
    async with inside(tmp_path, backends_config_path=declared, answers_at_once=AT_ONCE) as stack:
        client = await stack.sign_up(new_email())
        chat = {"model": "mute", "messages": [{"role": "user", "content": "hi"}]}
        refused = await rush(stack, client, [("/v1/chat/completions", chat)] * ASKED)
    assert [a.status_code for a in refused] == [429] * (ASKED - AT_ONCE)


async def test_no_more_turns_are_let_in_than_may_run(tmp_path: Path, declared: Path) -> None:
    async with inside(tmp_path, backends_config_path=declared, answers_at_once=AT_ONCE) as stack:
        client = await stack.sign_up(new_email())
        open_ = partial(client.post, "/api/conversations", json={"backend": "mute"})
        opened = [(await open_()).json()["conversation"]["id"] for _ in range(ASKED)]
        calls = [(f"/api/conversations/{id_}/turns", {"content": "hi"}) for id_ in opened]
        refused = await rush(stack, client, calls)
    assert [a.status_code for a in refused] == [429] * (ASKED - AT_ONCE)
