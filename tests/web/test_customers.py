"""The tabs of customers and of creating one."""

from __future__ import annotations

from playwright.sync_api import expect

from .browser import PHONE
from .conftest import Visit
from .gateway import Gateway


def test_a_customer_is_created_its_key_shown_once_and_it_may_call(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator", width=PHONE)
    operator.go("/gateway/create")
    page = operator.page
    page.get_by_label("E-mail").fill("ada@acme.example")
    page.get_by_label("Plan").fill("pro")
    page.get_by_label("Monthly cap").fill("12.50")
    page.get_by_role("button", name="Create + issue master key").click()
    key = page.get_by_role("region", name="Key", exact=True).inner_text()
    assert key.startswith("kx_live_")
    message = page.get_by_role("region", name="Message").inner_text()
    assert f"curl {own_gateway.url}/api/gateway-chat" in message
    assert '"model": "gpt-4o-mini"' in message
    expect(page.get_by_role("checkbox", name="I have stored it")).to_be_visible()
    body = {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}
    assert own_gateway.request("POST", "gateway-chat", body, token=key).status_code == 200
    operator.go("/gateway/customers?q=ada@acme")
    assert key not in page.content()
    row = page.get_by_role("row").filter(has_text="ada@acme.example")
    expect(row).to_contain_text("$12.50")
    expect(row).to_contain_text("not set")

    operator.go("/gateway/create")
    page.get_by_label("E-mail").fill("ada@acme.example")
    with operator.expecting(409):
        page.get_by_role("button", name="Create + issue master key").click()
        expect(page.get_by_role("alert")).to_contain_text("email exists")
    rows = own_gateway.rows("select count(*) as n from kaixu.customer where email = 'ada@acme.example'")
    assert rows[0]["n"] == 1


def test_a_customer_is_switched_off_and_back_on_from_its_details(visit: Visit, own_gateway: Gateway) -> None:
    one = own_gateway.seed.customers["northwind"]
    key = next(iter(one.keys.values())).key
    operator = visit(own_gateway, "operator")
    operator.go("/gateway/customers?q=northwind")
    operator.page.get_by_role("link", name=one.email).click()
    drawer = operator.page.get_by_role("dialog")
    expect(drawer).to_contain_text("What limits this customer")
    expect(drawer).to_contain_text("customer cap")
    drawer.get_by_role("button", name="Switch off").click()
    expect(operator.page.get_by_role("status").filter(has_text="Switched off")).to_be_visible()
    assert own_gateway.request("GET", "user-summary", token=key).status_code == 403
    operator.page.get_by_role("button", name="Undo").click()
    expect(operator.page.get_by_role("status").filter(has_text="Switched on")).to_be_visible()
    assert own_gateway.request("GET", "user-summary", token=key).status_code == 200


def test_without_scripts_a_customer_is_deleted_only_by_its_own_address(visit: Visit, own_gateway: Gateway) -> None:
    [made] = own_gateway.rows(
        "insert into kaixu.customer (email, monthly_cap_nusd) values ('gone@acme.example', 0) returning id"
    )
    operator = visit(own_gateway, "operator", scripts=False)
    operator.go(f"/gateway/customer?customer_id={made['id']}")
    operator.page.get_by_role("link", name="Delete this customer").click()
    expect(operator.main).to_contain_text("It cannot be undone")
    operator.page.get_by_label("The customer's e-mail address").fill("other@acme.example")
    with operator.expecting(422):
        operator.page.get_by_role("button", name="Delete this customer").click()
        expect(operator.page.get_by_role("alert")).to_be_visible()
    operator.page.get_by_label("The customer's e-mail address").fill("gone@acme.example")
    operator.page.get_by_role("button", name="Delete this customer").click()
    expect(operator.page.get_by_role("status").filter(has_text="is deleted")).to_be_visible()
    operator.go("/gateway/customers?q=gone@acme")
    expect(operator.main).to_contain_text("No customer fits these filters")


def test_a_viewer_is_offered_no_change_of_customers_keys_and_devices(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    viewer = visit(gateway, "viewer")
    key_id = next(iter(one.keys.values())).id
    for path in ("customers", f"customer?customer_id={one.id}", f"keys?customer_id={one.id}",
                 f"key?customer_id={one.id}&key_id={key_id}", f"devices?customer_id={one.id}",
                 f"key-groups?customer_id={one.id}", "key-requests"):  # fmt: skip
        viewer.go(f"/gateway/{path}")
        assert viewer.main.locator("form[method=post]").count() == 0, path
        assert viewer.main.get_by_role("link", name="Rotate").count() == 0, path
    for path in ("create", f"customer/delete?customer_id={one.id}", f"keys/new?customer_id={one.id}",
                 f"keys/rotate?customer_id={one.id}&key_id={key_id}"):  # fmt: skip
        with viewer.expecting(403):
            viewer.go(f"/gateway/{path}", status=403)
