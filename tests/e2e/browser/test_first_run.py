"""The first start, as its admin sees it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import SLOW_DEMO
from tests.harness.server import Server

pytestmark = pytest.mark.browser


def test_the_printed_link_makes_the_admin_once(tmp_path: Path, new_page: Callable[..., Page]) -> None:
    no_admin = {"BOOTSTRAP_ADMIN_EMAIL": "", "BOOTSTRAP_ADMIN_PASSWORD": ""}
    with Server(tmp_path, backends=[SLOW_DEMO], env=no_admin) as server:
        printed = (tmp_path / "out.txt").read_text()
        link = re.search(r"http://\S+/#/setup\?token=\S+", printed)
        assert link
        page = new_page()
        page.goto(server.url)
        expect(page.get_by_text("Open the link that the server printed")).to_be_visible()

        page = new_page()
        page.goto(link[0])
        page.get_by_label("Name").fill("Ann")
        page.get_by_label("Email").fill("ann@example.org")
        page.get_by_label("Password").fill("short")
        page.get_by_role("button", name="Create admin").click()
        expect(page.get_by_role("heading", name="Create the admin account")).to_be_visible()
        page.get_by_label("Password").fill("long enough now")
        page.get_by_role("button", name="Create admin").click()
        expect(page.get_by_role("heading", name="Hello, Ann")).to_be_visible()

        again = new_page()
        again.goto(link[0])
        expect(again.get_by_role("heading", name="Sign in")).to_be_visible()
