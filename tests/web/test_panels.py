"""Panels of an integration in a browser: every kind of part, actions, and panels that do what they should not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import SEEDED, Visit
from .gateway import Gateway, config_of, copy_of, running
from .page_checks import check_everything
from .pages import PageState
from .seed import Seed
from .vendor import PageVendor

COURIER = f"""
integrations:
  courier:
    plugin: {Path(__file__).with_name("courier")}/__init__.py
    price: {{scan: 0.00001}}
"""
ADMIN, DASHBOARD = "/gateway/integrations/courier", "/gateway/dashboard/integrations/courier"


@pytest.fixture(scope="module")
def courier(
    server_dsn: str, seed: Seed, vendor: PageVendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway whose integration has panels; each test has parcels of names of its own."""
    with (
        copy_of(server_dsn, SEEDED) as dsn,
        running(tmp_path_factory.mktemp("courier"), dsn, config_of(vendor.url) + COURIER, seed) as gateway,
    ):
        yield gateway


@pytest.fixture
def customer_id(courier: Gateway) -> int:
    """The main customer."""
    return courier.seed.customers["northwind"].id


def parcel(gateway: Gateway, customer_id: int, name: str) -> int:
    """A parcel."""
    sql = "insert into kaixu_courier.parcel (customer_id, name, bytes) values ($1, $2, 1234567) returning id"
    return int(gateway.value(sql, customer_id, name))


def test_a_page_with_every_part_is_accessible_fits_and_reads_as_before(
    visit: Visit, courier: Gateway, customer_id: int
) -> None:
    parcel(courier, customer_id, "a violin")
    for role, path in (
        ("operator", f"{ADMIN}/courier?customer_id={customer_id}"),
        ("customer", f"{DASHBOARD}/courier"),
    ):
        visitor = visit(courier, role).go(path)
        check_everything(visitor, PageState(f"panels-{role}", path))
        assert visit(courier, role, scripts=False).go(path).main.inner_text().count("The courier is connected.") == 1


def test_it_is_a_tab_of_the_navigation_for_whoever_has_it(visit: Visit, courier: Gateway) -> None:
    operator = visit(courier, "operator").go("/gateway")
    operator.page.get_by_role("navigation", name="Main").get_by_role("link", name="Courier").click()
    expect(operator.page.get_by_role("heading", name="Courier", exact=True, level=1)).to_be_visible()
    expect(operator.page.get_by_role("link", name="Courier")).to_have_attribute("aria-current", "page")
    expect(operator.main.get_by_text("This is about one customer.").first).to_be_visible()
    customer = visit(courier, "customer").go("/gateway/dashboard.html")
    customer.page.get_by_role("navigation", name="Main").get_by_role("link", name="Courier").click()
    expect(customer.main.get_by_text("The courier is connected.")).to_be_visible()
    # In tabs of the gateway, the card says whose it is.
    customer.go("/gateway/dashboard.html")
    expect(customer.page.locator("#panel-courier-postage")).to_contain_text("courier")
    for path in ("/gateway/billing", "/gateway/customer"):
        operator.go(f"{path}?customer_id={courier.seed.customers['northwind'].id}")
        expect(operator.main.get_by_text(f"number {courier.seed.customers['northwind'].id}")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_a_form_runs_its_operation_as_whoever_has_sent_it(
    visit: Visit, courier: Gateway, customer_id: int, scripts: bool
) -> None:
    name = f"form {scripts}"
    customer = visit(courier, "customer", scripts=scripts).go(f"{DASHBOARD}/courier")
    customer.page.get_by_label("Name").last.fill(name)
    customer.page.get_by_label("Size").fill("5000")
    customer.page.get_by_label("Fragile").check()
    customer.page.get_by_label("Tags").fill("red\n\nblue")
    customer.page.get_by_role("button", name="Send a parcel").click()
    expect(customer.main.get_by_text("Done.")).to_be_visible()
    sql = "select customer_id, name, bytes, state from kaixu_courier.parcel where name like $1"
    expected = {"customer_id": customer_id, "name": f"{name}, red, blue", "bytes": 5000, "state": "fragile"}
    assert courier.rows(sql, f"{name}%") == [expected]
    assert customer.path.startswith(f"{DASHBOARD}/courier?")


def test_what_is_refused_is_told_at_its_field_with_what_was_given(visit: Visit, courier: Gateway) -> None:
    customer = visit(courier, "customer").go(f"{DASHBOARD}/courier")
    customer.page.get_by_label("Name").last.fill("refused")
    customer.page.get_by_label("Tags").fill("kept")
    with customer.expecting(422):
        customer.page.get_by_role("button", name="Send a parcel").click()
        expect(customer.main.get_by_text("This name is taken. Use another one.").first).to_be_visible()
    expect(customer.page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect(customer.page.get_by_label("Tags")).to_have_value("kept")
    customer.page.get_by_label("Name").fill("away")
    with customer.expecting(409):
        customer.page.get_by_role("button", name="Send a parcel").click()
        expect(customer.main.get_by_text("The courier is away.")).to_be_visible()
    customer.page.get_by_label("Name").fill("5 sizes")
    customer.page.get_by_label("Size").evaluate("one => { one.type = 'text'; one.value = 'many' }")
    with customer.expecting(422):
        customer.page.get_by_role("button", name="Send a parcel").click()
        expect(customer.page.get_by_label("Size")).to_have_attribute("aria-invalid", "true")


def test_an_action_asks_first_and_a_form_is_filled_from_its_row(
    visit: Visit, courier: Gateway, customer_id: int
) -> None:
    other = courier.seed.customers["halden"].id
    number, others = parcel(courier, customer_id, "to be dropped"), parcel(courier, other, "to be dropped")
    operator = visit(courier, "operator").go(
        f"{ADMIN}/courier?customer_id={customer_id}&parcels.name=to+be+dropped&month=2026-10"
    )
    row = operator.page.get_by_role("row").filter(has_text="to be dropped")
    row.get_by_role("link", name="Rename").click()
    expect(operator.page.get_by_label("New name")).to_have_value("to be dropped")
    operator.page.get_by_label("New name").fill("to be dropped soon")
    operator.tab_to("Rename").press("Enter")
    expect(operator.main.get_by_text("Done.")).to_be_visible()
    assert "month=2026-10" in operator.path
    operator.page.get_by_role("row").filter(has_text="soon").get_by_role("link", name="Drop").click()
    expect(operator.main.get_by_text("to be dropped soon is thrown away.")).to_be_visible()
    gone = "select count(*) from kaixu_courier.parcel where id = $1"
    assert courier.value(gone, number) == 1
    operator.page.get_by_role("button", name="Drop").click()
    expect(operator.main.get_by_text("Done.")).to_be_visible()
    assert (courier.value(gone, number), courier.value(gone, others)) == (0, 1)
    audited = "select target from kaixu.audit_event where meta ->> 'operation' = 'courier.admin-drop'"
    assert courier.rows(audited) == [{"target": f"customer:{customer_id}"}]


def test_what_is_not_there_any_more_is_told(visit: Visit, courier: Gateway, customer_id: int) -> None:
    number = parcel(courier, customer_id, "vanishes")
    operator = visit(courier, "operator").go(f"{ADMIN}/courier?customer_id={customer_id}&parcels.name=vanishes")
    courier.rows("delete from kaixu_courier.parcel where id = $1", number)
    with operator.expecting(404):
        operator.page.get_by_role("row").filter(has_text="vanishes").get_by_role("link", name="Drop").click()
        expect(operator.main.get_by_text("This is not offered any more.")).to_be_visible()


def test_roles_decide_what_is_offered_and_what_runs(visit: Visit, courier: Gateway, customer_id: int) -> None:
    parcel(courier, customer_id, "for roles")
    viewer = visit(courier, "viewer").go(f"{ADMIN}/courier?customer_id={customer_id}")
    expect(viewer.main.get_by_text("The courier is connected.")).to_be_visible()
    assert viewer.page.get_by_role("button", name="Send a parcel").count() == 0
    assert viewer.page.get_by_role("link", name="Drop").count() == 0
    viewer.page.get_by_role("button", name="Greet").click()  # it only reads
    expect(viewer.main.get_by_text("Hello operator, you are viewer.")).to_be_visible()
    # A form of one's own making runs nothing that the role may not, and nothing for operators.
    token = (
        viewer.go(f"{ADMIN}/courier?customer_id={customer_id}").page.locator("[name=form_token]").first.input_value()
    )
    for operation, status in (("courier.admin-add", 404), ("courier.own-add", 404), ("other.thing", 404)):
        answer = viewer.page.request.post(
            f"{courier.url}{ADMIN}/action/parcels?customer_id={customer_id}",
            form={"form_token": token, "operation": operation, "v.name": "by a viewer"},
            headers={"sec-fetch-site": "same-origin"},
        )
        assert answer.status == status, operation
    for form, site in (({"form_token": "00"}, "same-origin"), ({"form_token": token}, "cross-site")):
        answer = viewer.page.request.post(
            f"{courier.url}{ADMIN}/action/parcels",
            form={**form, "operation": "courier.admin-greet"},
            headers={"sec-fetch-site": site},
        )
        assert answer.status == 403
    assert courier.value("select count(*) from kaixu_courier.parcel where name = 'by a viewer'") == 0


def test_what_an_operation_answers_is_shown(visit: Visit, courier: Gateway) -> None:
    customer = visit(courier, "customer").go(f"{DASHBOARD}/courier")
    customer.page.get_by_role("button", name="Connect").click()
    way = customer.main.get_by_role("link", name="Go on to courier.example")
    expect(way).to_have_attribute("href", "https://courier.example/authorize?state=1")
    customer.go(f"{DASHBOARD}/courier")
    with customer.page.expect_download() as download:
        customer.page.get_by_role("button", name="Print a label").click()
    assert download.value.suggested_filename == "label.pdf"


def test_a_panel_is_read_again_and_a_filter_replaces_only_its_own(
    visit: Visit, courier: Gateway, customer_id: int
) -> None:
    parcel(courier, customer_id, "needle")
    operator = visit(courier, "operator").go(f"{ADMIN}/courier?customer_id={customer_id}")
    with operator.page.expect_response(lambda one: "/panel/about-the-customer" in one.url, timeout=20_000):
        pass  # by itself, after five seconds
    with operator.page.expect_response(lambda one: "/panel/about-the-customer" in one.url, timeout=20_000):
        pass
    expect(operator.page.locator("#panel-courier-about-the-customer")).to_contain_text(f"number {customer_id}")
    operator.page.get_by_label("Name").first.fill("needle")
    with operator.swapped():
        operator.press("Enter")
    assert "parcels.name=needle" in operator.path
    expect(operator.page.locator("#panel-courier-parcels table[role=table] tbody tr")).to_have_count(1)


def test_a_customer_sees_their_own_whatever_the_address_says(visit: Visit, courier: Gateway, customer_id: int) -> None:
    parcel(courier, courier.seed.customers["halden"].id, "of halden")
    halden = courier.seed.customers["halden"].id
    customer = visit(courier, "customer").go(f"{DASHBOARD}/courier?customer_id={halden}&parcels.name=of+halden")
    expect(customer.main.get_by_text("No parcels yet.")).to_be_visible()
    customer.go(f"/gateway/dashboard.html?customer_id={halden}")
    expect(customer.page.locator("#panel-courier-postage")).to_contain_text(f"number {customer_id}")


def test_hostile_panels_stay_text_and_stay_alone(visit: Visit, courier: Gateway) -> None:
    before = courier.value("select count(*) from kaixu_courier.parcel where name = 'written'")
    operator = visit(courier, "operator").go(f"{ADMIN}/hostile")
    cards = operator.page.locator("section.card")
    expect(cards).to_have_count(8)
    values = operator.page.locator("#panel-courier-values")
    assert values.locator("img, script, iframe").count() == 0
    assert values.get_by_text('"><img src=x').count() > 3
    addresses = values.locator("a").evaluate_all("links => links.map(one => one.getAttribute('href'))")
    assert [one for one in addresses if one and not one.startswith("/gateway/integrations/courier/")] == []
    assert values.locator("tbody tr").count() == 50
    expect(values).to_contain_text("further rows are left out")
    assert len(values.inner_text()) < 50_000
    sentences = {
        "writes": "Courier: Writes failed.",
        "writes-in-a-query": "Courier: Writes in a query failed.",
        "never-ends": "Courier: Never ends took longer than 0.2 s.",
        "wrong": "a table with 2 columns has a row with 1 cells",
        "mixed-up": "takes a key",
        "no-upload": "operation `courier.admin-add` takes no file",
        "no-file": "operation `courier.admin-scan` takes a file: use File",
    }
    for name, sentence in sentences.items():
        expect(operator.page.locator(f"#panel-courier-{name}")).to_contain_text(sentence)
    assert courier.value("select count(*) from kaixu_courier.parcel where name = 'written'") == before
    values.get_by_role("link", name="Next page").click()
    expect(operator.page.locator("#panel-courier-values tbody tr").first).to_contain_text("row 47")
