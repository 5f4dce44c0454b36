"""The page in both themes and on a phone: nothing is cut off, and everything can be reached."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import ask, begin_chat, sign_up
from tests.harness.server import Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]


def test_on_a_phone_nothing_is_wider_than_the_screen(stack: Server, new_page: NewPage) -> None:
    page = new_page()
    page.set_viewport_size({"width": 390, "height": 800})
    begin_chat(page, stack, "ida@example.org")
    ask(page, "Show me some code")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Conversations").click()
    expect(page.locator(".entry.current")).to_be_in_viewport(ratio=1)


def test_the_theme_follows_the_system_until_it_is_chosen(stack: Server, new_page: NewPage) -> None:
    page = new_page(color_scheme="dark")
    sign_up(page, stack, "jo@example.org")
    shade = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(shade)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(shade)
    assert dark != light
    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    page.get_by_role("button", name="Theme: dark").wait_for()
    assert page.evaluate(shade) == dark
    page.reload()
    page.get_by_role("heading", name="Hello").wait_for()
    assert page.evaluate(shade) == dark
