"""Finding a message again, and keeping a conversation as a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import PHONE, talk, visit
from tests.harness.server import Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]


def test_typing_words_finds_a_message_and_a_click_shows_it(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("ada@example.org")
    talk(client, "Where does the heron nest?", "Something long", "Something long again")
    talk(client, "Another matter")
    page = new_page()
    visit(page, client, "")
    page.get_by_label("Search messages").fill("nest HERON")
    hits = page.get_by_role("option")
    expect(hits).to_have_count(2)  # The demo agent repeats what it was asked.
    expect(page.get_by_role("status")).to_have_text("2 messages")
    expect(hits.last.locator("mark")).to_have_text(["heron", "nest"])
    hits.last.click()
    sought = page.locator(".message.user", has_text="Where does the heron nest?")
    expect(sought).to_be_in_viewport(ratio=1)
    expect(sought).to_be_focused()

    # Somewhere else in the meantime, the same click leads there again.
    messages = page.get_by_role("log")
    messages.evaluate("e => { e.scrollTop = e.scrollHeight }")
    expect(sought).not_to_be_in_viewport()
    hits.last.click()
    expect(sought).to_be_in_viewport(ratio=1)

    # An answer that follows is followed.
    page.get_by_label("Message", exact=True).fill("Something long, once more")
    page.keyboard.press("Enter")
    expect(page.locator(".message.user", has_text="once more")).to_have_count(1)
    expect(page.get_by_role("button", name="Regenerate")).to_be_in_viewport()


def test_the_keyboard_is_enough(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("ben@example.org")
    talk(client, "First word about otters")
    talk(client, "Second word about otters")
    page = new_page()
    visit(page, client, "")
    field = page.get_by_label("Search messages")
    page.keyboard.press("/")
    expect(field).to_be_focused()
    page.keyboard.type("word about otters")
    hits = page.get_by_role("option")
    expect(hits).to_have_count(4)
    expect(hits.nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(hits.nth(3)).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", "hit-3")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="First word about otters")).to_be_visible()
    expect(page.locator(".message.user")).to_be_focused()

    composer = page.get_by_label("Message", exact=True)
    composer.press("/")
    expect(composer).to_have_value("/")
    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_value("")
    expect(hits).to_have_count(0)
    expect(page.locator(".entry")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(field).not_to_be_focused()


def test_what_is_found_is_only_text_and_what_is_not_found_is_said(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("cleo@example.org")
    talk(client, "<img src=x onerror=\"document.title='owned'\"> walrus")
    page = new_page()
    visit(page, client, "")
    field = page.get_by_label("Search messages")
    field.fill("onerror walrus")
    hit = page.get_by_role("option").last
    expect(hit.locator("mark")).to_have_text(["onerror", "walrus"])
    expect(hit.locator(".hit-text")).to_contain_text('x onerror="document.title')
    expect(page.locator(".hit img")).to_have_count(0)
    assert page.title() == "agent-stack"
    status = page.get_by_role("status")
    field.fill("<b>narwhal</b>")
    expect(status).to_have_text("No message has “<b>narwhal</b>”.")
    field.fill("walrus narwhal")
    expect(status).to_have_text("No message has all of these words.")
    field.fill("   ")
    expect(page.locator(".entry")).to_have_count(1)


def test_a_failed_search_says_why_and_the_next_one_works(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("dot@example.org")
    talk(client, "A word about badgers")
    page = new_page()
    visit(page, client, "")
    page.route("**/api/search*", lambda route: route.abort())
    field = page.get_by_label("Search messages")
    field.fill("badgers")
    expect(page.get_by_role("alert")).to_have_text("The server cannot be reached. Is it running?")
    page.unroute_all()
    field.fill("badger")
    expect(page.get_by_role("option")).to_have_count(2)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_on_a_phone_the_message_takes_the_place_of_the_results(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("eli@example.org")
    talk(client, "The puffin is a sea bird", "Something long")
    page = new_page()
    page.set_viewport_size(PHONE)
    visit(page, client, "")
    page.get_by_role("button", name="Conversations").click()
    field = page.get_by_label("Search messages")
    field.fill("puffin")
    hit = page.get_by_role("option").last
    expect(hit).to_be_in_viewport(ratio=1)
    hit.click()
    expect(page.locator(".message.user", has_text="puffin")).to_be_in_viewport(ratio=1)
    expect(field).not_to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    expect(field).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(("name", "suffix"), [("Markdown", "md"), ("JSON", "json")])
def test_a_conversation_can_be_kept_as_a_file(server: Server, new_page: NewPage, name: str, suffix: str) -> None:
    client = server.sign_up(f"flo-{suffix}@example.org")
    conversation = talk(client, "A question to keep")
    page = new_page()
    visit(page, client, f"c/{conversation}")
    opener = page.get_by_role("button", name="Download this conversation")
    opener.click()
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    expect(page.get_by_role("link", name=name)).to_have_count(0)
    opener.click()
    with page.expect_download() as begun:
        page.get_by_role("link", name=name).click()
    expect(page.get_by_role("link", name=name)).to_have_count(0)
    assert begun.value.suggested_filename == f"a-question-to-keep.{suffix}"
    text = Path(begun.value.path()).read_text()
    if suffix == "json":
        text = json.loads(text)["messages"][0]["content"]
    assert "A question to keep" in text
