"""What an agent writes, in a real browser: it draws over nothing, asks for nothing and freezes nothing."""

import base64
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser.conftest import PHONE, visit
from tests.harness.contract import new_email
from tests.harness.ports import AGENTS_HOST
from tests.harness.server import Server

pytestmark = pytest.mark.browser
NewPage = Callable[..., Page]

BARE = ["P", "BR", "HR", "EM", "STRONG", "DEL", "UL", "LI", "BLOCKQUOTE", "PRE", "TABLE", "THEAD", "TBODY", "TR"]
BARE += ["DETAILS", "SUMMARY", "B", "I", "U", "S", "SUB", "SUP", "H1"]
ALLOWED: dict[str, set[str]] = {
    **{tag: set() for tag in BARE},
    "A": {"href", "title", "target", "rel"},
    "IMG": {"src", "alt", "title", "decoding"},
    "CODE": {"class"},
    "OL": {"start"},
    "TH": {"align"},
    "TD": {"align"},
}
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
HOSTILE = [
    '<div class="notice" role="alert" style="position:fixed;inset:0">You are out. <a href="//evil">Go</a></div>',
    '<p id="app" class="toast">x</p><span class="dialog" popover>x</span>',
    '<img src="/v1/x?model=demo" srcset="/v1/y?model=demo 1x" sizes="1px" onerror="document.title=1">',
    '<picture><source srcset="/v1/x?model=demo"><img></picture><video poster="/v1/x"><audio src="/v1/x">',
    '<table background="/v1/x?model=demo"><tr><td background="/v1/x">x</td></tr></table>',
    '<form action="/auth/logout" method="post"><button formaction="/auth/logout">x</button><input name="a"></form>',
    '<svg><image href="/v1/x?model=demo"/><use href="/v1/x"/><style>*{display:none}</style><animate/></svg>',
    '<math><mtext><mglyph><style><img src=x onerror="document.title=1"></style></mglyph></mtext></math>',
    '<iframe src="/"></iframe><object data="/v1/x"></object><embed src="/v1/x"><link rel=stylesheet href="/v1/x">',
    '<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=/v1/x?model=demo">',
    '<script src="/v1/x?model=demo"></script><template><p>x</p></template><slot name="x"></slot>',
    '<a href="https://evil.example" ping="/v1/x?model=demo" download="x" id="y" name="z" style="top:0">x</a>',
    '<b onclick="document.title=1" class="notice">x</b><details open ontoggle="document.title=1">x</details>',
    "![a](/v1/x?model=demo) ![b](https://evil.example/pixel.png) ![c](data:image/svg+xml;base64,PHN2Zy8+)",
    "[a](javascript:alert(1)) [b](data:text/html,x) [c](vbscript:x) [d](/v1/x?model=demo) [e](blob:x) [f](file:///x)",
    '[a](https://x.example "title\\" onmouseover=\\"document.title=1") ![b](https://x.example/"onerror="x")',
    '```js" onmouseover="document.title=1\nx\n```\n\n```notice toast\nx\n```\n\n~~~<b>\nx\n~~~',
    "<b><p><b><p><b><p>x\n\n</b></i></details>\n\n<details><summary>more</summary>\n\nx\n\n</details>\n\n<sub>2</sub>",
    "- [x] done\n- [ ] open\n\n3. three\n\n| a | b |\n|:-:|--:|\n| 1<br>2 | 3 |",
    "> quoted\n\n---\n\n# T\n\n~~no~~ *e* **s**",
    f"![pixel]({PIXEL}) [ok](https://example.org) [mail](mailto:a@example.org) <https://example.org>",
    "<!-- --!><img src=x onerror=document.title=1> --><![CDATA[<img src=x>]]><?php <img src=x> ?>",
    "<img src=`x`onerror=document.title=1><<img src=x>><a\u2028href=x><svg/onload=document.title=1>",
]

ATTRIBUTES = """() => Array.from(document.querySelectorAll(".message.assistant .text *"))
    .filter((element) => !element.matches("button.copy, .hljs *"))
    .map((e) => [e.tagName, e.getAttributeNames(), e.getAttribute("href") ?? "", e.className])"""


def conversation(client: httpx.Client, *texts: str) -> str:
    """Return a conversation in which an agent has written these texts."""
    id_: str = client.post("/api/conversations", json={"backend": "demo"}).json()["conversation"]["id"]
    for text in texts:
        answer = client.post(f"/api/conversations/{id_}/messages", json={"role": "assistant", "content": text})
        assert answer.is_success, answer.text
    return id_


def test_only_what_is_listed_becomes_a_part_of_the_page(server: Server, new_page: NewPage) -> None:
    client, page, asked = server.sign_up(new_email()), new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    visit(page, client, f"c/{conversation(client, *HOSTILE)}")
    expect(page.locator(".message.assistant")).to_have_count(len(HOSTILE))
    expect(page.locator("pre code")).to_have_count(3)
    for tag, attributes, href, name in page.evaluate(ATTRIBUTES):
        assert tag in ALLOWED, tag
        assert set(attributes) <= ALLOWED[tag], (tag, attributes)
        assert not href or href.startswith(("https://", "http://", "mailto:")), href
        assert not name or name.startswith("language-"), name
    for selector, count in (
        (f"img[src='{PIXEL}']", 1),
        ("sub", 1),
        ("details summary", 1),
        ("td br", 1),
        ("ol[start='3']", 1),
        ("td[align]", 2),
        ("img", 1),
    ):
        expect(page.locator(f".message.assistant {selector}")).to_have_count(count)
    assert page.title() == "agent-stack"
    assert not [url for url in asked if "/v1/" in url or "evil" in url or url.endswith("/x")]
    assert client.get("/api/runners").json()["runners"] == []


def test_a_table_is_a_table_on_a_phone_too(server: Server, new_page: NewPage) -> None:
    client, page = server.sign_up(new_email()), new_page()
    page.set_viewport_size(PHONE)
    visit(page, client, f"c/{conversation(client, '| a | b |' + chr(10) + '|--:|---|' + chr(10) + '| 1 | 2 |')}")
    expect(page.get_by_role("columnheader", name="a")).to_be_visible()
    cells = page.get_by_role("cell")
    tops = [cells.nth(n).evaluate("cell => cell.getBoundingClientRect().top") for n in range(2)]
    assert tops[0] == tops[1]
    assert cells.first.evaluate("cell => getComputedStyle(cell).textAlign") == "right"


def test_a_link_in_a_chat_never_shows_an_agent_the_sign_in(server: Server, new_page: NewPage) -> None:
    client, page = server.sign_up(new_email()), new_page()
    port = client.post("/api/runners/demo/start").json()["runner"]["host_port"]
    here = f"http://127.0.0.1:{server.port}"
    links = [f"http://{AGENTS_HOST}:{port}/health", f"{here}/v1/x?model=demo"]
    visit(page, client, f"c/{conversation(client, ' '.join(f'[link{n}]({url})' for n, url in enumerate(links)))}")
    answers = []
    for number, url in enumerate(links):
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=f"link{number}").click()
        opened.value.wait_for_url(url)
        with opened.value.expect_request(url) as request:
            opened.value.reload()
        answers.append((opened.value.locator("body").inner_text(), "cookie" in request.value.all_headers()))
        assert opened.value.evaluate("window.opener") is None
    assert [has_cookie for _, has_cookie in answers] == [False, True]
    assert "cookie_alone" in answers[1][0]
    assert client.get("/api/conversations").is_success  # Still signed in.


def blocked(page: Page, script: str) -> bool:
    """Tell whether a script of the page is kept from something: it fails, or it is told so."""
    done: bool = page.evaluate(
        f"""() => new Promise((resolve) => {{
            document.addEventListener("securitypolicyviolation", () => resolve(true), {{ once: true }});
            try {{ {script} }} catch {{ resolve(true); }}
            setTimeout(() => resolve(false), 1500);
        }})"""
    )
    return done


ATTEMPTS = {
    "a script from elsewhere on our origin": "add('script', 'src', '/v1/x?model=demo')",
    "a script of a route that tells everything": "add('script', 'src', '/openapi.json')",
    "an inline script": "const s = document.createElement('script'); s.text = 'x'; document.body.append(s)",
    "an image from elsewhere on our origin": "add('img', 'src', '/v1/x?model=demo')",
    "an image from another site": "add('img', 'src', 'http://127.0.0.1:1/x.png')",
    "a style sheet from elsewhere": "add('link', 'href', '/v1/x', 'stylesheet')",
    "a worker": "new Worker('/static/js/main.js')",
    "a frame": "add('iframe', 'src', '/')",
    "a form": "add('form', 'action', '/auth/logout').submit()",
    "text as HTML": "document.createElement('div').innerHTML = '<b>x</b>'",
    "a base": "add('base', 'href', 'https://evil.example/')",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_the_policy_stops_what_would_have_passed_the_sanitiser(
    server: Server, new_page: NewPage, name: str
) -> None:
    page = new_page(
        expected="Content Security Policy|TrustedHTML|TrustedScript|ERR_|status of|This document requires"
    )
    page.goto(server.url)
    page.get_by_label("Password").first.wait_for()
    add = """const add = (tag, attribute, value, rel) => {
        const element = document.createElement(tag);
        if (rel) element.rel = rel;
        element.setAttribute(attribute, value);
        document.body.append(element);
        return element;
    };"""
    assert blocked(page, add + ATTEMPTS[name])


DRAWN = re.compile(r"[\u25cc\u200b\u2066-\u2069]")
LONG = {
    "quotes in quotes": ">" * 5_000,
    "a list in a list": "".join("  " * n + "- a\n" for n in range(1_400))[:990_000],
    "code without end": "```js\n" + "let a = 1; // x\n" * 60_000 + "```",
    "words of underscores": "_a__b" * 20_000,
    "an item of many lines": "- a\n" + "b\n" * 100_000,
    "a very long word": "x" * 990_000,
    "paragraphs without end": "a\n\n" * 300_000,
    "marks on one letter": "Z" + "\u0300" * 400_000,
    "one word of letters that join": "\u0628" * 400_000,
    "one word of letters that stack": "\u0e01\u0e34\u0e49" * 100_000,
    "changes of direction": "\u2067a\u2066" * 100_000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_text_that_would_break_the_page_is_shown_as_it_is(server: Server, new_page: NewPage, name: str) -> None:
    client, page = server.sign_up(new_email()), new_page()
    text = LONG[name]
    visit(page, client, f"c/{conversation(client, text, 'after *it*')}")
    expect(page.locator(".message.assistant em")).to_have_text("it")
    shown = page.locator(".message.assistant .text").first
    # Marks that pile up get letters to stand on, and words without end get places to break.
    assert DRAWN.sub("", shown.evaluate("element => element.textContent")).strip() == DRAWN.sub("", text).strip()
    assert shown.evaluate("element => element.querySelectorAll('*').length") <= 1
    page.get_by_role("button", name="New chat").first.click()  # It still listens.


HONEST = "## A title\n\nSome *text* with `code`, a [link](https://example.org/a_b), **more**.\n\n- one\n- two\n\n"
UNITS = [
    "_a__b",
    "*a**b",
    "a*",
    "!",
    "[",
    "[a](",
    "![",
    "<a ",
    "<b>",
    "<!--",
    "`a``",
    "~~a",
    "> ",
    ">",
    "- ",
    "1. ",
]
UNITS += [
    "- a\n",
    "  - a\n",
    "a\n",
    "a\n\n",
    "| a ",
    "|a|b|\n|-|-|\n",
    "[a]: b\n",
    "&amp;",
    "\\",
    "http://a ",
    "***",
]
UNITS += ["a@a.b ", "# a\n", "*a* **b** `c` ", "<details>\n\n", "<b>a</b>", "- a\nb\n", "> - ", "\t- a\n", "``` \n"]
UNITS += ["|a" * 300 + "\n|" + "-|" * 299 + "\n" + "a\n" * 2000, "http://a" + "&a;" * 9000 + " ", "www.a("]
UNITS += ["a" + " " * 9000, "<a" + " " * 9000, "# a" + " " * 90_000 + "b", "a" + "\u00a0" * 9000]
UNITS += ["_a__b " * 200 + "\n\n", "*中*，"]  # noqa: RUF001


def picture(width: int, height: int) -> str:
    """Return the address of a black picture, which takes a few bytes."""
    row = b"\0" + b"\0" * ((width + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    made = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + made).decode()


def test_a_picture_that_is_larger_than_it_looks_is_not_shown(server: Server, new_page: NewPage) -> None:
    client, page = server.sign_up(new_email()), new_page()
    small, large = picture(1000, 1000), picture(20_000, 20_000)
    broken = [f"data:image/{kind};base64,AAAA" for kind in ("png", "jpeg", "gif", "webp")]
    texts = [f"![a]({address}) *it*" for address in (small, large, *broken)]
    visit(page, client, f"c/{conversation(client, *texts)}")
    expect(page.locator(".message.assistant em")).to_have_count(len(texts))
    expect(page.locator(".message.assistant img")).to_have_count(1)


HONEST_TEXTS = {
    "`x` <code>y</code> <kbd>z</kbd>": "code:nth-of-type(2)",
    '<a href="https://example.org">x</a>': "a[href='https://example.org']",
    "| a |\n|-|\n| <ul><li>x</li><li>y</li></ul> |": "td li:nth-child(2)",
    "<details open><summary>x</summary>\n\ny\n\n</details>": "details > summary",
    "[![build](https://example.org/i.png)](https://example.org/run)": "a[href='https://example.org/run']",
    "```\n" + " " * 120 + "- 5\n```\n\n*x*": "em",
    "* " * 42 + "\n\n*x*": "em",
    "\n".join(f"{n}. x" for n in range(1, 2500)): "li:nth-child(2400)",
    "```diff\n" + "- a\n  b\n" * 1500 + "```": "code.language-diff",
    '<p align="center">*x*</p>\n\n<!-- y -->\n\n*x*': "em",
}


def test_what_honest_agents_write_is_formatted(server: Server, new_page: NewPage) -> None:
    client, page = server.sign_up(new_email()), new_page()
    visit(page, client, f"c/{conversation(client, *HONEST_TEXTS)}")
    messages = page.locator(".message.assistant")
    expect(messages).to_have_count(len(HONEST_TEXTS))
    for number, selector in enumerate(HONEST_TEXTS.values()):
        expect(messages.nth(number).locator(selector).first).to_be_attached()
    assert "<!--" not in page.get_by_role("main").inner_text()
    badge = messages.nth(4).locator("a")
    expect(badge).to_have_count(1)
    expect(badge).to_have_text("build")


TIMES = """async ([honest, units]) => {
    const { toHtml } = await import("/static/js/markdown.js");
    const repeated = (unit, length) => unit.repeat(Math.ceil(length / unit.length)).slice(0, length);
    const measured = (unit, length) => Math.min(...[1, 2].map(() => {
        const text = repeated(unit, length);
        const began = performance.now();
        toHtml(text);
        return performance.now() - began;
    }));
    const beside = measured(honest, 60000);
    const found = {};
    for (const unit of units) {
        for (const length of [20000, 99999, 1000000]) found[unit + length] = measured(unit, length) / beside;
    }
    return found;
}"""
MOST = 10


def test_no_text_takes_much_longer_to_format_than_an_honest_one(server: Server, new_page: NewPage) -> None:
    page = new_page()
    page.goto(server.url)
    page.get_by_label("Password").first.wait_for()
    found: dict[str, Any] = page.evaluate(TIMES, [HONEST, UNITS])
    assert {name: round(ratio, 1) for name, ratio in found.items() if ratio > MOST} == {}
