"""What integrations store of a customer, in the admin page: settings and secrets, seen, changed, never told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from .conftest import SEEDED, Visit
from .gateway import Gateway, config_of, copy_of, running
from .page_checks import check_everything
from .pages import PageState
from .seed import Seed
from .test_panels import COURIER
from .vendor import PageVendor

PAGE = "/gateway/customer/integrations"
TOKEN = "courier-token-0123456789"


@pytest.fixture(scope="module")
def courier(
    server_dsn: str, seed: Seed, vendor: PageVendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway whose integration has settings and secrets of customers; each test has a customer of its own."""
    with (
        copy_of(server_dsn, SEEDED) as dsn,
        running(tmp_path_factory.mktemp("courier"), dsn, config_of(vendor.url) + COURIER, seed) as gateway,
    ):
        yield gateway


def stored(gateway: Gateway, customer_id: int) -> Any:
    """What is stored of a customer's settings."""
    return gateway.value("select settings from kaixu.integration_setting where customer_id = $1", customer_id)


def test_the_page_is_accessible_and_reached_from_the_customer(visit: Visit, courier: Gateway) -> None:
    one = courier.seed.customers["northwind"]
    operator = visit(courier, "operator").go(f"/gateway/customer?customer_id={one.id}")
    operator.page.get_by_role("link", name="Integrations", exact=True).click()
    expect(operator.page.get_by_role("heading", level=1)).to_contain_text("Integrations of")
    check_everything(operator, PageState("customer-integrations", PAGE))


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_settings_are_changed_and_given_their_defaults(visit: Visit, courier: Gateway, scripts: bool) -> None:
    one = courier.seed.customers["halden" if scripts else "osprey"].id
    operator = visit(courier, "operator", scripts=scripts).go(f"{PAGE}?customer_id={one}")
    page = operator.page
    page.get_by_label("Monthly cap").fill("700")
    page.get_by_label("Depot").select_option("south")
    page.get_by_label("Is insured").check()
    page.get_by_label("Towns").fill("Berlin\n\n Bonn ")
    page.get_by_label("Contact").fill("Ada")
    page.get_by_label("Hours").fill('{"monday": 8}')
    page.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("The settings are saved")).to_be_visible()
    expected = {"cap_cents": 700, "depot": "south", "is_insured": True, "towns": ["Berlin", "Bonn"], "contact": "Ada",
                "hours": {"monday": 8}}  # fmt: skip
    shown = courier.ask("GET", "admin-integration-settings", customer_id=one)["integrations"][0]
    assert {name: shown["settings"][name] for name in shown["own"]} == expected
    page.get_by_label("Contact").fill("")
    page.get_by_label("Is insured").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("The settings are saved")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("Nothing was changed.")).to_be_visible()
    page.get_by_role("row").filter(has_text="Monthly cap").get_by_role("button", name="Use the default").click()
    expect(operator.main.get_by_text("The default holds again.")).to_be_visible()
    shown = courier.ask("GET", "admin-integration-settings", customer_id=one)["integrations"][0]
    assert (shown["settings"]["cap_cents"], shown["settings"]["contact"]) == (5000, None)
    assert "cap_cents" not in shown["own"]
    audited = (
        "select count(*) from kaixu.audit_event where target = $1 and before is not null and actor not like 'integ%'"
    )
    assert courier.value(audited, f"customer:{one}") >= 3


def test_a_value_that_is_not_possible_is_told_at_its_field(visit: Visit, courier: Gateway) -> None:
    one = courier.seed.customers["kestrel"].id
    operator = visit(courier, "operator").go(f"{PAGE}?customer_id={one}")
    operator.page.get_by_label("Monthly cap").fill("-5")
    operator.page.get_by_label("Contact").fill("kept")
    with operator.expecting(422):
        operator.page.get_by_role("button", name="Save").click()
        expect(operator.page.get_by_label("Monthly cap")).to_have_attribute("aria-invalid", "true")
    expect(operator.page.get_by_label("Contact")).to_have_value("kept")
    operator.page.get_by_label("Monthly cap").fill("5")
    operator.page.get_by_label("Hours").fill("{")
    with operator.expecting(422):
        operator.page.get_by_role("button", name="Save").click()
        expect(operator.page.get_by_label("Hours")).to_have_attribute("aria-invalid", "true")
    assert stored(courier, one) is None


def test_a_secret_is_set_and_cleared_and_never_shown(visit: Visit, courier: Gateway) -> None:
    one = courier.seed.customers["brightleaf"].id
    operator = visit(courier, "operator").go(f"{PAGE}?customer_id={one}")
    row = operator.page.get_by_role("row").filter(has_text="Courier token")
    row.get_by_role("link", name="Set").click()
    with operator.expecting(422):
        operator.page.get_by_label("Value").evaluate("one => { one.required = false }")
        operator.page.get_by_role("button", name="Store it").click()
        expect(operator.page.get_by_label("Value")).to_have_attribute("aria-invalid", "true")
    operator.page.get_by_label("Value").fill(TOKEN)
    operator.page.get_by_role("button", name="Store it").click()
    expect(operator.main.get_by_text("The secret is stored, encrypted.")).to_be_visible()
    expect(row).to_contain_text("set")
    assert TOKEN not in operator.page.content()
    assert courier.value("select count(*) from kaixu.integration_secret where customer_id = $1", one) == 1
    row.get_by_role("link", name="Clear").click()
    expect(operator.main.get_by_text("cannot act for")).to_be_visible()
    operator.page.get_by_role("button", name="Clear it").click()
    expect(operator.main.get_by_text("The secret is removed.")).to_be_visible()
    assert courier.value("select count(*) from kaixu.integration_secret where customer_id = $1", one) == 0


def test_a_viewer_sees_and_changes_nothing(visit: Visit, courier: Gateway) -> None:
    one = courier.seed.customers["tidewater"].id
    viewer = visit(courier, "viewer").go(f"{PAGE}?customer_id={one}")
    expect(viewer.main.get_by_text("Monthly cap")).to_be_visible()
    assert viewer.page.get_by_role("button", name="Save").count() == 0
    assert viewer.page.get_by_role("link", name="Set").count() == 0
    token = viewer.page.locator("[name=form_token]").first.input_value()
    viewer.go(f"{PAGE}/secret?customer_id={one}&integration=courier&name=token", status=403)
    answer = viewer.page.request.post(
        f"{courier.url}{PAGE}?customer_id={one}",
        form={"form_token": token, "integration": "courier", "settings.cap_cents": "1"},
        headers={"sec-fetch-site": "same-origin"},
    )
    assert answer.status == 403
    assert stored(courier, one) is None


def test_customers_change_what_is_left_to_them(visit: Visit, courier: Gateway) -> None:
    one = courier.seed.customers["northwind"]
    customer = visit(courier, "customer").go("/gateway/dashboard.html")
    customer.page.get_by_role("navigation", name="Main").get_by_role("link", name="Settings of integrations").click()
    expect(customer.page.get_by_role("heading", name="Settings of integrations", level=1)).to_be_visible()
    check_everything(customer, PageState("own-integrations", "/gateway/dashboard/integrations"))
    assert customer.page.get_by_label("Monthly cap").count() == 0
    assert customer.page.get_by_role("row").filter(has_text="PIN of the gate").count() == 0
    customer.page.get_by_label("Contact").fill("Ada")
    customer.page.get_by_role("button", name="Save").click()
    expect(customer.main.get_by_text("The settings are saved")).to_be_visible()
    row = customer.page.get_by_role("row").filter(has_text="Courier token")
    row.get_by_role("link", name="Set").click()
    customer.page.get_by_label("Value").fill(TOKEN)
    customer.page.get_by_role("button", name="Store it").click()
    expect(customer.main.get_by_text("It is stored, encrypted.")).to_be_visible()
    assert TOKEN not in customer.page.content()
    row.get_by_role("link", name="Clear").click()
    customer.page.get_by_role("button", name="Clear it").click()
    expect(customer.main.get_by_text("It is removed.")).to_be_visible()
    actors = courier.rows(
        "select distinct actor from kaixu.audit_event where actor like 'key:%' and target = $1", f"customer:{one.id}"
    )
    assert len(actors) == 1
    shown = courier.ask("GET", "admin-integration-settings", customer_id=one.id)["integrations"][0]
    assert shown["settings"]["contact"] == "Ada"


def test_customers_read_what_integrations_have_written(visit: Visit, courier: Gateway) -> None:
    one = courier.seed.customers["northwind"]
    courier.rows(
        "insert into kaixu.integration_message"
        " (integration, key, customer_id, subject, paragraphs, link_text, link_url, is_mailed)"
        " values ('courier', 'lost', $1, 'A parcel was lost', '[\"It was <b>yours</b>.\", \"We are sorry.\"]',"
        "         'Report it', 'https://courier.example.com/lost?id=7&lang=en', false),"
        "        ('courier', 'late', $1, 'A parcel is late', '[\"By a day.\"]', null, null, true) returning key",
        one.id,
    )
    customer = visit(courier, "customer").go("/gateway/dashboard/integrations")
    cards = customer.main.locator("section.card[id^=message-]")
    lost = cards.filter(has=customer.page.get_by_role("heading", name="A parcel was lost"))
    expect(lost).to_contain_text("It was <b>yours</b>.")
    expect(lost).to_contain_text("only here")
    link = lost.get_by_role("link", name="Report it")
    expect(link).to_have_attribute("href", "https://courier.example.com/lost?id=7&lang=en")
    late = cards.filter(has=customer.page.get_by_role("heading", name="A parcel is late"))
    expect(late).to_contain_text("by mail")
    check_everything(customer, PageState("messages", "/gateway/dashboard/integrations", snapshot=False))
    courier.rows("delete from kaixu.integration_message where integration = 'courier' returning key")
