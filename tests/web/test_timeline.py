"""The timeline: changes with what was before and after, beside what the gateway noticed."""

from __future__ import annotations

from playwright.sync_api import expect

from .conftest import Visit
from .gateway import Gateway


def test_a_change_shows_its_difference_and_leads_to_its_object(visit: Visit, own_gateway: Gateway) -> None:
    one = own_gateway.seed.customers["northwind"]
    own_gateway.ask("PATCH", "admin-customers", {"plan_name": "special"}, customer_id=one.id)
    operator = visit(own_gateway, "operator").go("/gateway/timeline?source=audit")
    page = operator.page
    row = page.locator("#entries tbody tr").filter(has_text="CUSTOMER_UPDATE").first
    expect(row).to_contain_text("plan name")
    row.locator(".row-link").click()
    drawer = page.locator("#drawer")
    changed = drawer.get_by_role("row").filter(has_text="plan_name")
    expect(changed).to_contain_text("special")
    drawer.get_by_role("link", name=f"customer {one.id}", exact=True).first.focus()
    target = drawer.get_by_role("link", name=f"customer {one.id}", exact=True).first.get_attribute("href")
    assert target == f"/gateway/billing?customer_id={one.id}"
    drawer.get_by_role("link", name="Action CUSTOMER_UPDATE").click()
    expect(page.get_by_label("Action")).to_have_value("CUSTOMER_UPDATE")


def test_filters_and_pages_of_the_timeline(visit: Visit, gateway: Gateway) -> None:
    operator = visit(gateway, "operator").go("/gateway/timeline")
    page = operator.page
    with operator.swapped():
        page.get_by_label("Source").select_option("gateway")
    expect(page.locator("#entries tbody")).not_to_contain_text("CUSTOMER_CREATE")
    first = page.locator("#entries tbody tr").first.get_attribute("id")
    with operator.swapped():
        page.get_by_role("link", name="Next page").click()
    assert page.locator("#entries tbody tr").first.get_attribute("id") != first
    operator.go("/gateway/timeline?to=never", status=422)
    expect(page.get_by_role("alert")).to_contain_text("To")
    operator.go("/gateway/timeline/entry?id=999999999", status=404)


def test_the_timeline_works_without_scripts(visit: Visit, gateway: Gateway) -> None:
    page = visit(gateway, "operator", scripts=False).go("/gateway/timeline").page
    page.get_by_label("Source").select_option("audit")
    page.get_by_role("button", name="Filter").click()
    page.locator("#entries tbody .row-link").first.click()
    expect(page.get_by_role("heading", name="All fields")).to_be_visible()
