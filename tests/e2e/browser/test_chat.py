"""Talking to an agent in the page."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import ask, begin_chat, sign_in
from tests.harness.processes import runner_processes
from tests.harness.server import Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]


def test_a_new_user_sees_the_agent_start_and_the_answer_grow(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    begin_chat(page, stack, "bea@example.org")
    ask(page, "Show me some code")
    bar = page.get_by_role("progressbar", name="Starting the agent")
    expect(bar).to_be_visible()
    first = float(bar.get_attribute("value") or 0)
    expect(bar).not_to_have_attribute("value", str(int(first)))
    assert float(bar.get_attribute("value") or 100) > first
    expect(page.locator(".growing")).to_be_visible()
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    expect(page.locator(".runner")).to_contain_text("Running")
    expect(page.locator("pre code.hljs .hljs-keyword").first).to_be_visible()
    expect(page.locator(".markdown strong").first).to_have_text("demo agent")
    expect(page.locator(".entry.current")).to_contain_text("Show me some code")


def test_pieces_of_an_answer_are_shown_together_and_all_of_them_without_a_picture(
    stack: Server, new_page: NewPage
) -> None:
    page = new_page()
    begin_chat(page, stack, "ida@example.org")
    page.get_by_label("Message", exact=True).wait_for()
    # As a hidden tab: the browser draws no pictures.
    page.evaluate("""() => {
        window.shown = 0;
        window.draw = requestAnimationFrame;
        window.held = [];
        window.requestAnimationFrame = (callback) => held.push(callback);
        new MutationObserver(() => (shown += document.querySelector(".growing") !== null))
            .observe(document.querySelector("main"), { subtree: true, childList: true });
    }""")
    ask(page, "Something long")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible(timeout=60_000)
    expect(page.locator(".message.assistant li")).to_have_count(30)
    assert page.evaluate("shown") == 0

    page.evaluate("() => { window.requestAnimationFrame = window.draw; held.forEach((callback) => callback()); }")
    ask(page, "Show me some code")
    expect(page.locator(".growing")).to_be_visible()
    expect(page.locator(".message.assistant")).to_have_count(2)


def test_a_tab_closed_in_the_middle_loses_nothing(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    begin_chat(page, stack, "cy@example.org")
    ask(page, "Something long")
    expect(page.locator(".growing")).to_be_visible()
    address = page.url
    page.close()

    other = new_page()
    sign_in(other, stack, "cy@example.org")
    other.goto(address)
    expect(other.locator(".message.user")).to_have_text("Something long")
    expect(other.get_by_role("button", name="Regenerate")).to_be_visible(timeout=60_000)
    expect(other.locator(".message.assistant")).to_contain_text("Every message is an event")
    expect(other.locator(".message.assistant li")).to_have_count(30)


def test_an_answer_can_be_stopped_and_asked_for_again(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    begin_chat(page, stack, "dan@example.org")
    ask(page, "Something long")
    expect(page.locator(".growing")).to_be_visible()
    page.get_by_role("button", name="Stop the answer").click()
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    expect(page.locator(".message.assistant")).to_have_count(1)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".growing")).to_be_visible()
    page.get_by_role("button", name="Stop the answer").click()
    expect(page.locator(".message.assistant")).to_have_count(1)


def test_a_runner_is_started_and_stopped_by_its_button(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    begin_chat(page, stack, "eve@example.org")
    runner = page.locator(".runner")
    expect(runner).to_contain_text("Stopped")
    runner.get_by_role("button", name="Start").click()
    expect(runner).to_contain_text("Starting")
    expect(runner).to_contain_text("Running")
    runner.get_by_role("button", name="Stop").click()
    expect(runner).to_contain_text("Stopped")


def test_two_tabs_show_the_same_conversation(stack: Server, new_page: NewPage) -> None:
    page, other = new_page(), new_page()
    begin_chat(page, stack, "fay@example.org")
    page.get_by_label("Message", exact=True).wait_for()
    sign_in(other, stack, "fay@example.org")
    other.goto(page.url)
    other.get_by_text("Write the first message below").wait_for()
    ask(page, "A table for both 🙂")
    for tab in (page, other):
        expect(tab.locator(".message.user")).to_have_text("A table for both 🙂")
        expect(tab.locator(".message.assistant table td").first).to_have_text("model")
        expect(tab.get_by_role("button", name="Regenerate")).to_be_visible()


def test_the_page_goes_on_after_the_server_was_restarted(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    begin_chat(page, stack, "gus@example.org")
    ask(page, "Something long")
    expect(page.locator(".growing")).to_be_visible()
    stack.kill()
    stack.start()
    expect(page.get_by_text("The answer was interrupted by a restart")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".growing")).to_be_visible()


def test_hostile_markdown_does_nothing(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    begin_chat(page, stack, "hal@example.org")
    attack = "document.title='owned'"
    ask(page, f'<img src=x onerror="{attack}"><script>{attack}</script> [x](javascript:{attack})')
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    quoted = page.locator(".message.assistant")
    expect(quoted).to_contain_text("You wrote")
    assert quoted.locator("script").count() == 0
    assert quoted.locator("[onerror]").count() == 0
    assert quoted.locator("a[href^=javascript]").count() == 0
    assert page.title() == "agent-stack"


def test_the_page_tells_that_a_runner_has_died_and_the_next_message_starts_another(
    stack: Server, new_page: NewPage
) -> None:
    page = new_page()
    begin_chat(page, stack, "ida@example.org")
    ask(page, "Hello")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    (runner,) = runner_processes(stack)
    runner.kill()
    told = page.locator(".crash")
    expect(told).to_contain_text("killed by signal 9")
    page.screenshot(path=stack.folder / "crash.png")
    ask(page, "Still there?")
    expect(page.locator(".message.assistant")).to_have_count(2)
    expect(told).to_have_count(0)
