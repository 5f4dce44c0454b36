"""The event log in the administration: finding events, following them, streams and their states, health."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from tests.e2e.browser.conftest import PHONE, expect_kept_nowhere, talk, visit
from tests.harness.keys import set_key
from tests.harness.server import Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]


def a_page(server: Server, new_page: NewPage, path: str = "admin/events") -> Page:
    """Return a page of the inspector, as the admin sees it."""
    page = new_page()
    visit(page, server.admin(), path)
    expect(page.locator(".loading")).to_have_count(0)
    return page


def fill_in(page: Page, label: str, text: str) -> None:
    """Write into a field, which counts once it is left."""
    field = page.get_by_label(label)
    field.fill(text)
    field.press("Enter")


def test_an_event_is_found_by_filters_and_followed_to_its_causes_and_its_stream(
    server: Server, new_page: NewPage
) -> None:
    talk(server.sign_up("ann@example.org"), "Hello, log")
    page = a_page(server, new_page)
    rows = page.get_by_role("table", name="Events", exact=True).locator("tbody tr")
    page.get_by_role("button", name=re.compile("^Types")).click()
    for type_ in ("turn.started", "turn.finished"):
        page.get_by_role("checkbox", name=type_).check()
    fill_in(page, "By or about", "ann")
    fill_in(page, "Stream begins with", "conversation:")
    expect(page.get_by_label("By or about")).to_have_value("ann@example.org")
    expect(page).to_have_url(re.compile("type=turn.started&type=turn.finished&prefix=conversation:&user="))
    expect(rows).to_have_count(2)
    page.reload()
    expect(rows).to_have_count(2)
    expect(page.get_by_role("button", name=re.compile("^Types"))).to_have_text("2 types")
    rows.filter(has_text="turn.started").get_by_role("link").click()

    dialog = page.get_by_role("dialog", name="turn.started")
    expect(dialog.get_by_role("region", name="Envelope")).to_contain_text("ann@example.org")
    expect(dialog.get_by_role("region", name="Payload")).to_contain_text("turn_id")
    expect(dialog.get_by_role("region", name="Commit")).to_contain_text("Hash")
    chain = page.get_by_role("dialog").get_by_role("region", name="What belongs together")
    expect(chain.locator("[aria-current=true]")).to_contain_text("turn.started")
    chain.locator("li li").get_by_role("link", name="turn.finished").click()
    finished = page.get_by_role("dialog", name="turn.finished")
    expect(finished.get_by_role("region", name="Payload")).to_contain_text("Hello, log")
    expect(chain.locator("[aria-current=true]")).to_contain_text("turn.finished")
    finished.get_by_role("link", name="conversation:").click()

    expect(page.get_by_role("heading", name=re.compile("^Version 5 of 5$"))).to_be_visible()
    status = page.get_by_role("row").filter(has_text=re.compile(r"turns\..*\.status"))
    expect(status).to_have_class("changed")
    expect(status.get_by_role("cell")).to_have_text(["running", "finished"])
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", name="Version 4 of 5")).to_be_visible()
    expect(status).to_have_class("added")
    page.get_by_role("button", name="First").click()
    expect(page.get_by_role("heading", name="Version 1 of 5")).to_be_visible()
    page.keyboard.press("ArrowRight")
    message = page.get_by_role("row").filter(has_text=re.compile(r"messages\..*\.content"))
    expect(message.get_by_role("cell").last).to_have_text("Hello, log")
    page.go_back()
    expect(finished).to_be_visible()


def test_a_key_pressed_the_moment_a_version_is_seen_goes_on_from_it(server: Server, new_page: NewPage) -> None:
    conversation = talk(server.sign_up("eve@example.org"), "Hi")
    page = a_page(server, new_page, f"admin/events/streams?stream=conversation:{conversation}")
    expect(page.get_by_role("heading", name="Version 5 of 5")).to_be_visible()
    page.evaluate("""() => new Promise((done) => {
        new MutationObserver((_, observer) => {
            if (!document.querySelector("#state").textContent.startsWith("Version 1 ")) return;
            observer.disconnect();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
            done();
        }).observe(document.querySelector("main"), { subtree: true, childList: true, characterData: true });
        [...document.querySelectorAll(".stepper button")].find((b) => b.textContent === "First").click();
    })""")
    expect(page.get_by_role("heading", name="Version 2 of 5")).to_be_visible()


def test_a_click_in_a_row_narrows_the_list_and_what_was_erased_says_so(server: Server, new_page: NewPage) -> None:
    admin, ben = server.admin(), server.sign_up("ben@example.org")
    set_key(ben, "LLM_API_KEY", "sk-a-key-of-ben")
    id_ = ben.get("/auth/state").json()["user"]["id"]
    page = a_page(server, new_page)
    row = page.get_by_role("table", name="Events", exact=True).locator("tbody tr").filter(has_text="keys.set").first
    row.get_by_role("button", name="ben@example.org").click()
    expect(page.get_by_label("By or about")).to_have_value("ben@example.org")
    row.get_by_role("button", name="keys.set").click()
    row.get_by_role("button", name="keys:").click()
    expect(page.get_by_label("Stream, exactly")).to_have_value(f"keys:{id_}")
    row.get_by_role("link").click()
    expect(page.get_by_role("dialog").get_by_role("region", name="Payload")).to_contain_text("••••")
    expect_kept_nowhere(page, "sk-a-key-of-ben")
    page.keyboard.press("Escape")

    assert admin.delete(f"/api/admin/users/{id_}").is_success
    page.get_by_role("button", name="Clear the filters").click()
    page.evaluate("id => { location.hash = `#/admin/events?type=user.registered&user=${id}` }", id_)
    registered = page.get_by_role("table", name="Events", exact=True).locator("tbody tr")
    expect(registered).to_have_count(1)
    expect(registered).to_contain_text("Erased")
    expect(registered).to_contain_text("about deleted user")
    registered.get_by_role("link").click()
    expect(page.get_by_role("note")).to_contain_text("blank for ever")
    page.get_by_role("dialog").get_by_role("link", name=re.compile("^deleted user")).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(registered.filter(has_text="user.deleted")).to_have_count(1)


def test_new_events_come_by_themselves_until_they_are_paused(server: Server, new_page: NewPage) -> None:
    admin = server.admin()
    page = a_page(server, new_page, "admin/events?type=invite.created")
    rows = page.get_by_role("row").filter(has_text="invite.created")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    before = rows.count()
    admin.post("/api/admin/invites", json={"note": "one"})
    expect(rows).to_have_count(before + 1)
    page.get_by_role("button", name="Pause").click()
    for note in ("two", "three"):
        admin.post("/api/admin/invites", json={"note": note})
    expect(page.get_by_text("Paused: 2 new events")).to_be_visible()
    expect(rows).to_have_count(before + 1)
    page.get_by_role("button", name="Resume").click()
    expect(rows).to_have_count(before + 3)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.get_by_role("link", name="invite.created").first.click()
    admin.post("/api/admin/invites", json={"note": "four"})
    expect(rows).to_have_count(before + 4)
    expect(page.get_by_role("dialog", name="invite.created")).to_be_visible()


def test_a_long_list_comes_in_pages(server: Server, new_page: NewPage) -> None:
    admin = server.admin()
    made = [admin.post("/api/admin/invites", json={"note": f"page {n}"}) for n in range(60)]
    assert all(answer.is_success for answer in made)
    page = a_page(server, new_page, "admin/events?type=invite.created")
    link = page.get_by_role("link", name=re.compile("^Event [0-9]+, invite.created"))
    expect(link).to_have_count(50)
    newest = link.first.get_attribute("aria-label") or ""
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("link", name=newest)).to_have_count(0)
    expect(page.get_by_text("Older events.")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Newer").click()
    expect(page.get_by_role("link", name=newest)).to_be_visible()
    expect(link).to_have_count(50)
    expect(page.get_by_role("button", name="Newer")).to_have_count(0)


def test_the_timeline_counts_by_type_and_a_click_looks_closer(server: Server, new_page: NewPage) -> None:
    server.sign_up("cleo@example.org")
    fetched: list[str] = []
    page = new_page()
    page.on("request", lambda request: fetched.append(request.url))
    visit(page, server.admin(), "admin/users")
    expect(page.get_by_role("table", name="Users")).to_be_visible()
    assert not [url for url in fetched if "uplot" in url]
    page.get_by_role("link", name="Events").click()
    chart = page.get_by_role("img", name=re.compile(r"^\d+ events from .* by type"))
    expect(chart.locator("canvas")).to_be_visible()
    assert sum("uplot" in url for url in fetched) == 2
    expect(page.get_by_role("list", name="Types in this span")).to_contain_text("session.opened")

    drawn = chart.locator(".u-over").element_handle()
    box = drawn.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + 20)
    expect(page).to_have_url(re.compile(r"since=\d+&until=\d+$"))
    expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    expect(page.get_by_label("To", exact=True)).not_to_have_value("")
    drawn.wait_for_element_state("hidden")  # Another is drawn in its place.
    expect(chart.locator("canvas")).to_be_visible()
    first, box = page.url, chart.locator(".u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + 10, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page).not_to_have_url(first)

    page.get_by_role("button", name="The last 1 hour").press("Enter")
    page.get_by_text("As a table").click()
    spans = page.get_by_role("table", name="Events by span and type")
    expect(spans).to_contain_text("session.opened")
    spans.get_by_role("button").first.press("Enter")
    expect(page).to_have_url(re.compile(r"since=\d+&until=\d+$"))
    page.get_by_role("button", name="Any time").click()
    expect(page).to_have_url(re.compile("#/admin/events$"))


def test_what_fits_the_filters_is_taken_along_as_a_file(server: Server, new_page: NewPage) -> None:
    server.sign_up("dan@example.org")
    page = a_page(server, new_page, "admin/events?type=user.registered")
    with page.expect_download() as coming:
        page.get_by_role("link", name="Export as NDJSON").click()
    file: Path = coming.value.path()
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert coming.value.suggested_filename == "events.ndjson"
    assert {event["type"] for event in events} == {"user.registered"}
    assert "dan@example.org" in {event["owner_email"] for event in events}


def test_streams_are_found_by_prefix_and_user(server: Server, new_page: NewPage) -> None:
    talk(server.sign_up("eli@example.org"), "One", "Two")
    page = a_page(server, new_page, "admin/events/streams")
    fill_in(page, "Stream begins with", "conversation:")
    fill_in(page, "By or about", "eli@example.org")
    rows = page.get_by_role("table", name="Streams").locator("tbody tr")
    expect(rows).to_have_count(1)
    fill_in(page, "By or about", "somebody who is not here")
    expect(page.get_by_role("alert")).to_have_text("Nobody fits.")
    fill_in(page, "By or about", "")
    page.get_by_label("Order").select_option("Most changes")
    expect(rows.first).to_contain_text("conversation:")
    rows.filter(has_text="eli@example.org").get_by_role("link").click()
    expect(page.get_by_role("heading", name="Version 8 of 8")).to_be_visible()
    page.get_by_role("link", name="Version 2", exact=True).click()
    expect(page.get_by_role("heading", name="Version 2 of 8")).to_be_visible()
    page.get_by_role("slider", name="Version").press("ArrowRight")
    expect(page.get_by_role("heading", name="Version 3 of 8")).to_be_visible()


def test_the_chain_is_checked_and_a_read_model_is_made_anew(server: Server, new_page: NewPage) -> None:
    page = a_page(server, new_page, "admin/events/health")
    page.get_by_role("button", name="Check the whole chain").click()
    expect(page.get_by_text(re.compile(r"The chain is whole: \d+ events checked\."))).to_be_visible()
    expect(page.get_by_label("Signed checkpoint", exact=True)).to_have_value(re.compile("^agent-stack/.*\n\\d+\n"))
    page.get_by_role("button", name="Copy: Signed checkpoint").click()
    expect(page.get_by_role("button", name="Copy: Signed checkpoint")).to_have_text("Copied")
    page.get_by_role("button", name="Rebuild users").click()
    expect(page.get_by_role("row", name="users")).to_contain_text("Made anew")
    expect(page.get_by_role("row", name="users")).to_contain_text("a second")
    expect(page.get_by_role("table", name="Disk use by kind")).to_contain_text("Vault")
    expect(page.get_by_role("table", name="Size of events by type")).to_contain_text("session.opened")


def test_a_check_shows_how_far_it_is_and_the_first_bad_position(server: Server, new_page: NewPage) -> None:
    page = a_page(server, new_page, "admin/events/health")
    frames = [
        {"kind": "progress", "payload": {"done": 40, "total": 100}},
        {
            "kind": "result",
            "payload": {"ok": False, "events": 40, "position": 3, "problem": "a commit is missing"},
        },
    ]
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "verify" in request.url else None)
    page.route(
        "**/api/admin/audit/verify", lambda route: route.fulfill(content_type="text/event-stream", body=body)
    )
    page.get_by_role("button", name="Check the whole chain").click()
    expect(page.get_by_text("The chain is broken at #3.")).to_be_visible()
    expect(page.get_by_text("a commit is missing")).to_be_visible()
    page.unroute("**/api/admin/audit/verify")
    page.route(
        "**/api/admin/audit/verify",
        lambda route: route.fulfill(content_type="text/event-stream", body=body.partition("\n\n")[0] + "\n\n"),
    )
    page.get_by_role("button", name="Check the whole chain").click()
    expect(page.get_by_role("alert")).to_contain_text("cut off")
    assert len(asked) == 2
    page.unroute("**/api/admin/audit/verify")
    page.get_by_role("link", name="#3").or_(page.get_by_role("link", name="Streams")).first.click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_everything_can_be_reached_by_keyboard(server: Server, new_page: NewPage) -> None:
    page = a_page(server, new_page)
    types = page.get_by_role("button", name=re.compile("^Types"))
    types.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Search types")).to_be_focused()
    page.keyboard.type("session.op")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile("type=session.opened$"))
    page.keyboard.press("Escape")
    expect(types).to_be_focused()
    expect(page.get_by_label("Search types")).to_have_count(0)
    link = page.get_by_role("link", name=re.compile("^Event [0-9]+, session.opened")).first
    link.press("Enter")
    dialog = page.get_by_role("dialog", name="session.opened")
    expect(dialog.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()
    expect(page).to_have_url(re.compile("type=session.opened$"))


def test_on_a_phone_nothing_is_wider_than_the_screen(server: Server, new_page: NewPage) -> None:
    talk(server.sign_up("a.person.with.a.long.address@a-department.of-an-organisation.example.org"), "Hello")
    page = new_page(color_scheme="dark")
    visit(page, server.admin(), "admin/events")
    page.set_viewport_size(PHONE)
    edges = "all => Math.max(...all.map(e => e.getBoundingClientRect().right))"

    def expect_to_fit() -> None:
        expect(page.locator(".loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        controls = page.get_by_role("main").locator("button, input, select, textarea, a.button, canvas")
        assert controls.evaluate_all(edges) <= PHONE["width"]

    expect(page.get_by_role("link", name="Events").first).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("button", name=re.compile("^Types")).click()
    expect(page.get_by_role("checkbox").first).to_be_in_viewport(ratio=1)
    expect_to_fit()
    page.keyboard.press("Escape")
    page.get_by_role("link", name=re.compile("turn.finished")).first.click()
    dialog = page.get_by_role("dialog", name="turn.finished")
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    expect(dialog.get_by_role("region", name="Commit")).to_contain_text("Hash")
    assert dialog.evaluate("e => e.scrollWidth <= e.clientWidth")
    dialog.get_by_role("link", name="conversation:").click()
    expect(page.get_by_role("heading", name="Version 5 of 5")).to_be_visible()
    expect_to_fit()
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_role("table", name="Disk use by kind")).to_be_visible()
    expect_to_fit()
    page.get_by_role("link", name="Streams").click()
    expect(page.get_by_role("table", name="Streams")).to_be_visible()
    expect_to_fit()
