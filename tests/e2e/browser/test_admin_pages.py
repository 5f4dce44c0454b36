"""The administration: users, invites, shared keys, usage and runners."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.e2e.browser.conftest import ask, expect_kept_nowhere, expect_to_fit, talk, visit
from tests.harness.keys import set_key
from tests.harness.server import Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]


def fill_in(page: Page, name: str, email: str, password: str) -> None:
    """Fill in the form that makes an account, and send it."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Create account").click()


def test_an_invite_is_a_link_that_is_shown_once_and_works_once(server: Server, new_page: NewPage) -> None:
    page = new_page()
    visit(page, server.admin(), "admin/invites")
    expect(page.get_by_text("There are no open invites.")).to_be_visible()
    page.get_by_role("button", name="New invite").click()
    expect(page.get_by_label("Note, only for you")).to_be_focused()
    page.keyboard.type("for Carol")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The invite is ready")).to_be_focused()
    link = page.get_by_label("Link", exact=True).input_value()
    code = page.get_by_label("Code", exact=True).input_value()
    assert link == f"{server.url}/#/signup?invite={code}"
    expect(page.get_by_role("row", name="for Carol")).to_contain_text("0 of 1")

    page.get_by_role("link", name="Users").click()
    expect(page.get_by_role("table", name="Users")).to_be_visible()
    expect_kept_nowhere(page, code)
    page.go_back()
    expect(page.get_by_role("row", name="for Carol")).to_be_visible()
    expect_kept_nowhere(page, code)

    guest = new_page()
    guest.goto(link)
    expect(guest.get_by_label("Invite code")).to_have_value(code)
    fill_in(guest, "Carol", "carol@example.org", "Carol's password")
    expect(guest.get_by_role("heading", name="Hello, Carol")).to_be_visible()
    expect_kept_nowhere(guest, code)

    page.reload()
    expect(page.get_by_text("There are no open invites.")).to_be_visible()
    another = new_page()
    another.goto(link)
    fill_in(another, "Dave", "dave@example.org", "Dave's password")
    expect(another.get_by_role("alert")).to_contain_text("invite")


def test_an_invite_that_was_revoked_is_of_no_use(server: Server, new_page: NewPage) -> None:
    page = new_page()
    visit(page, server.admin(), "admin/invites")
    page.get_by_role("button", name="New invite").click()
    page.get_by_label("Note, only for you").fill("a mistake")
    page.get_by_label("How many people may use it").fill("3")
    page.get_by_role("button", name="Create invite").click()
    link = page.get_by_label("Link", exact=True).input_value()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke a mistake").click()
    expect(page.get_by_text("There are no open invites.")).to_be_visible()
    expect(page.get_by_role("heading", name="The invite is ready")).to_have_count(0)
    guest = new_page()
    guest.goto(link)
    fill_in(guest, "Eve", "eve@example.org", "Eve's password")
    expect(guest.get_by_role("alert")).to_contain_text("invite")


def test_the_admin_makes_an_account_limits_it_and_deletes_it(server: Server, new_page: NewPage) -> None:
    page = new_page()
    visit(page, server.admin(), "admin/users")
    page.get_by_role("button", name="New user").click()
    form = page.get_by_role("region", name="New user")
    form.get_by_label("Email").fill("fay@example.org")
    form.get_by_role("button", name="Suggest one").click()
    password = form.get_by_label("Password").input_value()
    form.get_by_role("button", name="Create user").click()
    expect(page.get_by_text("fay@example.org can sign in now.")).to_be_visible()
    expect_kept_nowhere(page, password)

    person = new_page()
    person.goto(server.url)
    person.get_by_label("Email").fill("fay@example.org")
    person.get_by_label("Password").fill(password)
    person.get_by_role("button", name="Sign in").click()
    person.get_by_role("main").get_by_role("button", name="New chat").first.click()
    ask(person, "Hello")
    expect(person.get_by_role("button", name="Regenerate")).to_be_visible()

    page.get_by_label("Search users").fill("FAY@")
    expect(page.get_by_role("table", name="Users").locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Manage fay@example.org").click()
    dialog = page.get_by_role("dialog", name="fay@example.org")
    expect(dialog).to_contain_text("1 of 10,000")
    expect(dialog).to_contain_text("KiB of 256 MiB")
    dialog.get_by_label("Name").fill("Fay F.")
    dialog.get_by_role("button", name="Save name").click()
    expect(dialog.get_by_text("Saved.")).to_be_visible()
    dialog.get_by_label("Tokens a month").fill("1")
    dialog.get_by_role("button", name="Save budget").click()
    expect(dialog.get_by_text("Saved.")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("row", name="Fay F.")).to_contain_text("of 1")

    ask(person, "Is there more?")
    expect(person.get_by_role("alert")).to_contain_text("this month's budget")

    page.get_by_role("button", name="Manage fay@example.org").click()
    delete = dialog.get_by_role("button", name="Delete this user for good")
    expect(delete).to_be_disabled()
    dialog.get_by_label("Type fay@example.org to confirm").fill("fay@example.org")
    delete.click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text("Nobody fits.")).to_be_visible()
    person.reload()
    expect(person.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_shared_key_is_everybodys_until_it_is_not(server: Server, new_page: NewPage) -> None:
    admin, user = server.admin(), server.sign_up("gus@example.org")
    set_key(admin, "LLM_API_KEY", "sk-a-key-that-the-admin-shares")
    page, person = new_page(), new_page()
    visit(page, admin, "admin/keys")
    visit(person, user, "settings/keys")
    expect(person.get_by_role("region", name="Demo with keys")).to_contain_text("Not set")
    key = page.get_by_role("row", name="LLM_API_KEY")
    expect(key).to_contain_text("Only for you")
    share = page.get_by_role("switch", name="Share LLM_API_KEY")
    share.click()  # The box follows the server.
    expect(share).to_be_checked()
    expect(key).to_contain_text("With everybody")
    person.reload()
    expect(person.get_by_text("Shared by the admin")).to_be_visible()
    expect_kept_nowhere(person, "sk-a-key-that-the-admin-shares")
    share.click()
    expect(share).not_to_be_checked()
    expect(key).to_contain_text("Only for you")
    person.reload()
    expect(person.get_by_role("region", name="Demo with keys")).to_contain_text("Not set")


def test_what_runs_and_what_was_used_is_shown_and_a_runner_is_stopped(server: Server, new_page: NewPage) -> None:
    user = server.sign_up("hal@example.org")
    for name in ("My helper", "My editor"):
        made = user.post("/api/agents", json={"backend": "demo", "name": name})
        talk(user, "Hello", agent_id=made.json()["agent"]["id"])
    page = new_page()
    visit(page, server.admin(), "admin/usage")
    used = page.get_by_role("row", name="hal@example.org").get_by_role("cell")
    expect(used.first).to_have_text("2")
    page.get_by_role("link", name="Runners").click()
    rows = page.get_by_role("row", name="hal@example.org")
    expect(rows).to_have_count(2)
    row = rows.filter(has_text="My helper")
    expect(row).to_contain_text("Running")
    asked: list[str] = []

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", agree)
    row.get_by_role("button", name="Stop My helper of hal@example.org").click()
    expect(rows).to_have_count(0)
    assert asked == ["Stop My helper and My editor of hal@example.org? Answers being written end here."]
    assert not user.get("/api/runners").json()["runners"]


def test_whoever_is_not_the_admin_finds_no_administration(server: Server, new_page: NewPage) -> None:
    page = new_page()
    visit(page, server.sign_up("ida@example.org"), "admin/users")
    expect(page.get_by_role("heading", name="Hello, ida")).to_be_visible()
    expect(page.get_by_role("link", name="Administration")).to_have_count(0)
    expect(page.get_by_role("link", name="Settings")).to_be_visible()


def test_on_a_phone_every_page_of_the_administration_fits(server: Server, new_page: NewPage) -> None:
    talk(server.sign_up("a.person.with.a.long.address@a-department.of-an-organisation.example.org"), "Hello")
    admin = server.admin()
    assert admin.post("/api/admin/invites", json={"note": "for " + "everybody " * 15}).is_success
    page = new_page()
    visit(page, admin, "admin/users")
    tabs = ("invites", "keys", "usage", "runners", "users")
    expect_to_fit(page, *(f"admin/{tab}" for tab in tabs))
    page.get_by_role("button", name="Manage a.person.with").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    dialog.get_by_role("button", name="Delete this user for good").scroll_into_view_if_needed()
    expect(dialog.get_by_role("button", name="Delete this user for good")).to_be_in_viewport(ratio=1)
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
