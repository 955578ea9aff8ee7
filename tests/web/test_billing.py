"""The tab of billing and controls: every change goes through its form, and does what the page says."""

from __future__ import annotations

from playwright.sync_api import expect

from .browser import PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway
from .visiting import customer_of


def billing(visitor: Visitor, gateway: Gateway) -> Visitor:
    """The tab of the main customer."""
    return visitor.go(f"/gateway/billing?customer_id={customer_of(gateway).id}")


def listed(gateway: Gateway) -> dict[str, object]:
    """The main customer, as the API lists it."""
    one = customer_of(gateway)
    found = gateway.ask("GET", "admin-customers", q=one.email)["customers"]
    return next(customer for customer in found if customer["id"] == one.id)


def test_only_what_was_changed_is_sent_and_holds_at_once(visit: Visit, own_gateway: Gateway) -> None:
    before = listed(own_gateway)
    operator = billing(visit(own_gateway, "operator"), own_gateway)
    form = operator.page.locator("#policy-form")
    form.get_by_label("Cap a day").fill("12.50")
    form.get_by_label("Allowed models").select_option("chosen")
    form.get_by_label("gpt-4o-mini").check()
    form.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("The policy is saved")).to_be_visible()
    after = listed(own_gateway)
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {"day_cap_cents", "allowed_models"}
    assert (after["day_cap_cents"], after["allowed_models"]) == (1250, {"openai": ["gpt-4o-mini"]})

    form.get_by_label("Allowed models").select_option("none")
    form.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("No call is served: models.")).to_be_visible()
    key = customer_of(own_gateway).keys["master"].key
    body = {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    assert own_gateway.request("POST", "gateway-chat", body, token=key).status_code == 403
    form.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("Nothing was changed.")).to_be_visible()


def test_a_wrong_field_is_named_and_nothing_is_lost(visit: Visit, own_gateway: Gateway) -> None:
    operator = billing(visit(own_gateway, "operator", width=PHONE, scripts=False), own_gateway)
    form = operator.page.locator("#policy-form")
    form.get_by_label("Monthly cap").fill("a lot")
    form.get_by_label("Tokens a minute").fill("5000")
    with operator.expecting(422):
        form.get_by_role("button", name="Save").click()
        expect(form.get_by_text("This must be an amount in dollars").first).to_be_visible()
    assert form.get_by_label("Tokens a minute").input_value() == "5000"
    form.get_by_label("Monthly cap").fill("350")
    form.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("The policy is saved")).to_be_visible()
    after = listed(own_gateway)
    assert (after["monthly_cap_cents"], after["tpm_limit"]) == (35_000, 5000)


def test_a_refused_customer_is_topped_up_once_and_served(visit: Visit, own_gateway: Gateway) -> None:
    one = customer_of(own_gateway, "osprey")
    own_gateway.ask("PATCH", "admin-customers", {"monthly_cap_cents": 0}, customer_id=one.id)
    operator = visit(own_gateway, "operator", scripts=False).go(f"/gateway/usage?customer_id={one.id}")
    expect(operator.main.get_by_text("has used up its cap")).to_be_visible()
    operator.main.get_by_role("link", name="Billing & Controls").last.click()
    form = operator.page.locator("#topup-form")
    values = {name: form.locator(f"[name={name}]").get_attribute("value") or "" for name in
              ("do", "customer_id", "month", "idempotency_key", "form_token")}  # fmt: skip
    before = own_gateway.ask("GET", "admin-usage", customer_id=values["customer_id"])["rollup"]["extra_cents"]
    for done in ("topup", "repeated"):
        reply = operator.page.request.post(
            f"{own_gateway.url}/gateway/billing", form={**values, "amount": "5"}, max_redirects=0,
            headers={"sec-fetch-site": "same-origin"},
        )  # fmt: skip
        assert (reply.status, reply.headers["location"].rpartition("=")[2]) == (303, done)
    after = own_gateway.ask("GET", "admin-usage", customer_id=values["customer_id"])["rollup"]["extra_cents"]
    assert after == before + 500
    operator.go(f"/gateway/usage?customer_id={one.id}")
    expect(operator.main.get_by_text("has used up its cap")).to_have_count(0)


def test_from_the_draft_to_pdf_credit_note_and_void(visit: Visit, own_gateway: Gateway) -> None:
    one = customer_of(own_gateway, "osprey")
    operator = visit(own_gateway, "operator").go(f"/gateway/billing?customer_id={one.id}")
    form = operator.page.locator("#details-form")
    form.get_by_label("Name").fill("Osprey Analytics SARL")
    form.get_by_label("Address").fill("1 Rue du Port\n75001 Paris")
    form.get_by_label("Country").fill("FR")
    form.get_by_role("button", name="Save").click()
    expect(operator.main.get_by_text("The billing details are saved.")).to_be_visible()
    month = own_gateway.ask("GET", "admin-month-close")["month"]
    operator.go(f"/gateway/billing/invoice?customer_id={one.id}&month={month}")
    operator.page.get_by_role("link", name="Finalise").click()
    operator.page.get_by_role("button", name="Finalise the invoice").click()
    expect(operator.main.get_by_text("The invoice is issued.")).to_be_visible()
    number = operator.page.locator("h1").inner_text().removeprefix("Invoice ")
    pdf = operator.page.request.get(f"{own_gateway.url}/gateway/billing/invoice.pdf?number={number}")
    assert (pdf.headers["content-type"], pdf.body()[:5]) == ("application/pdf", b"%PDF-")
    operator.page.get_by_role("link", name="Verify").click()
    expect(operator.main.get_by_text("Verified:")).to_be_visible()

    operator.page.get_by_role("link", name="Credit note").click()
    operator.page.get_by_label("Reason").fill("outage")
    operator.page.get_by_role("button", name="Issue the credit note").click()
    expect(operator.main.get_by_text("The credit note is issued.")).to_be_visible()
    operator.go(f"/gateway/billing/void?number={number}")
    operator.page.get_by_label("Reason").fill("wrong address")
    with operator.expecting(409):
        operator.page.get_by_role("button", name="Void the invoice").click()
        expect(operator.main.get_by_role("alert")).to_be_visible()


def test_a_month_is_finalised_step_by_step(visit: Visit, own_gateway: Gateway) -> None:
    month = own_gateway.ask("GET", "admin-month-close")["month"]
    own_gateway.rows("delete from kaixu.customer_month where month = ($1 || '-01')::date and customer_id > 12", month)
    close = own_gateway.ask("GET", "admin-month-close")
    assert close["counts"]["ready"] > 10
    operator = visit(own_gateway, "operator").go("/gateway/billing/close")
    operator.page.get_by_role("link", name="Finalise all").click()
    operator.page.get_by_role("button", name="Finalise").click()
    operator.main.get_by_text(f"{close['counts']['ready']} invoices were issued.").wait_for()
    after = own_gateway.ask("GET", "admin-month-close")["counts"]
    assert (after["ready"], after["issued"]) == (0, close["counts"]["ready"] + close["counts"]["issued"])


def test_codes_are_shown_once_and_withdrawn(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator", scripts=False).go("/gateway/billing/codes")
    form = operator.page.locator("#codes-form")
    form.get_by_label("Amount of each").fill("5")
    form.get_by_label("How many").fill("3")
    form.get_by_role("button", name="Make the codes").click()
    shown = operator.page.locator("pre").inner_text().split()
    assert len(shown) == 3
    operator.page.get_by_role("link", name="Redemption codes").last.click()
    operator.page.locator("#batches tbody a").first.click()
    assert not any(code in operator.main.inner_text() for code in shown)
    operator.page.get_by_role("link", name="Withdraw").click()
    operator.page.get_by_role("button", name="Withdraw 3 codes").click()
    expect(operator.main.get_by_text("are withdrawn")).to_be_visible()


def test_a_viewer_sees_no_form_and_is_refused(visit: Visit, gateway: Gateway) -> None:
    viewer = billing(visit(gateway, "viewer"), gateway)
    assert viewer.page.locator("#policy-form, #topup-form, #details-form, #webhook-form").count() == 0
    token = viewer.page.locator("[name=form_token]").first.get_attribute("value") or ""
    viewer.go("/gateway/billing/close/issue", status=403)
    body: dict[str, str | float | bool] = {
        "do": "topup",
        "customer_id": str(customer_of(gateway).id),
        "amount": "5",
        "form_token": token,
    }
    reply = viewer.page.request.post(
        f"{gateway.url}/gateway/billing", form=body, headers={"sec-fetch-site": "same-origin"}
    )
    assert reply.status == 403
