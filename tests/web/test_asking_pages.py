"""web.auth.pages: what pages may ask for with nothing but a cookie."""

import pytest

from domain.errors import Forbidden
from web.auth.pages import Asking, refuse_all_but_our_scripts, refuse_foreign_page

OURS = frozenset({"http://192.168.1.5:18000"})
BROWSER = {"user-agent": "Mozilla/5.0 (X11) Chrome/140"}


def asking(method: str, **headers: str) -> Asking:
    return Asking(method, {name.replace("_", "-"): value for name, value in headers.items()}, "c", OURS)


def is_refused(check: object, method: str, **headers: str) -> bool:
    try:
        check(asking(method, **headers))  # type: ignore[operator]
    except Forbidden:
        return True
    return False


FETCH = {"sec_fetch_mode": "cors", "sec_fetch_dest": "empty"}
IMAGE = {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
LINK = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
FRAME = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
SCRIPT = {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "script"}
MODULE = {"sec_fetch_mode": "cors", "sec_fetch_dest": "script"}
SITES = ["same-origin", "same-site", "cross-site", "none"]
LAN = {"user_agent": BROWSER["user-agent"]}
"""What a browser says over plain HTTP."""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("check", [refuse_foreign_page, refuse_all_but_our_scripts])
def test_a_change_needs_our_own_origin_where_a_browser_tells_one(check: object, method: str) -> None:
    for origin in ("http://192.168.1.5:18000", "HTTP://192.168.1.5:18000"):
        assert not is_refused(check, method, origin=origin)
    for origin in ("https://192.168.1.5:18000", "http://192.168.1.5", "http://192.168.1.5:19000", "null", "", "x"):
        assert is_refused(check, method, origin=origin), origin
    assert not is_refused(check, method)  # A program.
    assert not is_refused(check, method, sec_fetch_site="same-origin")
    for site in ("cross-site", "same-site", "Cross-Site"):
        assert is_refused(check, method, sec_fetch_site=site), site
        assert is_refused(check, method, sec_fetch_site=site, sec_fetch_mode="navigate"), site


@pytest.mark.parametrize("site", SITES)
def test_what_is_only_read_may_be_linked_to_but_not_fetched_by_foreign_pages(site: str) -> None:
    assert not is_refused(refuse_foreign_page, "GET", sec_fetch_site=site, **LINK)
    is_foreign = site in {"same-site", "cross-site"}
    for way in (FETCH, IMAGE, SCRIPT):
        assert is_refused(refuse_foreign_page, "GET", sec_fetch_site=site, **way) is is_foreign


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_a_get_starts_is_for_our_own_scripts(method: str) -> None:
    for site in SITES:
        for way in (LINK, IMAGE, FRAME, SCRIPT, MODULE):
            assert is_refused(refuse_all_but_our_scripts, method, sec_fetch_site=site, **way), (site, way)
    for mode in ("cors", "same-origin"):
        ours = {"sec_fetch_site": "same-origin", "sec_fetch_mode": mode, "sec_fetch_dest": "empty"}
        assert not is_refused(refuse_all_but_our_scripts, method, **ours, **LAN)


def test_over_plain_http_a_browser_has_to_tell_the_page_another_way() -> None:
    assert not is_refused(refuse_all_but_our_scripts, "GET")  # A program.
    assert not is_refused(refuse_all_but_our_scripts, "GET", user_agent="python-httpx/0.28")
    assert is_refused(refuse_all_but_our_scripts, "GET", **LAN)
    assert not is_refused(refuse_all_but_our_scripts, "GET", referer="http://192.168.1.5:18000/#/c/1", **LAN)
    assert not is_refused(refuse_all_but_our_scripts, "GET", origin="http://192.168.1.5:18000", **LAN)
    for accept in ("text/html,application/xhtml+xml", "image/avif,image/webp", "text/css,*/*;q=0.1"):
        page = {"referer": "http://192.168.1.5:18000/", "accept": accept}
        assert is_refused(refuse_all_but_our_scripts, "GET", **page, **LAN), accept
    for referer in (
        "http://192.168.1.5:19000/",
        "http://evil.example/http://192.168.1.5:18000",
        "//",
        "http://[",
        "x",
    ):
        assert is_refused(refuse_all_but_our_scripts, "GET", referer=referer, **LAN), referer
