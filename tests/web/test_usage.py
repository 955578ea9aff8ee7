"""The tab of usage and the page of one call."""

from __future__ import annotations

from playwright.sync_api import expect

from .browser import PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway
from .visiting import customer_of


def test_usage_agrees_with_the_api_and_its_twins(operator: Visitor, gateway: Gateway) -> None:
    one = customer_of(gateway)
    operator.go(f"/gateway/usage?customer_id={one.id}")
    usage = gateway.ask("GET", "admin-usage", customer_id=one.id, limit=50)
    spent = operator.main.locator(".stat", has_text="Spent").locator("data")
    assert spent.get_attribute("value") == usage["rollup"]["spent_usd"]
    assert operator.main.locator("#usage-calls tbody tr").count() == len(usage["events"])
    twin = operator.page.request.get(f"{gateway.url}/gateway/usage.json?customer_id={one.id}").json()
    assert [event["id"] for event in twin["events"]] == [event["id"] for event in usage["events"]]
    calls = operator.page.request.get(f"{gateway.url}/gateway/usage.csv?customer_id={one.id}").text().splitlines()
    assert calls[0].startswith("created_at,api_key_id,provider,model")
    assert calls[-1] == f"# rows: {usage['rollup']['calls']}"


def test_a_call_opens_beside_the_list_and_its_charge_adds_up(operator: Visitor, gateway: Gateway) -> None:
    operator.go(f"/gateway/usage?customer_id={customer_of(gateway).id}")
    with operator.swapped():
        operator.main.locator("#usage-calls tbody a").first.click()
    drawer = operator.page.get_by_role("dialog")
    expect(drawer.get_by_text("adds up")).to_be_visible()
    expect(drawer.get_by_text("Tokens × rate", exact=True)).to_be_visible()
    operator.press("Escape")
    expect(drawer).to_be_hidden()


def test_usage_is_filtered_and_paged_without_scripts(visit: Visit, gateway: Gateway) -> None:
    one = customer_of(gateway)
    visitor = visit(gateway, "operator", width=PHONE, scripts=False).go(f"/gateway/usage?customer_id={one.id}")
    visitor.page.get_by_label("How it ended").select_option("complete")
    visitor.page.get_by_role("button", name="Load usage").click()
    assert "end=complete" in visitor.path
    ended = visitor.main.locator("#usage-calls tbody .badge").all_inner_texts()
    assert set(ended) == {"complete"}
    visitor.go(f"/gateway/call?event={gateway.seed.names['request']}")
    visitor.main.get_by_text("admitted", exact=True).first.wait_for()
    visitor.main.get_by_text("settled", exact=True).first.wait_for()


def test_a_time_chooses_the_calls_and_the_chart_and_not_the_cards(operator: Visitor, gateway: Gateway) -> None:
    one = customer_of(gateway)
    operator.go(f"/gateway/usage?customer_id={one.id}&from=now-40d&to=now-10d")
    asked = {"from": "now-40d", "to": "now-10d"}
    usage = gateway.ask("GET", "admin-usage", customer_id=one.id, limit=50, **asked)
    assert usage["events"]
    chart = gateway.ask("GET", "admin-usage-chart", customer_id=one.id, by="model", **asked)
    assert operator.main.locator("#usage-calls tbody tr").count() == len(usage["events"])
    expect(operator.page.get_by_label("From")).to_have_value("now-40d")
    expect(operator.main.locator("#usage-chart")).to_be_visible()
    assert sum(row["calls"] for row in chart["rows"]) >= len(usage["events"])
    calls = operator.page.request.get(f"{gateway.url}{operator.path.replace('usage?', 'usage.csv?')}").text()
    assert int(calls.splitlines()[-1].removeprefix("# rows: ").split()[0]) >= len(usage["events"])
    month = gateway.ask("GET", "admin-usage", customer_id=one.id)
    spent = operator.main.locator(".stat", has_text="Spent").locator("data")
    assert spent.get_attribute("value") == month["rollup"]["spent_usd"]
    operator.go(f"/gateway/usage?customer_id={one.id}&from=yesterday", status=422)


def test_a_refused_call_has_a_page_without_a_charge(operator: Visitor, gateway: Gateway) -> None:
    refused = gateway.value("select request_id from kaixu.gateway_event where http_status = 402 limit 1")
    operator.go(f"/gateway/call?event={refused}")
    expect(operator.main.get_by_text("This request was not billed")).to_be_visible()
    expect(operator.main.get_by_text("402 CAP_REACHED")).to_be_visible()
    operator.go("/gateway/call?event=nobody-has-this-id", status=404)


def test_without_a_customer_those_who_spend_are_shown_and_selected(operator: Visitor) -> None:
    operator.go("/gateway/usage")
    row = operator.main.locator("#usage-top tbody a").first
    name = row.inner_text()
    row.click()
    expect(operator.main.get_by_role("heading", name="Usage")).to_be_visible()
    expect(operator.page.locator(".page-title .subtitle")).to_contain_text(name)
