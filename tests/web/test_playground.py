"""The playground: calls as a key, streamed with scripts and whole without; who pays; what is refused."""

from __future__ import annotations

from time import monotonic, sleep

import pytest
from playwright.sync_api import Page, expect

from .browser import PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway

QUESTION = "How did the last quarter go?"


def send(page: Page, message: str = QUESTION) -> None:
    """Send a message to the first model."""
    page.get_by_label("Message", exact=False).first.fill(message)
    page.get_by_role("button", name="Send").click()


def answered(page: Page) -> str:
    """The answer, once its bill is there."""
    expect(page.get_by_text("Spent this month").first).to_be_visible()
    return page.locator("figure.snippet pre").first.inner_text()


def calls(gateway: Gateway, count: int = 1) -> list[dict[str, object]]:
    """The calls from playgrounds, the newest first. On a busy machine an answer does not wait for its settlement."""
    ends_at = monotonic() + 30
    while True:
        found = gateway.rows("select * from kaixu.usage_event where app_id = 'playground' order by id desc")
        if len(found) >= count or monotonic() > ends_at:
            return [dict(row) for row in found]
        sleep(0.05)


def last_call(gateway: Gateway) -> dict[str, object]:
    """The newest call from a playground."""
    return calls(gateway)[0]


@pytest.mark.parametrize(("scripts", "width"), [(True, 1280), (False, PHONE)])
def test_an_operator_calls_as_a_key_and_the_audit_log_says_so(
    visit: Visit, own_gateway: Gateway, scripts: bool, width: int
) -> None:
    customer = own_gateway.seed.customers["northwind"]
    key = next(iter(customer.keys.values()))
    operator = visit(own_gateway, "operator", scripts=scripts, width=width)
    operator.go(f"/gateway/playground?customer_id={customer.id}&key_id={key.id}")
    page = operator.page
    page.get_by_label("Model (required)").select_option("openai/gpt-4o-mini")
    send(page)
    assert len(answered(page).split()) > 5
    event = last_call(own_gateway)
    assert (event["customer_id"], event["key_id"], event["model"]) == (customer.id, key.id, "gpt-4o-mini")
    explained = own_gateway.ask("GET", "admin-explain", event=str(event["request_id"]))
    assert f"{explained['charges'][0]['billed_usd']} USD" in operator.main.inner_text()
    expect(page.get_by_role("link", name=str(event["request_id"]))).to_be_visible()
    [audit] = own_gateway.rows("select actor, target from kaixu.audit_event where action = 'KEY_SESSION'")
    assert (audit["actor"], audit["target"]) == ("operator:mara@gateway-house.example", f"key:{key.id}")
    assert "eyJ" not in page.content()  # how a session token begins


@pytest.mark.parametrize("scripts", [True, False])
def test_what_is_wrong_is_said_with_its_code_and_beside_its_field(
    visit: Visit, gateway: Gateway, scripts: bool
) -> None:
    customer = gateway.seed.customers["northwind"]
    operator = visit(gateway, "operator", scripts=scripts)
    operator.go(f"/gateway/playground?customer_id={customer.id}")
    page = operator.page
    page.get_by_label("Model (required)").select_option("openai/gpt-4o-mini")
    send(page, "boom")
    expect(operator.main).to_contain_text("UPSTREAM")
    assert "vendor secret" not in page.content()
    page.get_by_text("Parameters, tools").click()
    page.get_by_label("Tools", exact=True).fill("not json")
    with operator.expecting(422):
        send(page)
        expect(operator.main).to_contain_text("This is not JSON")
    expect(page.get_by_label("Tools", exact=True)).to_be_visible()


def test_the_call_is_shown_as_code_without_sending_it(visit: Visit, gateway: Gateway) -> None:
    customer = gateway.seed.customers["northwind"]
    operator = visit(gateway, "operator").go(f"/gateway/playground?customer_id={customer.id}")
    before = gateway.value("select count(*) from kaixu.usage_event where app_id = 'playground'")
    operator.page.get_by_label("Do not send it").check()
    send(operator.page)
    code = operator.page.get_by_role("region", name="curl", exact=True)
    expect(code).to_contain_text(f"{gateway.url}/api/gateway-chat")
    expect(code).to_contain_text("$KAIXU_KEY")
    assert gateway.value("select count(*) from kaixu.usage_event where app_id = 'playground'") == before


def test_two_models_answer_beside_each_other(visit: Visit, own_gateway: Gateway) -> None:
    customer = own_gateway.seed.customers["northwind"]
    operator = visit(own_gateway, "operator").go(f"/gateway/playground?customer_id={customer.id}")
    operator.page.get_by_label("Model (required)").select_option("openai/gpt-4o-mini")
    operator.page.get_by_label("Compare with").select_option("local/gemma-3")
    send(operator.page)
    expect(operator.page.get_by_text("Spent this month")).to_have_count(2)
    assert {one["model"] for one in calls(own_gateway, 2)} == {"gemma-3", "gpt-4o-mini"}


def test_the_test_customer_pays_nothing_and_the_vendors_cost_is_recorded(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator").go("/gateway/playground")
    for _ in range(2):  # the second time it is there already
        operator.go("/gateway/playground")
        operator.page.get_by_role("button", name="Use the test customer").click()
        expect(operator.main).to_contain_text("playground@gateway.invalid")
    operator.page.get_by_label("Model (required)").select_option("openai/gpt-4o-mini")
    send(operator.page)
    answered(operator.page)
    event = last_call(own_gateway)
    assert event["cost_nusd"] == 0
    assert int(str(event["vendor_cost_nusd"])) > 0
    [found] = own_gateway.ask("GET", "admin-customers", q="playground@gateway.invalid")["customers"]
    assert (found["plan_name"], found["active_keys"], found["spent_usd"]) == ("trial", 1, "0.00")


def test_a_viewer_gets_no_playground(visit: Visit, gateway: Gateway) -> None:
    viewer = visit(gateway, "viewer").go("/gateway/customers")
    assert viewer.page.get_by_role("link", name="Playground").count() == 0
    with viewer.expecting(403):
        viewer.go("/gateway/playground", status=403)


def test_a_customer_plays_with_its_own_key_only(visit: Visit, own_gateway: Gateway) -> None:
    one: Visitor = visit(own_gateway, "customer", width=PHONE)
    key = next(iter(own_gateway.seed.customers["northwind"].keys.values()))
    other = own_gateway.seed.customers["halden"]
    other_key = next(iter(other.keys.values()))
    one.go(f"/gateway/dashboard/playground?customer_id={other.id}&key_id={other_key.id}")
    one.page.get_by_label("Model (required)").select_option("local/gemma-3")
    send(one.page)
    assert answered(one.page).strip() == QUESTION
    assert last_call(own_gateway)["key_id"] == key.id
