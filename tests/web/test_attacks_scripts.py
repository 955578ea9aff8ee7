"""Stored attacks: whatever outsiders have written into the database, pages show it as text, and nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from kaixu.edge.operator_cookies import SESSION_COOKIE
from tests.support.size import SLOW, size

from .blocking import run
from .browser import DESKTOP, PHONE, Visitor
from .conftest import SEEDED, Visit
from .gateway import Gateway, config_of, copy_of, running
from .hostile import PAYLOADS, make_hostile
from .layout import assert_layout
from .pages import PAGES
from .seed import Seed
from .vendor import PageVendor
from .visiting import CUSTOMER_COOKIE, path_of

#: Pages that are alike (the same path with the same fields) are read no more often.
ALIKE = 1
MOST_PAGES = size(60, 140)

SCRIPT_ATTRIBUTES = re.compile(r"on[a-z]+|hx-on.*|data-hx-.*|style|srcdoc|formaction")


class Elements(HTMLParser):
    """What is in a page that the templates never write, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "script" and not given.get("nonce"):
            self.wrong.append(f"<script {attrs}>")
        if tag in ("iframe", "object", "embed", "base"):
            self.wrong.append(f"<{tag}>")
        if tag == "img" and not (given.get("src") or "").startswith("data:image/svg+xml;base64,"):
            self.wrong.append(f"<img {attrs}>")
        for name, value in attrs:
            if SCRIPT_ATTRIBUTES.fullmatch(name):
                self.wrong.append(f"{tag} {name}={value!r}")
            is_address = name in ("href", "src", "action", "hx-get", "hx-post", "data-href", "xlink:href")
            if is_address and not is_own(value or ""):
                self.wrong.append(f"{tag} {name}={value!r}")
            if tag == "a" and name == "href":
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def is_own(address: str) -> bool:
    """Whether an address is a path of ours, a place in the page, or a picture in it."""
    return bool(re.match(r"/(?!/)|#|\?|data:image/svg\+xml;base64,|https://status\.gateway-house\.example$", address))


@pytest.fixture(scope="module")
def hostile(
    server_dsn: str, seed: Seed, vendor: PageVendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway on such a database. Nothing in it is changed."""
    with copy_of(server_dsn, SEEDED) as dsn:
        assert run(make_hostile(dsn, seed)) > 40
        with running(tmp_path_factory.mktemp("hostile"), dsn, config_of(vendor.url), seed) as gateway:
            yield gateway


def shape_of(address: str) -> tuple[str, ...]:
    """The path of an address and the names of its fields."""
    parts = urlsplit(address)
    return parts.path, *sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True))


def pages_below(http: httpx.Client, *starts: str) -> Iterator[tuple[str, httpx.Response]]:
    """Every page that links lead to, and the files beside them; a few of those that are alike."""
    waiting, seen, shapes = deque(starts), set(starts), Counter[tuple[str, ...]]()
    while waiting and len(seen) < 20 * MOST_PAGES and shapes.total() < MOST_PAGES:
        address = waiting.popleft()
        if shapes[shape_of(address)] >= ALIKE:
            continue
        shapes[shape_of(address)] += 1
        response = http.get(address)
        yield address, response
        if not response.headers.get("content-type", "").startswith("text/html"):
            continue
        for link in Elements(response.text).links:
            to = urljoin(address, link).partition("#")[0]
            if to.startswith(("/gateway", "/models")) and to not in seen and "/static/" not in to:
                seen.add(to)
                waiting.append(to)


@pytest.mark.parametrize("who", ["operator", "customer"])
def test_no_page_or_file_has_an_element_an_address_or_a_formula_of_an_outsider(hostile: Gateway, who: str) -> None:
    key = hostile.seed.customers["northwind"].keys["master"].key
    customer = hostile.ask("POST", "session-token", token=key)["token"]
    cookie = {SESSION_COOKIE: hostile.seed.admin_token} if who == "operator" else {CUSTOMER_COOKIE: customer}
    starts = [path_of(hostile, page) for page in PAGES if page.role == who and page.status == 200]
    showing = set()
    with httpx.Client(
        base_url=hostile.url,
        trust_env=False,
        timeout=60,
        headers={"cookie": "; ".join(f"{a}={b}" for a, b in cookie.items())},
    ) as http:
        for address, response in pages_below(http, *(starts or ["/gateway/dashboard.html"])):
            kind = response.headers.get("content-type", "")
            assert response.status_code < 500, (address, response.text)
            if kind.startswith("text/html"):
                assert response.headers["content-security-policy"].startswith("default-src 'none'"), address
                elements = Elements(response.text)
                assert not elements.wrong, (address, elements.wrong[:5])
                if "pwned" in "".join(elements.text):
                    showing.add(urlsplit(address).path)
            else:
                assert response.headers["x-content-type-options"] == "nosniff", address
            if kind.startswith("text/csv"):
                for row in csv.reader(io.StringIO(response.text)):
                    assert not [cell for cell in row if cell.startswith(("=", "@", "+", "\t"))], (address, row)
    assert len(showing) > (15 if who == "operator" else 3), showing


FOREIGN = """
() => [...document.querySelectorAll(
    'img:not([src^="data:"]), script:not([src]), [onerror], [onload], [onfocus], [autofocus], [hx-get^="/gateway/pwned"], ' +
    'a[href^="javascript" i], [data-hx-get], iframe, [style*="pwned"]')].map((one) => one.outerHTML.slice(0, 200))
"""


def assert_only_text(visitor: Visitor) -> None:
    """No element of a payload is in the page."""
    assert visitor.page.evaluate(FOREIGN) == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_no_browser_runs_what_outsiders_wrote(visit: Visit, hostile: Gateway, width: int) -> None:
    visitor = visit(hostile, "operator", width=width)
    problems = []
    for page in PAGES:
        # A phone has the same elements: there only the layout of the main pages is looked at.
        # The search has a test of its own: the name that its state looks for is overwritten here.
        is_shown = page.is_main or (SLOW and width == DESKTOP and page.after is not None and page.name != "palette")
        if page.role == "operator" and page.status == 200 and is_shown:
            visitor.go(path_of(hostile, page))
            if page.after is not None and width == DESKTOP:
                page.after(visitor)
                visitor.settle()
            assert_only_text(visitor)
            if page.is_main:
                try:
                    assert_layout(visitor.page)
                except AssertionError as error:
                    problems.append(f"{page.name}: {error}")
    assert not problems, "\n".join(problems)


def test_the_search_the_drawer_the_tail_and_the_cursor_of_charts_show_text(visit: Visit, hostile: Gateway) -> None:
    visitor = visit(hostile, "operator")
    visitor.go("/gateway/monitor")
    text = PAYLOADS[0]
    report = {"client": text, "error": {"name": text, "message": text, "stack": text}, "context": {text: text}}
    with httpx.Client(trust_env=False, timeout=30) as http:
        http.post(
            f"{hostile.url}/api/client-error-report", json=report, headers={"user-agent": text, "x-kaixu-app": text}
        )
    expect(visitor.main.get_by_text("onerror").first).to_be_visible()
    assert_only_text(visitor)
    visitor.press("Control+k")
    visitor.page.keyboard.type("img src")
    expect(visitor.page.locator("#palette").get_by_role("option").first).to_be_visible()
    assert_only_text(visitor)
    visitor.press("Escape")
    visitor.go("/gateway")
    for chart in visitor.page.locator(".chart-drawing").all():
        chart.press("ArrowLeft")
        assert_only_text(visitor)


def test_what_a_page_is_asked_for_comes_back_as_text(visit: Visit, gateway: Gateway) -> None:
    visitor = visit(gateway, "operator")
    customer = str(gateway.seed.customers["northwind"].id)
    fields = (
        ("customers", "q"), ("monitor", "app"), ("monitor", "q"), ("timeline", "q"), ("usage", "model"), ("search", "q"),
        ("keys", "q"), ("devices", "q"), ("operators/audit", "actor"), ("lanes/lane", "lane"), ("customers", "done"),
        ("embeddings/documents", "name"), ("billing/invoice", "number"), ("login", "next"),
    )  # fmt: skip
    for at, (page, name) in enumerate(fields):
        query = urlencode({"customer_id": customer, name: PAYLOADS[at % len(PAYLOADS)]})
        with visitor.expecting(400, 404, 422):
            visitor.page.goto(f"{gateway.url}/gateway/{page}?{query}")
            visitor.settle()
        assert_only_text(visitor)
