"""The Monitor: its live tail, its search, one event, pruning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from playwright.sync_api import Route, expect

from .conftest import Visit
from .gateway import Gateway

STREAM = "**/api/admin-monitor-stream*"


def report(gateway: Gateway, message: str, app: str = "") -> None:
    """Report an error of a client: it becomes an event."""
    gateway.ask("POST", "client-error-report", {"error": {"name": "Error", "message": message}, "client": {"app": app}})


def test_new_events_appear_by_themselves_as_text_and_wait_while_paused(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator").go("/gateway/monitor?kind=client_error")
    page = operator.page
    state, rows = page.locator("[data-tail-state]"), page.locator("#events tbody tr")
    expect(state).to_have_text("Live")
    attack = "<img src=x onerror=\"console.error('ran')\"><b>bold</b>"
    report(own_gateway, attack)
    expect(rows.first).to_contain_text(attack)
    expect(rows.first.locator("time")).to_have_attribute(
        "datetime", rows.first.locator("time").get_attribute("datetime") or ""
    )
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Paused")
    report(own_gateway, "while paused")
    expect(page.get_by_role("button", name="Show 1 new")).to_be_visible()
    expect(rows.first).to_contain_text(attack)
    page.get_by_role("button", name="Resume").click()
    expect(rows.first).to_contain_text("while paused")
    expect(page.locator("[data-tail-show]")).to_be_hidden()
    rows.nth(1).hover()
    expect(state).to_have_text("Paused while you read")
    report(own_gateway, "while reading")
    expect(page.get_by_role("button", name="Show 1 new")).to_be_visible()
    page.get_by_role("heading", name="Monitor").hover()
    expect(state).to_have_text("Live")
    expect(rows.first).to_contain_text("while reading")
    rows.first.locator(".row-link").click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="while reading")).to_be_visible()
    expect(drawer.get_by_text('"error_message": "while reading"')).to_be_visible()


def test_a_refused_stream_is_tried_again_and_misses_nothing(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator")

    def refuse(route: Route) -> None:
        route.fulfill(status=503, body="{}")

    with operator.expecting(503):
        operator.page.route(STREAM, refuse)
        operator.go("/gateway/monitor?kind=client_error")
        state = operator.page.locator("[data-tail-state]")
        expect(state).to_have_text("Reconnecting …")
        report(own_gateway, "meanwhile")
        operator.page.unroute(STREAM)
        expect(state).to_have_text("Live")
    expect(operator.page.locator("#events tbody tr").first).to_contain_text("meanwhile")


def test_a_tail_says_when_the_login_is_over(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator").go("/gateway/monitor")
    state = operator.page.locator("[data-tail-state]")
    expect(state).to_have_text("Live")
    own_gateway.rows("update kaixu.operator_session set revoked_at = now() where revoked_at is null")
    expect(state).to_contain_text("Ended: the login is over")
    expect(operator.page.get_by_role("link", name="Refresh")).to_be_visible()


def test_filters_hold_for_the_list_the_tail_the_twins_and_older_pages(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator").go("/gateway/monitor")
    page = operator.page
    with operator.swapped():
        page.get_by_label("Kind").select_option("slow")
    assert "kind=slow" in operator.path
    expect(page.locator("[data-tail-state]")).to_have_text("Live")
    expect(page.get_by_role("link", name="CSV")).to_have_attribute(
        "href", f"/gateway/monitor.csv?{operator.path.split('?')[1]}"
    )
    report(own_gateway, "is no slow call")
    with operator.swapped():
        page.get_by_label("Kind").select_option("client_error")
    expect(page.locator("#events tbody tr").first).to_contain_text("is no slow call")
    operator.go("/gateway/monitor")
    with operator.swapped():
        page.get_by_role("link", name="Next page").click()
    expect(page.get_by_text("Older events")).to_be_visible()
    expect(page.locator("live-tail")).to_have_count(0)
    page.get_by_role("link", name="Newest events, live").click()
    expect(page.locator("[data-tail-state]")).to_have_text("Live")
    operator.go("/gateway/monitor?kind=slow")
    page.locator("#events tbody .row-link").first.click()
    page.locator("#drawer").get_by_role("link", name="Function gateway-chat").click()
    expect(page.get_by_label("Function", exact=True)).to_have_value("gateway-chat")


def test_a_filter_that_cannot_be_applied_names_its_field(visit: Visit, gateway: Gateway) -> None:
    operator = visit(gateway, "operator").go("/gateway/monitor?from=yesterday&level=error", status=422)
    expect(operator.page.get_by_role("alert")).to_contain_text("From")
    expect(operator.page.get_by_label("Level")).to_have_value("error")
    operator.page.get_by_role("link", name="Remove the filters").click()
    expect(operator.page.locator("#events tbody tr").first).to_be_visible()


def test_the_list_and_its_search_work_without_scripts(visit: Visit, gateway: Gateway) -> None:
    operator = visit(gateway, "operator", scripts=False).go("/gateway/monitor")
    page = operator.page
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
    page.get_by_role("link", name="Refresh").click()
    page.get_by_label("Level").select_option("error")
    page.get_by_role("button", name="Search", exact=True).click()
    assert "level=error" in page.url
    page.locator("#events tbody .row-link").first.click()
    expect(page.get_by_role("heading", name="All fields")).to_be_visible()


def test_pruning_counts_first_and_is_for_those_who_may(visit: Visit, own_gateway: Gateway) -> None:
    days = (datetime.now(UTC) - own_gateway.value("select min(created_at) from kaixu.gateway_event")) // timedelta(
        days=2
    )
    older = own_gateway.ask("GET", "admin-monitor-prune", days=days)["would_delete"]
    assert older
    operator = visit(own_gateway, "operator").go("/gateway/monitor")
    page = operator.page
    page.get_by_role("link", name="Prune").click()
    page.get_by_label("Keep the last").fill(str(days))
    page.get_by_role("button", name="Count").click()
    page.get_by_role("button", name=f"Remove {older:,} events").click()
    expect(page.get_by_text(f"{older:,} events that were older than {days} days are removed.")).to_be_visible()
    page.get_by_role("link", name="Archive").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").first.click()
    assert download.value.suggested_filename.endswith(".ndjson")
    viewer = visit(own_gateway, "viewer").go("/gateway/monitor")
    expect(viewer.page.get_by_role("link", name="Prune")).to_have_count(0)
    viewer.go("/gateway/monitor/prune", status=403)


def test_an_event_that_was_pruned_is_not_found(visit: Visit, gateway: Gateway) -> None:
    operator = visit(gateway, "operator").go("/gateway/monitor/event?id=999999999", status=404)
    expect(operator.page.get_by_text("This event is not here any more")).to_be_visible()
    operator.go("/gateway/monitor/event?id=x", status=422)
