"""The main forms with JavaScript off, one after the other, as an operator uses them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

from playwright.sync_api import expect

from tests.support.process import SECRETS

from .browser import PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway

CHAT = {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}


def log_in(visitor: Visitor) -> None:
    """Log in by the form."""
    visitor.go("/gateway/customers")  # leads to the login, and back
    visitor.page.get_by_label("Password").fill(SECRETS["ADMIN_PASSWORD"])
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.locator("h1")).to_have_text("Customers")


def test_lists_and_files_without_scripts(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    operator = visit(gateway, scripts=False)
    page = operator.page
    log_in(operator)

    # Filter, sort, next page.
    operator.main.get_by_label("Search").fill("northwind")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#customers tbody tr")).to_have_count(1)
    operator.go("/gateway/customers")
    page.get_by_role("link", name="Spent", exact=True).click()
    amounts = [Decimal(cell.get_attribute("value") or "") for cell in
               operator.page.locator("#customers td[data-label=Spent] data").all()]  # fmt: skip
    assert amounts
    assert amounts == sorted(amounts, reverse=True)
    operator.go(f"/gateway/usage?customer_id={one.id}&month={gateway.seed.names['month']}")
    first = page.locator("#usage-calls tbody tr").first
    before = first.get_attribute("id") or ""
    page.get_by_role("link", name="Next page").click()
    expect(first).not_to_have_id(before)

    # A row's link opens its page.
    operator.go(f"/gateway/usage?customer_id={one.id}")
    page.locator("#usage-calls tbody .row-link").first.click()
    expect(operator.main.get_by_text("adds up")).to_be_visible()

    # The monitor is read again by its form, the search leads to a page.
    operator.go("/gateway/monitor")
    gateway.request("POST", "gateway-chat", CHAT, token="kx_live_" + "y" * 48)
    page.locator("#content form").first.get_by_role("button").first.click()
    expect(page.locator("#events tbody tr").first).to_be_visible()
    page.locator("header form.search button").click()
    operator.main.get_by_label("Search", exact=True).fill("halden")
    operator.main.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#results")).to_contain_text("halden")

    # Files.
    operator.go(f"/gateway/exports?customer_id={one.id}")
    for kind in ("Events", "Summary", "Invoice"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Download {kind} CSV").click()
        assert Path(download.value.path()).read_text().splitlines()[-1].startswith("# rows: ")


def test_changes_without_scripts(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, width=PHONE, scripts=False)
    page, main = operator.page, operator.main
    log_in(operator)
    operator.go("/gateway/create")
    page.get_by_label("E-mail").fill("plain@forms.example")
    page.get_by_label("Monthly cap").fill("3")
    page.get_by_role("button", name="Create + issue master key").click()
    old = page.get_by_role("region", name="Key", exact=True).inner_text()
    [made] = own_gateway.ask("GET", "admin-customers", q="plain@forms.example")["customers"]

    # The policy, a top-up.
    operator.go(f"/gateway/billing?customer_id={made['id']}")
    page.locator("#policy-form").get_by_label("Monthly cap").fill("4.50")
    page.locator("#policy-form").get_by_role("button", name="Save").click()
    expect(main.get_by_text("The policy is saved")).to_be_visible()
    page.locator("#topup-form").get_by_label("Amount").fill("2")
    page.get_by_role("button", name="Top up").click()
    expect(main.get_by_text("The top-up is booked.")).to_be_visible()
    rollup = own_gateway.ask("GET", "admin-usage", customer_id=made["id"])["rollup"]
    assert (rollup["cap_cents"], rollup["extra_cents"]) == (650, 200)

    # A rotation, a revocation and its undoing.
    operator.go(f"/gateway/keys?customer_id={made['id']}")
    page.get_by_role("link", name="Rotate", exact=True).click()
    page.get_by_role("button", name="Rotate this key").click()
    key = page.get_by_role("region", name="Key", exact=True).inner_text()
    assert own_gateway.request("POST", "gateway-chat", CHAT, token=old).status_code == 401
    page.get_by_role("link", name="Keys of this customer").click()
    page.get_by_role("button", name="Revoke").click()
    expect(main.get_by_role("status").filter(has_text="is revoked")).to_be_visible()
    assert own_gateway.request("POST", "gateway-chat", CHAT, token=key).status_code == 401
    page.get_by_role("button", name="Undo").click()
    expect(main.get_by_role("status").filter(has_text="works again")).to_be_visible()

    # A call from the playground.
    operator.go(f"/gateway/playground?customer_id={made['id']}")
    page.get_by_label("Message").first.fill("How did the last quarter go?")
    page.get_by_role("button", name="Send").click()
    expect(main.get_by_text("Spent this month").first).to_be_visible()

    # An invoice is issued and voided; each asks first.
    month = own_gateway.ask("GET", "admin-month-close", state="ready")
    ready = month["customers"][0]
    operator.go(f"/gateway/billing/invoice?customer_id={ready['customer_id']}&month={month['month']}")
    page.get_by_role("link", name="Finalise").click()
    expect(main.get_by_text("never changed from then on")).to_be_visible()
    page.get_by_role("button", name="Finalise the invoice").click()
    expect(main.get_by_text("The invoice is issued.")).to_be_visible()
    page.get_by_role("link", name="Void").click()
    expect(main.get_by_text("It cannot be undone.")).to_be_visible()
    page.get_by_label("Reason").fill("wrong address")
    page.get_by_role("button", name="Void the invoice").click()
    expect(main.get_by_text("The invoice is void.")).to_be_visible()

    # And out.
    page.locator("button.account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("h1")).to_have_text(re.compile("Log in"))
