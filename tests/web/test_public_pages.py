"""Pages for everybody: older addresses, unknown ones, the docs, a key by the form, the tutorial's links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from playwright.sync_api import expect

from kaixu.web.public.older_addresses import OLDER

from .browser import PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway
from .visiting import customer_of

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HREF = re.compile(r'href="([^"]+)"')


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """Requests without a session."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client:
        yield client


def test_older_addresses_lead_to_the_pages_of_today(http: httpx.Client) -> None:
    for path, target in OLDER.items():
        reply = http.get(f"{path}?from=bookmark")
        assert (reply.status_code, reply.headers["location"]) == (301, f"{target}?from=bookmark"), path
        assert http.get(target).status_code in (200, 303), target
    # A query that clients would not read in a header is left out.
    reply = http.get("/skyefuelstation/index.html?limit=" + "a" * 9000)
    assert (reply.status_code, reply.headers["location"]) == (301, "/skyefuelstation/")
    for path in ("/gateway/", "/request-key/", "/skyefuelstation", "/docs/"):
        assert http.get(path).status_code in (200, 303), path


def test_browsers_get_a_page_for_an_unknown_address_and_programs_json(http: httpx.Client) -> None:
    page = http.get("/gateway/custommers", headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "/gateway/customers" in page.text
    assert http.get("/%3Cscript%3Ealert(1)%3C/script%3E", headers=BROWSER).text.count("<script>alert") == 0
    for path in ("/api/nothing", "/v1/nothing", "/.netlify/functions/nothing", "/gateway/static/x/nothing.js"):
        assert http.get(path, headers=BROWSER).headers["content-type"].startswith("application/json"), path
    assert http.get("/gateway/custommers").json()["code"] == "NOT_FOUND"
    assert http.post("/gateway/custommers", headers=BROWSER).json()["code"] == "NOT_FOUND"


def test_every_link_of_the_docs_leads_somewhere(http: httpx.Client) -> None:
    start = http.get("/docs").text
    names = sorted(set(re.findall(r'href="(/docs/[\w-]+)"', start)))
    assert len(names) >= 7
    pages = {name: http.get(name) for name in names}
    ids = {name: set(re.findall(r'id="([^"]+)"', page.text)) for name, page in pages.items()}
    for name, page in pages.items():
        assert page.status_code == 200, name
        assert "style=" not in page.text
        assert "http://127.0.0.1:8787" not in page.text  # the examples name this gateway
        for href in HREF.findall(page.text):
            parts = urlsplit(urljoin(name, href))
            if parts.path in ids and parts.fragment:
                assert parts.fragment in ids[parts.path], f"{name}: {href}"
            elif not parts.netloc and not parts.path.startswith("/gateway/static"):
                assert http.get(parts.path).status_code in (200, 303), f"{name}: {href}"
    assert http.get("/docs/nothing").status_code == 404


def test_a_new_address_gets_a_key_and_opens_the_dashboard_with_it(visit: Visit, own_gateway: Gateway) -> None:
    visitor = visit(own_gateway, "public", width=PHONE).go("/request-key")
    visitor.page.get_by_label("Your e-mail address").fill("ada@new.example")
    visitor.page.get_by_role("button", name="Request a key").click()
    key = visitor.page.locator("[data-secret] code").inner_text()
    assert re.fullmatch(r"kx_live_[A-Za-z0-9_-]{48}", key)
    assert own_gateway.request("GET", "user-summary", token=key).status_code == 200
    visitor.page.get_by_role("button", name="Open my dashboard").click()
    visitor.page.wait_for_url("**/gateway/dashboard.html")
    assert key not in visitor.page.content()
    visitor.go("/request-key")
    visitor.page.get_by_label("Your e-mail address").fill("ada@new.example")
    with visitor.expecting(409):  # this gateway has no mail for a link
        visitor.page.get_by_role("button", name="Request a key").click()
        expect(visitor.page.get_by_role("alert")).to_be_visible()
    assert visitor.page.get_by_label("Your e-mail address").input_value() == "ada@new.example"


def test_the_station_shows_what_the_visitor_s_own_account_has_left(customer: Visitor, gateway: Gateway) -> None:
    customer.go("/skyefuelstation/")
    key = next(iter(customer_of(gateway).keys.values())).key
    month = gateway.ask("GET", "user-summary", token=key)["month"]
    left = customer.main.locator(".stat", has_text="The account has left").locator("data")
    assert left.get_attribute("value") == month["customer_remaining_usd"]
    customer.go("/skyefuelstation/?month=1999-01", status=422)
    expect(customer.main.get_by_text("What 100 dollars buy")).to_be_visible()


def test_the_tutorial_s_links_keep_the_customer_and_lead_to_pages(operator: Visitor, gateway: Gateway) -> None:
    one = customer_of(gateway)
    operator.go(f"/gateway/tutorial?customer_id={one.id}")
    hrefs = operator.main.locator(".document a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert f"/gateway/keys?customer_id={one.id}" in hrefs
    for href in sorted(set(hrefs)):
        assert operator.page.request.get(f"{gateway.url}{href}").ok, href
    with operator.swapped():
        operator.page.get_by_label("Search the tutorial").fill("rotate")
    expect(operator.main.get_by_role("heading", name="3. Keys: sub-keys, rotate, revoke")).to_be_visible()
    expect(operator.main.get_by_role("heading", name="6. Devices")).to_be_hidden()
