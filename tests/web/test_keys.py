"""The tabs of keys and devices, with the groups of keys and the requests for them."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import expect

from .browser import PHONE
from .conftest import Visit
from .gateway import Gateway

CHAT = {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello!"}]}


def test_a_sub_key_gets_every_setting_of_the_form_and_keeps_them_when_another_changes(
    visit: Visit, own_gateway: Gateway
) -> None:
    one = own_gateway.seed.customers["northwind"]
    operator = visit(own_gateway, "operator")
    page = operator.page
    operator.go(f"/gateway/key-groups?customer_id={one.id}")
    page.get_by_label("Name").fill("research")
    page.get_by_label("Monthly cap").fill("3")
    page.get_by_role("button", name="Create group").click()
    expect(operator.main).to_contain_text("The group is created")
    operator.go(f"/gateway/keys/new?customer_id={one.id}")
    fill = {"Label": "nightly job", "Expires": "2099-01-31", "Cap override": "7.25", "Cap of a day": "1", "Alerts at": "90, 50",
            "RPM override": "12", "Requests a day": "300", "Tokens a minute": "9000", "Max devices": "2",
            "The collections": "docs, wiki", "Limits of single models": "openai/gpt-4o rpm=3 day=0.50"}  # fmt: skip
    for label, value in fill.items():
        page.get_by_label(label).first.fill(value)
    page.get_by_label("Role").select_option("viewer")
    page.get_by_label("Group").select_option(label="research")
    page.get_by_label("Allowed models").select_option("only")
    page.get_by_label("Allowed collections").select_option("only")
    page.get_by_role("checkbox", name="Require an install id").check()
    page.get_by_role("group", name="Allowed providers").get_by_label("openai").check()
    page.get_by_role("group", name="The models").get_by_label("gpt-4o-mini").check()
    page.get_by_role("button", name="Create sub-key").click()
    key = page.get_by_role("region", name="Key", exact=True).inner_text()
    assert key.startswith("kx_live_")
    expect(page.get_by_role("region", name="Message")).to_contain_text("x-kaixu-install-id: my-device")

    def stored() -> dict[str, object]:
        listed = own_gateway.ask("GET", "admin-keys", customer_id=one.id, q="nightly")["keys"]
        return {name: listed[0][name] for name in expected}

    expected: dict[str, object] = {
        "role": "viewer", "monthly_cap_cents": 725, "day_cap_cents": 100, "alert_thresholds": [50, 90], "rpm_limit": 12,
        "rpd_limit": 300, "tpm_limit": 9000, "max_devices": 2, "require_install_id": True, "allowed_collections": ["docs", "wiki"],
        "allowed_providers": ["openai"], "allowed_models": {"openai": ["gpt-4o-mini"]},
        "limits": {"openai/gpt-4o": {"rpm": 3, "day_cap_cents": 50}}, "expires_at": "2099-01-31T00:00:00.000Z",
        "binds": "key_day_cap",
    }  # fmt: skip
    assert {**stored(), "limits": expected["limits"]} == expected
    operator.go(f"/gateway/keys?customer_id={one.id}&q=nightly")
    page.get_by_role("link", name="Change").click()
    page.get_by_label("Cap of a day").fill("")
    page.get_by_role("button", name="Save").click()
    expect(operator.main).to_contain_text("Saved")
    expect(operator.main).to_contain_text("group cap")
    expected |= {"day_cap_cents": None, "binds": "group_cap"}
    assert {**stored(), "limits": expected["limits"]} == expected


def test_a_wrong_setting_is_told_at_its_field_and_nothing_is_made(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    operator = visit(gateway, "operator", scripts=False)
    page = operator.page
    before = gateway.rows("select count(*) as n from kaixu.virtual_key")
    for label, value, told in (
        ("Cap override", "much", "amount in dollars"),
        ("Expires", "2001-01-01", "in the past"),
        ("Limits of single models", "openai/gpt-4o rpm=3\nopenai/gpt-4o-mini", "Line 2"),
        ("Alerts at", "0", "between 1 and 100"),
    ):
        operator.go(f"/gateway/keys/new?customer_id={one.id}")
        page.get_by_label("Label").fill("kept as it was typed")
        page.get_by_label(label).first.fill(value)
        with operator.expecting(422):
            page.get_by_role("button", name="Create sub-key").click()
            expect(page.get_by_role("alert")).to_contain_text(told)
        expect(page.get_by_label("Label")).to_have_value("kept as it was typed")
    assert gateway.rows("select count(*) as n from kaixu.virtual_key") == before


def test_ticked_models_without_only_these_are_refused_and_not_ignored(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    operator = visit(gateway, "operator")
    before = gateway.rows("select count(*) as n from kaixu.virtual_key")
    operator.go(f"/gateway/keys/new?customer_id={one.id}")
    operator.page.get_by_role("checkbox", name="every model of").first.check()
    with operator.expecting(422):
        operator.page.get_by_role("button", name="Create sub-key").click()
        expect(operator.page.get_by_role("alert")).to_contain_text("Choose “only these”, or untick them.")
    assert gateway.rows("select count(*) as n from kaixu.virtual_key") == before


def test_a_key_is_revoked_at_once_and_restored_by_undo(visit: Visit, own_gateway: Gateway) -> None:
    one = own_gateway.seed.customers["northwind"]
    name, key = next(iter(one.keys.items()))
    operator = visit(own_gateway, "operator", width=PHONE, scheme="dark")
    operator.go(f"/gateway/keys?customer_id={one.id}&q={key.key[-4:]}&revoked=false")  # the filter is not the change
    operator.page.get_by_role("button", name="Revoke").click()
    expect(operator.page.get_by_role("status").filter(has_text="is revoked")).to_be_visible()
    assert own_gateway.request("POST", "gateway-chat", CHAT, token=key.key).status_code == 401, name
    operator.tab_to("Undo").press("Enter")
    expect(operator.page.get_by_role("status").filter(has_text="works again")).to_be_visible()
    assert own_gateway.request("POST", "gateway-chat", CHAT, token=key.key).status_code == 200
    actions = [row["action"] for row in own_gateway.rows(
        "select action from kaixu.audit_event where target = 'key:' || $1::bigint order by created_at desc limit 2", key.id
    )]  # fmt: skip
    assert actions == ["KEY_UNREVOKE", "KEY_REVOKE"]


def test_without_scripts_a_key_is_rotated_once_however_often_the_form_is_sent(
    visit: Visit, own_gateway: Gateway
) -> None:
    one = own_gateway.seed.customers["northwind"]
    old = next(iter(one.keys.values()))
    operator = visit(own_gateway, "operator", scripts=False)
    page = operator.page
    operator.go(f"/gateway/keys/rotate?customer_id={one.id}&key_id={old.id}")
    expect(operator.main).to_contain_text("shows it once")
    page.get_by_label("Overlap").select_option("3600")
    page.get_by_role("button", name="Rotate this key").click()
    new = page.get_by_role("region", name="Key", exact=True).inner_text()
    for key in (old.key, new):
        assert own_gateway.request("POST", "gateway-chat", CHAT, token=key).status_code == 200
    page.reload()  # the browser sends the form again
    expect(operator.main).to_contain_text("This form was sent before")
    assert new not in page.content()
    page.get_by_role("link", name="Keys of this customer").click()
    row = page.locator(f"#key-{old.id}")
    expect(row).to_contain_text("overlaps")
    expect(row.get_by_role("link", name="Rotate")).to_have_count(0)
    operator.go(f"/gateway/keys/rotate?customer_id={one.id}&key_id={old.id}")
    expect(operator.main).to_contain_text("was rotated before")
    expect(page.get_by_role("button", name="Rotate this key")).to_have_count(0)


def test_the_tab_of_keys_teaches_to_select_a_customer_and_finds_it(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    operator = visit(gateway, "operator")
    operator.go("/gateway/keys")
    operator.page.get_by_label("Customer", exact=True).fill(one.email)
    with operator.swapped():
        operator.page.get_by_role("button", name="Find", exact=True).click()
    operator.page.get_by_role("row").filter(has_text=one.email).get_by_role("link").click()
    expect(operator.page).to_have_url(re.compile(rf"/gateway/keys\?customer_id={one.id}$"))
    operator.page.get_by_role("link", name="Devices").first.click()
    expect(operator.page).to_have_url(re.compile(rf"/gateway/devices\?customer_id={one.id}$"))


def test_a_key_of_another_customer_is_not_found(visit: Visit, gateway: Gateway) -> None:
    one = gateway.seed.customers["northwind"]
    [other] = gateway.rows("select min(id) as id from kaixu.virtual_key where customer_id <> $1", one.id)
    operator = visit(gateway, "operator")
    for path in ("key", "keys/change", "keys/rotate"):
        with operator.expecting(404):
            operator.go(f"/gateway/{path}?customer_id={one.id}&key_id={other['id']}", status=404)
    for text in ("x", "0", "9" * 30, ""):
        with operator.expecting(404):
            operator.go(f"/gateway/key?customer_id={one.id}&key_id={text}", status=404)


def test_a_device_is_revoked_at_once_and_restored_by_undo(visit: Visit, own_gateway: Gateway) -> None:
    one = own_gateway.seed.customers["northwind"]
    key = next(iter(one.keys.values()))

    def call() -> int:
        headers = {"authorization": f"Bearer {key.key}", "x-kaixu-install-id": "laptop <of> ada"}
        url = f"{own_gateway.url}/api/gateway-chat"
        return httpx.post(url, json=CHAT, headers=headers, trust_env=False, timeout=30).status_code

    assert call() == 200
    operator = visit(own_gateway, "operator")
    operator.go(f"/gateway/devices?customer_id={one.id}&api_key_id={key.id}")
    row = operator.page.get_by_role("row").filter(has_text="laptop <of> ada")
    row.get_by_role("button", name="Revoke").click()
    expect(operator.page.get_by_role("status").filter(has_text="its seat is free")).to_be_visible()
    assert call() == 403
    operator.page.get_by_role("button", name="Undo").click()
    expect(operator.page.get_by_role("status").filter(has_text="has its seat again")).to_be_visible()
    assert call() == 200


def test_a_request_for_a_key_that_waits_is_refused_by_the_operator(visit: Visit, own_gateway: Gateway) -> None:
    own_gateway.rows(
        "insert into kaixu.key_request (id, address, mailbox, network, state, recipient, spellings, counted_at, created_at)"
        " values (gen_random_uuid(), 'eve@acme.example', 'eve@acme.example', '', 'held', 'eve@acme.example', '{}', now(),"
        " now())"
    )
    operator = visit(own_gateway, "operator")
    operator.go("/gateway/key-requests?state=held")
    row = operator.page.get_by_role("row").filter(has_text="eve@acme.example")
    with operator.expecting(503):
        row.get_by_role("button", name="Approve").click()
        expect(operator.page.get_by_role("alert")).to_contain_text("cannot send mails")
    row.get_by_role("button", name="Refuse").click()
    expect(operator.page.get_by_role("status").filter(has_text="Nothing is mailed")).to_be_visible()
    operator.go("/gateway/key-requests?state=denied")
    expect(operator.main).to_contain_text("eve@acme.example")
