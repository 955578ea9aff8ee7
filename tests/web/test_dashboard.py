"""The customers' dashboard: the session by key, the budget, calls, devices, invoices."""

from __future__ import annotations

from itertools import takewhile

import httpx
import pytest
from playwright.sync_api import expect

from .browser import DESKTOP, PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway
from .visiting import CUSTOMER_COOKIE, customer_of

SIGN_IN = "/gateway/dashboard/sign-in"
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


def key_of(gateway: Gateway, name: str = "") -> str:
    """A key of a customer, with the role owner."""
    return next(iter(customer_of(gateway, name).keys.values())).key


def sign_in(visitor: Visitor, key: str) -> None:
    """Fill in the form of the sign-in."""
    visitor.page.get_by_label("Your key").fill(key)
    visitor.page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize(("width", "scripts"), [(DESKTOP, True), (PHONE, False)], ids=["desk", "phone-no-scripts"])
def test_a_key_opens_the_dashboard_and_is_kept_nowhere(
    visit: Visit, gateway: Gateway, width: int, scripts: bool
) -> None:
    key = key_of(gateway)
    visitor = visit(gateway, "public", width=width, scripts=scripts).go("/gateway/dashboard/calls")
    assert visitor.path == f"{SIGN_IN}?next=%2Fgateway%2Fdashboard%2Fcalls"
    with visitor.expecting(401):
        sign_in(visitor, key[:-1] + ("a" if key[-1] != "a" else "b"))
    expect(visitor.page.get_by_text("This key does not work").first).to_be_visible()
    assert visitor.page.get_by_label("Your key").input_value() == ""
    sign_in(visitor, key)
    assert visitor.path == "/gateway/dashboard/calls"
    cookie = next(one for one in visitor.page.context.cookies() if one["name"] == CUSTOMER_COOKIE)
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
    assert key not in cookie["value"]
    assert key not in visitor.page.content()
    assert f"key …{key[-4:]}" in visitor.page.locator(".account").inner_text()
    token = visitor.page.locator("input[name=form_token]").first.get_attribute("value") or ""
    headers = SAME_ORIGIN | {"cookie": f"{CUSTOMER_COOKIE}={cookie['value']}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=60) as http:
        out = http.post("/gateway/dashboard/logout", data={"form_token": token})
    assert (out.status_code, out.headers["location"]) == (303, f"{SIGN_IN}?out=1")
    assert "Max-Age=0" in out.headers["set-cookie"]


def test_the_session_ends_with_its_key(visit: Visit, own_gateway: Gateway) -> None:
    customer = visit(own_gateway, "customer").go("/gateway/dashboard/calls")
    key = next(iter(customer_of(own_gateway).keys.values()))
    own_gateway.ask("PATCH", "admin-keys", {"revoked": True}, key_id=key.id)
    customer.go("/gateway/dashboard/devices")
    assert customer.path == f"{SIGN_IN}?ended=1"
    assert not [one for one in customer.page.context.cookies() if one["name"] == CUSTOMER_COOKIE]


def test_sign_in_is_limited_and_leads_to_our_pages_only(own_gateway: Gateway) -> None:
    with httpx.Client(base_url=own_gateway.url, headers=SAME_ORIGIN, trust_env=False, timeout=60) as http:
        for back in ("//evil.example", "https://evil.example", "/\\evil.example", "/gateway//evil.example"):
            reply = http.post(SIGN_IN, data={"key": key_of(own_gateway), "next": back})
            check = http.get(reply.headers["location"], headers={"cookie": reply.headers["set-cookie"].split(";")[0]})
            assert (check.status_code, check.headers["location"]) == (303, "/gateway/dashboard.html")
        assert http.post(SIGN_IN, data={"key": "x"}, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        lost = http.get(f"{SIGN_IN}/check")  # the browser did not keep the cookie
        assert (lost.status_code, "did not keep the cookie" in lost.text) == (400, True)
        tries = (http.post(SIGN_IN, data={"key": f"kx_live_{at:048}"}).status_code for at in range(200))
        statuses = list(takewhile(lambda status: status == 401, tries))
    assert 0 < len(statuses) < 200  # the next one was refused


def test_the_budget_agrees_with_the_api(customer: Visitor, gateway: Gateway) -> None:
    summary = gateway.ask("GET", "user-summary", token=key_of(gateway), scope="customer")
    customer.go("/gateway/dashboard.html")
    stats = customer.page.locator("#budget .stat")
    shown = [
        stats.filter(has_text=name).locator("data").get_attribute("value") for name in ("Cap", "Spent", "Available")
    ]
    month = summary["month"]
    assert shown == [month["customer_cap_usd"], month["customer_spent_usd"], month["available_usd"]]
    expect(customer.page.get_by_text("What binds is the cap")).to_be_visible()
    assert customer.page.locator("#keys tbody tr").count() == len(summary["keys"])
    with customer.swapped():
        customer.page.get_by_label("By", exact=True).select_option("provider")
    assert "by=provider" in customer.path
    twin = customer.page.request.get(f"{gateway.url}/gateway/dashboard.json").json()
    assert twin["month"]["customer_spent_usd"] == month["customer_spent_usd"]


def test_a_call_explains_its_charge_beside_the_list(customer: Visitor, gateway: Gateway) -> None:
    customer.go("/gateway/dashboard/calls")
    first = gateway.ask("GET", "user-events", token=key_of(gateway), scope="customer", limit=1)["events"][0]
    charge = gateway.ask("GET", "user-explain", token=key_of(gateway), event=first["id"])["charges"][0]
    with customer.swapped():
        customer.main.locator("#calls tbody .row-link").first.click()
    drawer = customer.page.get_by_role("dialog")
    expect(drawer.get_by_text("adds up")).to_be_visible()
    expect(drawer.get_by_text(f"{charge['billed_nusd']:,} nano-dollars")).to_be_visible()
    rows = customer.page.request.get(f"{gateway.url}/gateway/dashboard/calls.csv").text().splitlines()
    assert "cost_usd" in rows[0]
    other = gateway.value("select id from kaixu.usage_event where customer_id <> $1 limit 1", customer_of(gateway).id)
    customer.go(f"/gateway/dashboard/call?event={other}", status=404)


def test_devices_are_revoked_and_given_back_without_scripts(visit: Visit, own_gateway: Gateway) -> None:
    visitor = visit(own_gateway, "customer", width=PHONE, scripts=False).go("/gateway/dashboard/devices")
    visitor.page.get_by_role("button", name="Revoke").first.click()
    expect(visitor.page.get_by_text("its seat is free")).to_be_visible()
    assert own_gateway.value("select count(*) from kaixu.device where revoked_by = 'owner'") == 1
    visitor.page.get_by_role("button", name="Undo").click()
    expect(visitor.page.get_by_text("has its seat again")).to_be_visible()
    assert own_gateway.value("select count(*) from kaixu.device where revoked_by = 'owner'") == 0


def test_a_change_without_the_form_token_is_refused(customer: Visitor, gateway: Gateway) -> None:
    cookie = customer.page.context.cookies(gateway.url.replace("http://", "https://"))[0]
    headers = SAME_ORIGIN | {"cookie": f"{cookie['name']}={cookie['value']}"}
    with httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=60) as http:
        for path in ("devices", "redeem", "logout"):
            reply = http.post(f"/gateway/dashboard/{path}", data={"revoked": "true", "code": "x"})
            assert (reply.status_code, "FORM_TOKEN" in reply.text) == (403, True), path


def test_files_and_invoices_are_downloaded_with_the_session(customer: Visitor, gateway: Gateway) -> None:
    customer.go("/gateway/dashboard/invoices")
    events = customer.main.get_by_role("link", name="Download Events CSV").get_attribute("href")
    file = customer.page.request.get(f"{gateway.url}{events}")
    calls = gateway.ask("GET", "user-summary", token=key_of(gateway), scope="customer")["month"]["customer_calls"]
    assert (file.status, file.text().splitlines()[-1]) == (200, f"# rows: {calls}")
    invoices = gateway.ask("GET", "user-invoice-list", token=key_of(gateway))["invoices"]
    links = customer.main.locator("#invoices").get_by_role("link", name="PDF")
    assert links.count() == len(invoices) > 0
    pdf = customer.page.request.get(f"{gateway.url}{links.first.get_attribute('href')}")
    assert (pdf.status, pdf.body()[:5]) == (200, b"%PDF-")


def test_a_code_adds_to_the_budget_once_and_other_roles_see_only_their_own(visit: Visit, own_gateway: Gateway) -> None:
    until = own_gateway.value("select to_char(now() + interval '30 days', 'YYYY-MM-DD')")
    batch = {"amount_cents": 500, "expires_at": until, "count": 1, "note": "test"}
    [code] = own_gateway.ask("POST", "admin-codes", batch)["codes"]
    visitor = visit(own_gateway, "customer").go("/gateway/dashboard.html")
    visitor.page.get_by_label("Code").fill("KX-wrong")
    with visitor.expecting(422):
        visitor.page.get_by_role("button", name="Redeem").click()
        expect(visitor.page.get_by_role("alert")).to_be_visible()
    visitor.page.get_by_label("Code").fill(code)
    visitor.page.get_by_role("button", name="Redeem").click()
    expect(visitor.page.get_by_text("The code is credited")).to_be_visible()
    expect(visitor.page.get_by_text("topped up")).to_be_visible()
    own_gateway.rows("update kaixu.virtual_key set role = 'deployer'")
    visitor.go("/gateway/dashboard.html?scope=customer")
    expect(visitor.page.get_by_text("Codes are redeemed with a key of the role admin or owner")).to_be_visible()
    assert visitor.page.locator("#keys").get_by_role("table").count() == 0
    visitor.go("/gateway/dashboard/invoices")
    expect(visitor.page.get_by_text("These are the figures of your key")).to_be_visible()
