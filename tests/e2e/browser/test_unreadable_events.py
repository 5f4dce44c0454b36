"""Events that cannot be read, in the page: marked in the inspector, and no hindrance in the conversation."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Page, expect

from domain.conversations.events import MessagePosted
from tests.conftest import FAST_DEMO
from tests.e2e.browser.conftest import PHONE, visit
from tests.harness.inside import inside
from tests.harness.person import Person
from tests.harness.poison import append_deep, append_unreadable
from tests.harness.server import Server

pytestmark = pytest.mark.browser


@pytest.fixture
def poisoned(tmp_path: Path) -> Iterator[tuple[Server, Person]]:
    """Return a server, and a user with a conversation in which one message came with too much and one is noise."""
    server = Server(tmp_path, backends=[FAST_DEMO])
    with server, Person(server, "ada") as ada:
        conversation = ada.conversation("demo")
        ada.http.post(f"/api/conversations/{conversation}/messages", json={"role": "user", "content": "before"})
        owner = ada.http.get("/auth/me").json()["user"]["id"]
        server.stop()

        async def poison() -> None:
            async with inside(tmp_path) as running:
                log = running.stack.services.log
                await append_deep(log, conversation, owner, "what was said with it")
                await append_unreadable(log, f"conversation:{conversation}", MessagePosted, owner)

        trio.run(poison)
        (server.data / "views.db").unlink()
        server.start()
        yield server, ada


def test_they_are_marked_in_the_inspector_and_the_conversation_is_read_without_them(
    poisoned: tuple[Server, Person], new_page: Callable[..., Page]
) -> None:
    server, ada = poisoned
    page = new_page()
    visit(page, server.admin(), "admin/events")
    marked = page.get_by_role("row").filter(has_text="Unreadable")
    expect(marked).to_have_count(2, timeout=60_000)
    marked.first.get_by_role("link").click()
    dialog = page.get_by_role("dialog", name="message.posted")
    expect(dialog.get_by_role("note")).to_contain_text("It is passed over")
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.keyboard.press("Escape")
    marked.last.get_by_role("link").click()
    expect(dialog.get_by_role("note")).to_contain_text("nested more than 64 levels deep")
    expect(dialog.get_by_role("region", name="Payload")).to_contain_text("what was said with it")

    hers = new_page()
    visit(hers, ada.http, "")
    hers.get_by_role("link", name=re.compile("before")).first.click()
    expect(hers.get_by_text("what was said with it")).to_be_visible()
