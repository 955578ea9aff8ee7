"""An operator's first day: from the login to the invoice, with figures that agree wherever they stand."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import httpx
import pypdf
from playwright.sync_api import Locator, expect

from tests.support.process import SECRETS

from .browser import Visitor
from .conftest import Visit
from .gateway import Gateway
from .month_back import move_a_month_back

#: Twenty thousand words to a model of 3.275 USD a million: 6.55 cents, and a little for the answer.
QUESTION = {
    "provider": "openai",
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "word " * 20_000}],
    "max_tokens": 400,
}


def call(gateway: Gateway, key: str) -> httpx.Response:
    """The customer's program makes a call."""
    return gateway.request("POST", "gateway-chat", QUESTION, token=key)


def stat(place: Locator, title: str) -> Decimal:
    """An amount among the figures of a page, as exact as the page has it."""
    value = place.locator(".stat").filter(has=place.page.get_by_text(title, exact=True)).locator("data").first
    return Decimal(value.get_attribute("value") or "")


def spent(gateway: Gateway, customer_id: int) -> int:
    """What the customer's calls cost in all, in nano-dollars, as the database has it."""
    return int(gateway.value("select sum(cost_nusd) from kaixu.usage_event where customer_id = $1", customer_id))


def dollars(nano: int) -> Decimal:
    """Nano-dollars as dollars, exactly."""
    return Decimal(nano).scaleb(-9)


def create_customer(operator: Visitor, gateway: Gateway) -> tuple[int, str]:
    """Make a customer with its first key."""
    page = operator.page
    page.get_by_role("link", name="Create", exact=True).click()
    page.get_by_label("E-mail").fill("first@day.example")
    page.get_by_label("Monthly cap").fill("5")
    page.get_by_role("button", name="Create + issue master key").click()
    key = page.get_by_role("region", name="Key", exact=True).inner_text()
    page.get_by_role("link", name="Keys of this customer").click()
    expect(page.locator("h1")).to_have_text("Keys")
    assert key not in page.content()  # it was shown once
    [found] = gateway.ask("GET", "admin-customers", q="first@day.example")["customers"]
    assert found["monthly_cap_cents"] == 500
    return found["id"], key


def test_the_first_day_of_an_operator(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway)
    page = operator.page
    operator.go("/gateway")
    page.get_by_label("Password").fill(SECRETS["ADMIN_PASSWORD"])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("Overview")
    customer_id, key = create_customer(operator, own_gateway)
    assert call(own_gateway, key).status_code == 200

    # Usage shows the call, and its charge is explained to the nano-dollar.
    page.get_by_role("link", name="Usage", exact=True).click()
    billed = spent(own_gateway, customer_id)
    assert stat(operator.main, "Spent") == dollars(billed)
    page.locator("#usage-calls tbody .row-link").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("adds up")).to_be_visible()
    assert stat(drawer, "Billed") == dollars(billed)
    expect(drawer.get_by_text(f"{billed:,} nano-dollars")).to_be_visible()
    operator.press("Escape")
    expect(drawer).to_be_hidden()

    # A cap below what is spent refuses the next call, and the page says why.
    page.get_by_role("link", name="Billing & Controls").first.click()
    policy = page.locator("#policy-form")
    policy.get_by_label("Monthly cap").fill("0.05")
    policy.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("The policy is saved")).to_be_visible()
    refused = call(own_gateway, key)
    assert (refused.status_code, refused.json()["code"]) == (402, "CAP_REACHED")
    operator.go(f"/gateway/usage?customer_id={customer_id}")
    expect(operator.main.get_by_text("has used up its cap")).to_be_visible()

    # A top-up lets it go on.
    operator.main.get_by_role("link", name="Billing & Controls").first.click()
    page.locator("#topup-form").get_by_label("Amount").fill("1")
    page.get_by_role("button", name="Top up").click()
    expect(operator.main.get_by_text("The top-up is booked.")).to_be_visible()
    assert call(own_gateway, key).status_code == 200
    operator.go(f"/gateway/usage?customer_id={customer_id}")
    expect(operator.main.get_by_text("has used up its cap")).to_have_count(0)

    # The key is replaced: both work for an hour, and then the new one.
    page.get_by_role("link", name="Keys", exact=True).click()
    page.get_by_role("link", name="Rotate", exact=True).click()
    page.get_by_label("Overlap").select_option("3600")
    page.get_by_role("button", name="Rotate this key").click()
    new_key = page.get_by_role("region", name="Key", exact=True).inner_text()
    assert [call(own_gateway, one).status_code for one in (key, new_key)] == [200, 200]
    own_gateway.rows(
        "update kaixu.virtual_key set expires_at = now() where customer_id = $1 and expires_at is not null",
        customer_id,
    )
    assert [call(own_gateway, one).status_code for one in (key, new_key)] == [401, 200]
    page.get_by_role("link", name="Keys of this customer").click()
    listed = sum(
        Decimal(one.get_attribute("value") or "")
        for one in operator.page.locator("#keys td[data-label=Spent] data").all()
    )
    assert listed >= dollars(spent(own_gateway, customer_id))  # keys of one chain share their sum

    move_a_month_back(own_gateway, customer_id)
    assert_the_month_agrees(operator, own_gateway, customer_id, new_key)


def assert_the_month_agrees(operator: Visitor, gateway: Gateway, customer_id: int, key: str) -> None:
    """Close the month, and compare pages, twins, files, the invoice and its PDF with the sum in the database."""
    page = operator.page
    nano = spent(gateway, customer_id)
    month = gateway.ask("GET", "admin-month-close")["month"]

    operator.go(f"/gateway/usage?customer_id={customer_id}&month={month}")
    assert stat(operator.main, "Spent") == dollars(nano)
    twin = page.request.get(f"{gateway.url}/gateway/usage.json?customer_id={customer_id}&month={month}").json()
    assert Decimal(twin["rollup"]["spent_usd"]) == dollars(nano)
    assert sum(Decimal(one["cost_usd"]) for one in twin["events"]) == dollars(nano)
    usage = gateway.ask("GET", "admin-usage", customer_id=customer_id, month=month)
    assert (Decimal(usage["rollup"]["spent_usd"]), usage["rollup"]["calls"]) == (dollars(nano), len(twin["events"]))
    now = gateway.ask("GET", "admin-usage", customer_id=customer_id)
    assert Decimal(now["rollup"]["spent_usd"]) == 0
    assert now["events"] == []
    explained = [gateway.ask("GET", "admin-explain", event=one["id"])["charges"][0] for one in usage["events"]]
    assert sum(one["billed_nusd"] for one in explained) == nano

    # The month is closed.
    page.get_by_role("link", name="Billing & Controls").first.click()
    page.get_by_role("link", name="Month close", exact=True).first.click()
    row = page.locator("#close tbody tr").filter(has_text="first@day.example")
    assert Decimal(row.locator("td[data-label=Spent] data").get_attribute("value") or "") == dollars(nano)
    row.locator(".row-link").click()
    page.get_by_role("dialog").get_by_role("link", name="Finalise").click()
    page.get_by_role("button", name="Finalise the invoice").click()
    expect(operator.main.get_by_text("The invoice is issued.")).to_be_visible()
    number = page.locator("h1").inner_text().removeprefix("Invoice ")
    invoice = gateway.ask("GET", "admin-invoices", number=number)
    amounts = invoice["snapshot"]["amounts"]
    assert Decimal(amounts["net_usd"]) == dollars(nano)
    assert sum(Decimal(line["amount_usd"]) for line in invoice["snapshot"]["lines"]) == dollars(nano)
    net = (dollars(nano) + Decimal("0.005")).quantize(Decimal("0.01"), rounding="ROUND_DOWN")
    assert (amounts["net_cents"], stat(operator.main, "Net")) == (net * 100, net)
    total = Decimal(amounts["total_cents"]) / 100
    assert stat(operator.main, "Total") == total
    own = gateway.ask("GET", "user-invoices", token=key, month=month)
    assert (own["number"], own["snapshot"]["amounts"]) == (number, amounts)

    with page.expect_download() as download:
        operator.main.get_by_role("link", name="PDF").first.click()
    text = "\n".join(one.extract_text() for one in pypdf.PdfReader(download.value.path()).pages)
    for part in (number, f"{net}", f"{total}"):
        assert part in text, f"{part} is not in the PDF:\n{text}"

    # The files for bookkeeping.
    chosen = "events_columns=created_at,cost_usd"
    operator.go(f"/gateway/exports?customer_id={customer_id}&month={month}&{chosen}")
    rows = downloaded(operator, "Download Events CSV")
    assert sum(Decimal(one["cost_usd"]) for one in rows) == dollars(nano)
    assert len(rows) == len(explained)
    summary = downloaded(operator, "Download Summary CSV")
    assert [Decimal(one["spent_cents"]) for one in summary] == [net * 100]
    in_all, *keys = downloaded(operator, "Download Invoice CSV")
    assert Decimal(in_all["spent_cents"]) == sum(Decimal(one["spent_cents"]) for one in keys) == net * 100


def downloaded(operator: Visitor, name: str) -> list[dict[str, str]]:
    """The rows of a file, which says itself that it is whole."""
    with operator.page.expect_download() as download:
        operator.page.get_by_role("link", name=name).click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines.pop() == f"# rows: {len(lines) - 1}"
    return list(csv.DictReader(io.StringIO("\n".join(lines))))
