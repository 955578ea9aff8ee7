"""Exports and invoices: downloads with the session, columns, commands for scripts, and the list of invoices."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, expect

from .browser import Visitor
from .conftest import Visit
from .gateway import Gateway


def downloaded(operator: Visitor, link: Locator) -> tuple[str, list[str]]:
    """The name and the lines of a file."""
    with operator.page.expect_download() as download:
        link.click()
    return download.value.suggested_filename, Path(download.value.path()).read_text().splitlines()


def test_the_three_files_of_a_customer_are_whole(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    calls = gateway.ask("GET", "admin-usage", customer_id=one.id)["rollup"]["calls"]
    operator = visit(gateway, "operator").go(f"/gateway/exports?customer_id={one.id}")
    page = operator.page
    name, lines = downloaded(operator, page.get_by_role("link", name="Download Events CSV"))
    assert name.startswith("kaixu-admin-events-")
    assert f"customer{one.id}" in name
    assert lines[0].startswith("created_at,api_key_id,provider,model")
    assert lines[-1] == f"# rows: {calls}"
    assert len(lines) == calls + 2
    expect(page.get_by_text(f"{calls:,}", exact=True)).to_be_visible()
    for kind, first in (("Summary", "month,customer_id"), ("Invoice", "type,api_key_id")):
        name, lines = downloaded(operator, page.get_by_role("link", name=f"Download {kind} CSV"))
        assert name.startswith(f"kaixu-admin-{kind.lower()}-")
        assert lines[0].startswith(first)
        assert lines[-1].startswith("# rows: ")


def test_columns_are_chosen_and_kept_with_the_other_choices(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    key = one.keys["master"].id
    operator = visit(gateway, "operator", scripts=False).go(f"/gateway/exports?customer_id={one.id}&api_key_id={key}")
    page = operator.page
    page.get_by_role("link", name="Choose columns").first.click()
    page.get_by_label("cost usd", exact=True).check()
    page.get_by_label("install id").uncheck()
    page.get_by_role("button", name="Use these columns").click()
    assert f"api_key_id={key}" in page.url
    expect(page.get_by_text("8 chosen")).to_be_visible()
    name, lines = downloaded(operator, page.get_by_role("link", name="Download Events CSV"))
    assert f"-key{key}" in name
    assert lines[0] == "created_at,api_key_id,provider,model,input_tokens,output_tokens,cost_cents,cost_usd"


def test_all_customers_have_two_files_and_a_script_has_its_command(visit: Visit, gateway: Gateway) -> None:
    operator = visit(gateway, "operator").go("/gateway/exports")
    page = operator.page
    expect(page.get_by_role("link", name="Download Invoice CSV")).to_have_count(0)
    name, lines = downloaded(operator, page.get_by_role("link", name="Download Summary CSV"))
    assert name.endswith("-all.csv")
    assert lines[-1] == f"# rows: {len(lines) - 2}"
    expect(page.locator("main figure code").filter(has_text='-H "authorization: Bearer $KAIXU_TOKEN"')).to_be_visible()
    expect(page.get_by_text("ADMIN_PASSWORD_HEADER=true accepts it again")).to_be_visible()
    operator.go("/gateway/exports?month=2026-1", status=422)
    operator.go("/gateway/exports/columns?type=else", status=422)


def test_an_issued_invoice_is_in_the_list_with_its_pdf(visit: Visit, own_gateway: Gateway) -> None:
    [one] = own_gateway.rows(
        "select customer_id, to_char(month, 'YYYY-MM') as month from kaixu.customer_month"
        " where month < date_trunc('month', now() - interval '20 days') and spent_nusd > 0 limit 1"
    )
    number = own_gateway.ask("POST", "admin-invoice-finalize", one)["number"]
    operator = visit(own_gateway, "operator").go("/gateway/exports")
    row = operator.page.locator("#invoices tbody tr").filter(has_text=number)
    expect(row).to_contain_text("final")
    with operator.page.expect_download() as download:
        row.get_by_role("link", name="PDF").click()
    assert download.value.suggested_filename == f"{number.replace('/', '-')}.pdf"
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    with operator.swapped():
        operator.page.get_by_label("Status").select_option("void")
    expect(operator.page.locator("#invoices")).not_to_contain_text(number)
