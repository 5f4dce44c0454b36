"""A real Chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, expect, sync_playwright

from tests.conftest import FAST_DEMO
from tests.harness.server import Server
from tests.harness.waiting import eventually

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
    "extra_env": {
        "DEMO_HOST": "{host}",
        "DEMO_PORT": "{port}",
        "DEMO_BOOT_SECONDS": "2",
        "DEMO_WORDS_PER_SECOND": "50",
    },
}
KEYED_DEMO = {
    **FAST_DEMO,
    "name": "keyed",
    "display_name": "Demo with keys",
    "user_overridable_env": ["LLM_BASE_URL", "LLM_API_KEY"],
}
PHONE: ViewportSize = {"width": 375, "height": 740}
PATIENCE_MS = 20_000


def chromium_path() -> str:
    """Return the browser to drive; the test fails, and is not skipped, where there is none."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium: install the Debian package `chromium`, or set CHROMIUM to its path"
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a headless browser."""
    expect.set_options(timeout=PATIENCE_MS)
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
        context.set_default_timeout(PATIENCE_MS)
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with two quick demo agents, one of which asks for keys, shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder, backends=[FAST_DEMO, KEYED_DEMO], env={"PRIVATE_UPSTREAMS": "true"}) as running:
        yield running


def visit(page: Page, client: httpx.Client, path: str) -> None:
    """Open a page as whoever the client is signed in as, with a session that both then share."""
    url = str(client.base_url)
    cookies = [{"name": c.name, "value": c.value or "", "url": url} for c in client.cookies.jar]
    page.context.add_cookies(cookies)  # type: ignore[arg-type] # a TypedDict of playwright's own
    page.goto(f"{url}#/{path}")
    page.get_by_role("main").wait_for()


def talk(client: httpx.Client, *texts: str, agent_id: str = "") -> str:
    """Have a conversation over HTTP, with an agent or the usual one, and return its id."""
    partner = {"agent_id": agent_id} if agent_id else {"backend": "demo"}
    id_: str = client.post("/api/conversations", json=partner).json()["conversation"]["id"]
    path = f"/api/conversations/{id_}"
    for text in texts:
        answer = client.post(f"{path}/turns", json={"content": text})
        assert answer.status_code == 202, answer.text
        eventually(lambda: client.get(path).json()["last_turn"]["status"] == "finished", f"{text} is answered")
    return id_


def expect_to_fit(page: Page, *paths: str) -> None:
    """Open pages of the one at hand on a phone: nothing is wider than it, and no button is out of reach."""
    page.set_viewport_size(PHONE)
    for path in paths:
        page.evaluate("path => { location.hash = `#/${path}` }", path)
        expect(page.get_by_role("main").locator("[aria-current=page]")).to_have_attribute("href", f"#/{path}")
        expect(page.locator(".loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        edges = "all => all.map(e => e.getBoundingClientRect().right)"
        assert max(page.get_by_role("main").locator("button, input, select").evaluate_all(edges)) <= PHONE["width"]


def expect_kept_nowhere(page: Page, secret: str) -> None:
    """Look for something that was shown once: in the page, in its address and in what the browser keeps for it."""
    everything = """() => [document.documentElement.outerHTML, location.href, JSON.stringify(localStorage),
        JSON.stringify(sessionStorage), JSON.stringify(history.state),
        ...[...document.querySelectorAll("input")].map((e) => e.value)].join("\\n")"""
    assert secret not in page.evaluate(everything)


def sign_up(page: Page, server: Server, email: str) -> None:
    """Make an account through the page."""
    page.goto(server.url)
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Name").fill(email.partition("@")[0])
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill("a user's password")
    page.get_by_role("button", name="Create account").click()
    page.get_by_role("heading", name="Hello").wait_for()


def begin_chat(page: Page, server: Server, email: str) -> None:
    """Make an account through the page and open a new chat."""
    sign_up(page, server, email)
    page.get_by_role("main").get_by_role("button", name="New chat").click()


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
