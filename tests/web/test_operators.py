"""Operators, their sessions and tokens, the audit log, and one's own account, in the browser."""

from __future__ import annotations

import pyotp
from playwright.sync_api import expect

from .accessibility import assert_accessible
from .browser import PHONE, Visitor
from .conftest import Visit
from .gateway import Gateway
from .layout import assert_layout

PASSWORD = "a password of sixteen letters"


def secret_of(visitor: Visitor) -> str:
    """What a page shows once."""
    return visitor.main.locator("[data-secret] code").inner_text()


def named_operator(gateway: Gateway, email: str = "grace@example.com", role: str = "operator") -> int:
    """A new operator with a password."""
    body = {"email": email, "role": role, "password": PASSWORD}
    number: int = gateway.ask("POST", "admin-operators", body)["operator"]["id"]
    return number


def log_in(visitor: Visitor, email: str = "grace@example.com") -> None:
    """Log in with the form."""
    visitor.go("/gateway/login?next=/gateway/account")
    visitor.page.get_by_label("E-mail").fill(email)
    visitor.page.get_by_label("Password").fill(PASSWORD)
    visitor.page.get_by_role("button", name="Log in").click()


def test_an_owner_invites_changes_and_switches_off_an_operator(visit: Visit, own_gateway: Gateway) -> None:
    owner = visit(own_gateway, "operator")
    owner.go("/gateway/operators")
    owner.page.get_by_role("link", name="Create an operator").click()
    owner.page.get_by_label("E-mail").fill("grace@example.com")
    owner.page.get_by_label("Role").select_option("operator")
    owner.page.get_by_role("button", name="Create the operator").click()
    assert secret_of(owner).startswith(f"{own_gateway.url}/api/admin-invitation?token=")
    owner.page.get_by_role("link", name="This operator").click()
    owner.page.get_by_label("Role").select_option("viewer")
    owner.page.get_by_role("button", name="Save").click()
    expect(owner.main.get_by_text("The change is saved.")).to_be_visible()
    owner.page.get_by_role("link", name="grace@example.com").click()
    owner.page.get_by_role("dialog").get_by_role("button", name="Switch off").click()
    expect(owner.main.get_by_text("switched off: sessions have ended")).to_be_visible()
    assert_accessible(owner.page)
    assert_layout(owner.page)
    owner.page.get_by_role("button", name="Undo").click()
    expect(owner.main.get_by_text("switched on again")).to_be_visible()
    row = own_gateway.rows("select role, disabled_at from kaixu.operator where email = 'grace@example.com'")
    assert row == [{"role": "viewer", "disabled_at": None}]


def test_a_reset_asks_first_and_shows_the_new_password_once(visit: Visit, own_gateway: Gateway) -> None:
    number = named_operator(own_gateway)
    owner = visit(own_gateway, "operator", scripts=False)
    owner.go(f"/gateway/operators/person?operator_id={number}")
    owner.page.get_by_role("link", name="A new password").click()
    before = own_gateway.value("select password_hash from kaixu.operator where id = $1", number)
    expect(owner.main.get_by_text("The old password stops working")).to_be_visible()
    assert own_gateway.value("select password_hash from kaixu.operator where id = $1", number) == before
    owner.page.get_by_role("button", name="Make a new password").click()
    made = secret_of(owner)
    reply = own_gateway.request("POST", "admin-login", {"email": "grace@example.com", "password": made})
    assert reply.status_code == 200


def test_the_second_factor_is_set_up_by_a_qr_code_and_asked_for_at_the_next_login(
    visit: Visit, own_gateway: Gateway
) -> None:
    named_operator(own_gateway)
    grace = visit(own_gateway, "public", width=PHONE, scheme="dark")
    log_in(grace)
    grace.page.get_by_role("link", name="Set up an authenticator").click()
    grace.page.get_by_label("Your password").fill("not this one, certainly")
    with grace.expecting(403):
        grace.page.get_by_role("button", name="Show the QR code").click()
        expect(grace.main.get_by_role("alert")).to_be_visible()
    grace.page.get_by_label("Your password").fill(PASSWORD)
    grace.page.get_by_role("button", name="Show the QR code").click()
    picture = grace.main.get_by_role("img", name="QR code of the new secret")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    assert_accessible(grace.page)
    assert_layout(grace.page)
    secret = grace.main.locator(".snippet code").inner_text()
    grace.page.get_by_label("Code").fill(pyotp.TOTP(secret).now())
    grace.page.get_by_role("button", name="Switch it on").click()
    codes = secret_of(grace).split("\n")
    assert len(codes) == 10
    grace.context.clear_cookies()
    grace.go("/gateway/login?next=/gateway/account")
    grace.page.get_by_label("E-mail").fill("grace@example.com")
    grace.page.get_by_label("Password").fill(PASSWORD)
    with grace.expecting(401, 403, 422):
        grace.page.get_by_role("button", name="Log in").click()
        grace.page.get_by_label("Code").fill(codes[0])
    grace.page.get_by_label("Password").fill(PASSWORD)
    grace.page.get_by_role("button", name="Log in").click()
    expect(grace.main.get_by_text("Switch it off")).to_be_visible()


def test_another_password_ends_ones_other_sessions(visit: Visit, own_gateway: Gateway) -> None:
    named_operator(own_gateway)
    elsewhere, here = visit(own_gateway, "public"), visit(own_gateway, "public", scripts=False)
    log_in(elsewhere)
    log_in(here)
    here.page.get_by_label("Current password").fill(PASSWORD)
    here.page.get_by_label("New password").fill("another password of mine")
    here.page.get_by_label("Once more").fill("another passwort of mine")
    with here.expecting(422):
        here.page.get_by_role("button", name="Change the password").click()
    expect(here.main.get_by_text("The two passwords differ").first).to_be_visible()
    for label, text in (("Current password", PASSWORD), ("New password", "another password of mine"),
                        ("Once more", "another password of mine")):  # fmt: skip
        here.page.get_by_label(label).fill(text)
    here.page.get_by_role("button", name="Change the password").click()
    expect(here.main.get_by_text("The password is changed")).to_be_visible()
    elsewhere.go("/gateway/account")
    assert elsewhere.path.startswith("/gateway/login")


def test_a_token_is_shown_once_works_and_is_revoked_at_once(visit: Visit, own_gateway: Gateway) -> None:
    owner = visit(own_gateway, "operator", width=PHONE)
    owner.go("/gateway/operators/tokens")
    owner.page.get_by_role("link", name="Make a token").first.click()
    owner.page.get_by_role("textbox", name="Name").fill("hourly export")
    owner.page.get_by_role("button", name="Make the token").click()
    token = secret_of(owner)
    assert own_gateway.request("GET", "admin-customers", token=token).status_code == 200
    assert own_gateway.request("POST", "admin-customers", {"email": "a@b.example"}, token=token).status_code == 403
    owner.go("/gateway/operators/tokens")
    assert token not in owner.page.content()
    row = owner.main.get_by_role("row").filter(has_text="hourly export")
    row.get_by_role("button", name="Revoke").click()
    expect(owner.main.get_by_text("The token is revoked")).to_be_visible()
    assert own_gateway.request("GET", "admin-customers", token=token).status_code == 401


def test_a_session_is_ended_at_once(visit: Visit, own_gateway: Gateway) -> None:
    owner, viewer = visit(own_gateway, "operator"), visit(own_gateway, "viewer")
    viewer.go("/gateway/operators/sessions")
    expect(viewer.main.get_by_role("button", name="Revoke")).to_have_count(0)
    owner.go("/gateway/operators/sessions")
    row = owner.main.get_by_role("row").filter(has_text="ines@gateway-house.example")
    row.get_by_role("button", name="Revoke").click()
    expect(owner.main.get_by_text("The session has ended")).to_be_visible()
    viewer.go("/gateway/operators/sessions")
    assert viewer.path.startswith("/gateway/login")


def test_the_audit_log_shows_each_changed_field_before_and_after(visit: Visit, own_gateway: Gateway) -> None:
    one = own_gateway.seed.customers["northwind"]
    own_gateway.ask("PATCH", "admin-customers", {"plan_name": "<b>bold</b>"}, customer_id=one.id)
    owner = visit(own_gateway, "operator")
    owner.go(f"/gateway/operators/audit?target=customer:{one.id}")
    owner.main.get_by_role("row").nth(1).click()
    drawer = owner.page.get_by_role("dialog")
    changed = drawer.get_by_role("row").filter(has_text="plan_name")
    expect(changed).to_contain_text("<b>bold</b>")
    expect(drawer.get_by_text("operator:mara@gateway-house.example").first).to_be_visible()
    assert_accessible(owner.page)
    with owner.swapped():
        owner.press("Escape")
        owner.page.get_by_label("Action").fill("no_such_action")
        owner.page.get_by_role("button", name="Filter").click()
    expect(owner.main.get_by_text("No entry fits these filters.")).to_be_visible()


def test_a_viewer_reads_the_log_and_is_offered_no_change(visit: Visit, gateway: Gateway) -> None:
    viewer = visit(gateway, "viewer")
    viewer.go("/gateway/operators")
    expect(viewer.main.get_by_role("heading", name="Audit log", level=1)).to_be_visible()
    expect(viewer.main.get_by_role("link", name="People")).to_have_count(0)
    for path in ("/gateway/operators/new", "/gateway/operators/tokens", "/gateway/operators/person?operator_id=1",
                 "/gateway/lanes/new", "/gateway/lanes/test?lane=local&model=gemma-3"):  # fmt: skip
        viewer.go(path, status=403)
