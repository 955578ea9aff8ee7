"""The tabs of platform control and of the station in the browser."""

from __future__ import annotations

from playwright.sync_api import expect

from .accessibility import assert_accessible
from .browser import PHONE
from .conftest import Visit
from .gateway import Gateway
from .layout import assert_layout


def test_notes_about_a_surface_are_saved_from_its_drawer(visit: Visit, own_gateway: Gateway) -> None:
    body = {"app_id": "cohort-command", "flags": {"beta": True}}
    own_gateway.ask("PUT", "admin-platform-ops", body)
    operator = visit(own_gateway, "operator")
    operator.go("/gateway/platforms")
    operator.main.get_by_role("link", name="Cohort Command").first.click()
    drawer = operator.page.get_by_role("dialog")
    drawer.get_by_label("Health").select_option("warning")
    drawer.get_by_label("Owner").fill("Ada <script>")
    drawer.get_by_label("Notes").fill("first line\nsecond line")
    assert_accessible(operator.page)
    drawer.get_by_role("button", name="Save ops").click()
    expect(operator.main.get_by_text("The notes are saved.")).to_be_visible()
    expect(operator.main.get_by_text("Ada <script>")).to_be_visible()
    ops = own_gateway.ask("GET", "admin-platform-ops", app_id="cohort-command")["platform_ops"]
    assert (ops["health_status"], ops["notes"], ops["flags"]) == ("warning", "first line\nsecond line", {"beta": True})
    assert ops["updated_by"] == "operator:mara@gateway-house.example"


def test_a_document_is_stored_and_deleted_by_pages_that_say_so(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator", width=PHONE, scripts=False)
    own_gateway.ask("DELETE", "admin-platform-state", app_id="cohort-command")
    operator.go("/gateway/platforms/surface?app_id=cohort-command")
    operator.page.get_by_role("link", name="Store a document").click()
    operator.page.get_by_label("Document").fill("{broken")
    with operator.expecting(422):
        operator.page.get_by_role("button", name="Store the document").click()
        expect(operator.main.get_by_text("This is not JSON").first).to_be_visible()
    operator.page.get_by_label("Document").fill('{"cohort_name": "Spring"}')
    operator.page.get_by_role("button", name="Store the document").click()
    expect(operator.main.get_by_text("The document is stored.")).to_be_visible()
    operator.go("/gateway/platforms/delete-document?app_id=cohort-command")
    assert own_gateway.ask("GET", "admin-platform-state", app_id="cohort-command")["state"] == {"cohort_name": "Spring"}
    assert_layout(operator.page)
    operator.page.get_by_role("button", name="Delete the document").click()
    expect(operator.main.get_by_text("The document is deleted.")).to_be_visible()
    assert own_gateway.ask("GET", "admin-platform-state", app_id="cohort-command")["state"] is None


def test_a_viewer_reads_the_notes_and_has_no_form(visit: Visit, gateway: Gateway) -> None:
    viewer = visit(gateway, "viewer")
    viewer.go("/gateway/platforms/surface?app_id=cohort-command")
    expect(viewer.main.get_by_role("button", name="Save ops")).to_have_count(0)
    viewer.go("/gateway/platforms/document?app_id=cohort-command", status=403)
    viewer.go("/gateway/platforms/surface?app_id=no-such-surface", status=400)


def test_the_station_shows_the_figures_of_the_month(visit: Visit, gateway: Gateway) -> None:
    reply = gateway.ask("GET", "admin-skyefuel-station")
    operator = visit(gateway, "operator")
    operator.go("/gateway/station")
    treasury = reply["overview"]["treasury"]
    expect(operator.main.get_by_text(f"${treasury['spent_cents'] / 100:,.2f}").first).to_be_visible()
    first = reply["leaders"][0]
    link = operator.main.get_by_role("link", name=first["email"])
    expect(link.first).to_have_attribute("href", f"/gateway/usage?customer_id={first['id']}")
    operator.go("/gateway/station?month=2020-01")
    expect(operator.main.get_by_text("Nobody has spent anything in this month.")).to_be_visible()
    operator.go("/gateway/station?month=never", status=422)
