"""A real Chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.conftest import FAST_DEMO
from tests.harness.server import Server

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SLOW_DEMO = {
    **FAST_DEMO,
    "extra_env": {"DEMO_PORT": "{port}", "DEMO_BOOT_SECONDS": "2", "DEMO_WORDS_PER_SECOND": "50"},
}


def chromium_path() -> str:
    """Return the browser to drive; the test fails, and is not skipped, where there is none."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium: install the Debian package `chromium`, or set CHROMIUM to its path"
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a headless browser."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a maker of pages, each a client of its own.

    The test fails when one of them logs an error that is not `expected` (a pattern).
    """
    complaints: list[str] = []
    contexts = []

    def make(expected: str = r"status of (4\d\d|503)|ERR_|EventSource", **options: object) -> Page:
        def listen(message: ConsoleMessage) -> None:
            if message.type == "error" and not re.search(expected, message.text):
                complaints.append(message.text)

        context = browser.new_context(viewport={"width": 1200, "height": 800}, **options)  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Server]:
    """Return a server whose demo agent takes two seconds to boot."""
    with Server(tmp_path, backends=[SLOW_DEMO]) as running:
        yield running


def sign_up(page: Page, server: Server, email: str) -> None:
    """Make an account through the page."""
    page.goto(server.url)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Name").fill(email.partition("@")[0])
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("a user's password")
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("heading", name="Hello").wait_for()


def sign_in(page: Page, server: Server, email: str) -> None:
    """Sign in through the page."""
    page.goto(server.url)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("a user's password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Hello").wait_for()


def ask(page: Page, text: str) -> None:
    """Write a message and send it by keyboard."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
