"""The settings: keys, account, API tokens and usage."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser.conftest import ask, expect_kept_nowhere, expect_to_fit, talk, visit
from tests.harness.model_server import GOOD_KEY, ModelServer
from tests.harness.server import PASSWORD, Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    """Return the address of somebody's language model."""
    with ModelServer() as running:
        yield running.url("good")


def card(page: Page, heading: str) -> Locator:
    """Return the part of a page under a heading."""
    return page.get_by_role("region", name=heading, exact=True)


def set_value(page: Page, name: str, place: str, value: str) -> None:
    """Set a variable for all agents or for one."""
    page.get_by_role("button", name=f"{name} for {place}").first.click()
    field = page.get_by_label(f"{name} for {place}", exact=True)
    field.fill(value)
    page.get_by_role("button", name="Save").click()
    expect(field).to_have_count(0)


def test_a_missing_key_leads_to_the_keys_and_the_agent_answers_once_it_is_set(
    server: Server, new_page: NewPage, models: str
) -> None:
    page = new_page()
    visit(page, server.sign_up("ada@example.org"), "")
    page.get_by_role("main").get_by_role("button", name="New chat").nth(1).click()
    ask(page, "Hello")
    expect(page.locator(".message.failed")).to_contain_text("needs a value for LLM_BASE_URL, LLM_API_KEY")
    expect(page.get_by_role("link", name="Check its keys")).to_be_visible()
    page.locator(".runner").get_by_role("button", name="Start").click()
    conversation = page.url
    page.get_by_role("link", name="Set it in Keys").click()
    needed = "Demo with keys needs a value for LLM_BASE_URL, LLM_API_KEY."
    expect(page.get_by_role("listitem").filter(has_text=needed)).to_be_visible()
    expect(page.locator(".notice")).to_have_count(0)

    agent = card(page, "Demo with keys")
    set_value(page, "LLM_BASE_URL", "all agents", models)
    expect(agent).to_contain_text("Own, for all agents")
    set_value(page, "LLM_API_KEY", "Demo with keys", "sk-another-key-of-this-test")
    expect(agent).to_contain_text("Own, for this agent")
    expect(page.get_by_text("Some agents cannot start yet.")).to_have_count(0)

    page.get_by_role("button", name="Test the connection of Demo with keys").click()
    expect(agent.get_by_role("status")).to_contain_text("127.0.0.1 refuses the key (status 401).")
    set_value(page, "LLM_API_KEY", "Demo with keys", GOOD_KEY)
    expect(agent.get_by_role("status")).to_have_text("")  # What was told of the other key is gone.
    page.get_by_role("button", name="Test the connection of Demo with keys").click()
    expect(agent.get_by_role("status")).to_contain_text("127.0.0.1 takes the key and offers 60 models.")
    expect_kept_nowhere(page, GOOD_KEY)

    page.goto(conversation)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".message.assistant")).to_contain_text("Hello")

    page.goto(f"{server.url}/#/settings/keys")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove LLM_API_KEY for Demo with keys").click()
    expect(page.get_by_text("Demo with keys needs a value for LLM_API_KEY.")).to_be_visible()


def test_a_name_and_a_password_are_changed_and_other_devices_are_signed_out(
    server: Server, new_page: NewPage
) -> None:
    other = server.sign_up("ben@example.org")
    page = new_page()
    here = server.client()
    here.post("/auth/login", json={"email": "ben@example.org", "password": PASSWORD})
    visit(page, here, "settings/account")
    you, password = card(page, "You"), card(page, "Password")
    you.get_by_label("Name").fill("Benjamin")
    you.get_by_role("button", name="Save name").click()
    expect(you.get_by_role("status")).to_have_text("Saved.")
    expect(page.locator(".who")).to_have_text("Benjamin")
    expect(page.get_by_role("table", name="Sessions").locator("tbody tr")).to_have_count(2)

    def change(current: str, new: str, again: str) -> None:
        password.get_by_label("Current password").fill(current)
        password.get_by_label("New password", exact=True).fill(new)
        password.get_by_label("New password again").fill(again)
        password.get_by_role("button", name="Change password").click()

    change(PASSWORD, "a new password", "a new passwort")
    expect(password.get_by_role("alert")).to_contain_text("differ")
    change("not my password", "a new password", "a new password")
    expect(password.get_by_role("alert")).to_contain_text("password")
    assert other.get("/api/agents").is_success
    change(PASSWORD, "a new password", "a new password")
    expect(password.get_by_role("status")).to_have_text("Changed. You were signed out everywhere else.")
    expect(password.get_by_label("Current password")).to_have_value("")
    expect(page.get_by_role("table", name="Sessions").locator("tbody tr")).to_have_count(1)
    assert other.get("/api/agents").status_code == 401
    expect_kept_nowhere(page, "a new password")


def test_with_a_new_password_older_api_tokens_are_offered_for_revocation(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("bea@example.org")
    for name in ("laptop", "build server"):
        assert client.post("/api/me/tokens", json={"name": name}).is_success
    page = new_page()
    visit(page, client, "settings/account")
    password = card(page, "Password")

    def change(current: str, new: str) -> None:
        password.get_by_label("Current password").fill(current)
        password.get_by_label("New password", exact=True).fill(new)
        password.get_by_label("New password again").fill(new)
        password.get_by_role("button", name="Change password").click()

    change(PASSWORD, "a new password")
    offer = page.get_by_role("group", name="2 API tokens made with the old password")
    expect(offer).to_contain_text("laptop")
    offer.get_by_role("button", name="Keep").click()
    expect(offer).to_have_count(0)
    visit(page, client, "settings/tokens")
    expect(page.get_by_text("before your password")).to_have_count(2)
    visit(page, client, "settings/account")
    change("a new password", "another new password")
    offer.get_by_role("button", name="Revoke all").click()
    expect(password.get_by_text("Revoked 2 API tokens.")).to_be_visible()
    assert client.get("/api/me/tokens").json()["tokens"] == []


def test_what_somebody_takes_of_the_server_is_shown_and_an_agent_goes_with_its_files(
    server: Server, new_page: NewPage
) -> None:
    client = server.sign_up("bo@example.org")
    talk(client, "Hello")
    page = new_page()
    visit(page, client, "settings/usage")
    room = card(page, "Room on this server")
    expect(room).to_contain_text("1 of 10,000")
    expect(room).to_contain_text("KiB of 256 MiB")
    expect(room).to_contain_text("10.0 GiB")
    room.get_by_text("Delete an agent with its files").click()
    page.on("dialog", lambda asked: asked.accept())
    room.get_by_role("button", name="Delete Demo agent with its files").click()
    expect(room).to_contain_text("0 of 10,000")
    assert client.get("/api/agents").json()["agents"] == []


def test_another_device_is_signed_out_and_all_data_is_downloaded(server: Server, new_page: NewPage) -> None:
    here = server.sign_up("cleo@example.org")
    talk(here, "Something to keep")
    phone = server.client(headers={"User-Agent": "Mozilla/5.0 (iPhone) AppleWebKit Version/18.0 Safari/604.1"})
    phone.post("/auth/login", json={"email": "cleo@example.org", "password": PASSWORD})
    page = new_page()
    visit(page, here, "settings/account")
    sessions = page.get_by_role("table", name="Sessions")
    expect(sessions.locator("tbody tr", has_text="This one")).to_have_count(1)
    page.get_by_role("button", name="Sign out Safari on iPhone").click()
    expect(sessions.locator("tbody tr")).to_have_count(1)
    assert phone.get("/api/agents").status_code == 401
    with page.expect_download() as begun:
        page.get_by_role("link", name="Download my data").click()
    kept = Path(begun.value.path()).read_text()
    assert json.loads(kept)
    assert "Something to keep" in kept


def test_a_token_is_shown_once_works_in_the_openai_sdk_and_ends_when_it_is_revoked(
    server: Server, new_page: NewPage
) -> None:
    page = new_page()
    visit(page, server.sign_up("dot@example.org"), "settings/tokens")
    expect(page.get_by_text("You have no tokens yet.")).to_be_visible()
    page.get_by_role("button", name="New token").click()
    form = card(page, "New token")
    expect(form.get_by_label("Name")).to_be_focused()
    form.get_by_label("Name").fill("notebook")
    form.get_by_label("only these").check()
    form.get_by_role("button", name="Create token").click()
    expect(form.get_by_role("alert")).to_contain_text("Choose at least one model")
    form.get_by_label("demo", exact=True).check()
    form.get_by_role("button", name="Create token").click()
    secret = page.get_by_label("Token", exact=True).input_value()
    assert secret.startswith("as-")

    program = openai.DefaultHttpxClient(trust_env=False)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=secret, max_retries=0, http_client=program) as client:
        answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}])
        assert answer.choices[0].message.content
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model="keyed", messages=[{"role": "user", "content": "Hi"}])

        page.get_by_role("link", name="Account", exact=True).click()
        expect(card(page, "You")).to_be_visible()
        page.get_by_role("link", name="API tokens").click()
        row = page.get_by_role("row", name="notebook")
        expect(row).to_contain_text("just now")
        expect(row).to_contain_text("demo")
        expect_kept_nowhere(page, secret)
        page.go_back()
        page.go_back()
        expect(row).to_be_visible()
        expect_kept_nowhere(page, secret)

        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Revoke notebook").click()
        expect(page.get_by_text("You have no tokens yet.")).to_be_visible()
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_what_was_used_is_shown_by_day_and_agent_and_against_the_budget(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("eli@example.org")
    page = new_page()
    visit(page, client, "settings/usage")
    expect(page.get_by_text("Nothing was used in this month.")).to_be_visible()
    expect(page.get_by_text("Budget of this month")).to_have_count(0)
    talk(client, "Hello", "Hello again")
    id_ = client.get("/auth/state").json()["user"]["id"]
    server.admin().put(f"/api/admin/users/{id_}/budget", json={"monthly_tokens": 10})
    page.reload()
    row = page.get_by_role("table", name="Usage by day and agent").locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Demo agent")
    expect(page.locator(".tiles > div", has_text="Requests")).to_contain_text("2")
    expect(card(page, "Budget of this month")).to_contain_text("of 10 tokens")
    expect(card(page, "Budget of this month")).to_contain_text("The budget is used up.")
    page.get_by_role("combobox", name="Month").select_option(index=1)
    expect(page.get_by_text("Nothing was used in this month.")).to_be_visible()


def test_on_a_phone_every_page_of_the_settings_fits(server: Server, new_page: NewPage) -> None:
    client = server.sign_up("a.person.with.a.long.address@a-department.of-an-organisation.example.org")
    talk(client, "Hello")
    made = client.post("/api/me/tokens", json={"name": "A program with quite a long name", "models": ["demo"]})
    assert made.is_success
    page = new_page()
    visit(page, client, "settings/keys")
    expect_to_fit(page, *(f"settings/{tab}" for tab in ("account", "tokens", "usage", "keys")))
