"""The overview: its figures are the API's, and everything on it leads somewhere."""

from __future__ import annotations

from playwright.sync_api import expect

from kaixu.web.formats import money

from .conftest import Visit
from .gateway import Gateway


def test_figures_are_those_of_the_api_and_lead_to_their_view(visit: Visit, gateway: Gateway) -> None:
    figures = gateway.ask("GET", "admin-overview")
    operator = visit(gateway, "operator").go("/gateway")
    page = operator.page
    stats = page.locator(".stat")
    expect(stats.filter(has_text="Revenue,")).to_contain_text(money(figures["month"]["spent_usd"]))
    expect(stats.filter(has_text="Calls,")).to_contain_text(f"{figures['month']['calls']:,}")
    expect(stats.filter(has_text="Errors,").get_by_role("link")).to_have_attribute(
        "href", "/gateway/monitor?level=error&from=" + figures["month"]["from"].replace(":", "%3A")
    )
    best = figures["top_customers"][0]
    row = page.locator("#top-customers tbody tr").first
    expect(row).to_contain_text(best["email"])
    expect(row).to_contain_text(money(best["spent_usd"]))
    expect(page.locator("#top-models tbody tr").first).to_contain_text(figures["top_models"][0]["model"])
    expect(page.locator("#attention tbody tr")).to_have_count(len(figures["attention"]["items"]))
    for view in ("7 days", "Compare", "Month to date"):
        page.get_by_role("link", name=view).click()
        expect(page.locator("figure.chart svg").first).to_be_visible()
    page.get_by_role("link", name="Errors today").click()
    expect(page.get_by_label("Level")).to_have_value("error")


def test_the_live_strip_shows_what_happens_and_stays_short(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator", width=390).go("/gateway")
    page = operator.page
    expect(page.locator("[data-tail-state]")).to_have_text("Live")
    rows = page.locator("#live-events tbody tr")
    count = rows.count()
    for at in range(3):
        own_gateway.ask("POST", "client-error-report", {"error": {"message": f"report {at}"}})
        expect(rows.filter(has_text=f"report {at}")).to_have_count(1)  # an alert may come after it
    assert rows.count() == count


def test_without_any_call_the_first_three_steps_are_taught(visit: Visit, own_gateway: Gateway) -> None:
    for table in ("usage_change", "usage_quarter", "usage_day", "customer_month"):
        own_gateway.rows(f"truncate kaixu.{table} cascade")
    operator = visit(own_gateway, "operator").go("/gateway")
    steps = operator.page.locator("#first-steps tbody tr")
    expect(steps).to_have_count(3)
    expect(steps.nth(0)).to_contain_text("done")
    expect(steps.nth(1)).to_contain_text("done")
    expect(steps.nth(2)).to_contain_text("to do")
    expect(operator.page.locator("main figure code").filter(has_text="/api/gateway-chat")).to_be_visible()
    steps.nth(1).get_by_role("link", name="Keys").click()
    expect(operator.page.get_by_role("heading", name="Keys", level=1)).to_be_visible()


def test_a_viewer_sees_the_overview_and_a_stranger_the_login(visit: Visit, gateway: Gateway) -> None:
    visit(gateway, "viewer").go("/gateway")
    stranger = visit(gateway, "public").go("/gateway")
    assert stranger.path.startswith("/gateway/login")
