"""A customer's first hour: from the form that gives a key to the file of its calls."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from .accessibility import assert_accessible
from .browser import DESKTOP, PHONE
from .conftest import Visit
from .gateway import Gateway
from .layout import assert_layout


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_first_hour_of_a_customer(visit: Visit, own_gateway: Gateway, width: int) -> None:
    customer = visit(own_gateway, width=width, scheme="light" if width == DESKTOP else "dark")
    page, main = customer.page, customer.main

    # A key, from the start page on.
    customer.go("/")
    main.get_by_role("link", name="Get a key").click()
    page.get_by_label("Your e-mail address").fill("new@customer.example")
    page.get_by_role("button", name="Request a key").click()
    key = page.get_by_role("region", name="Key", exact=True).inner_text()
    assert key.startswith("kx_live_")
    first_call = page.get_by_role("region", name="The first call").inner_text()
    assert f"{own_gateway.url}/api/gateway-chat" in first_call
    assert '"model": "openai/' in first_call
    assert_accessible(page)
    assert_layout(page)
    page.get_by_role("button", name="Open my dashboard").click()
    expect(page.locator("h1")).to_have_text("Budget")
    assert key not in page.content()

    # A call in the playground, and one of a program on a device.
    customer.go("/gateway/dashboard/playground")
    page.get_by_label("Model (required)").select_option("openai/gpt-4o-mini")
    page.get_by_label("Message").first.fill("How long can a customer send back an unopened parcel?")
    page.get_by_role("button", name="Send").click()
    expect(main.get_by_text("Spent this month").first).to_be_visible()
    assert_layout(page)
    body = {"provider": "openai", "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {key}", "x-kaixu-install-id": "first-laptop", "user-agent": "my-program/1.0"}
    url = f"{own_gateway.url}/api/gateway-chat"
    assert httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30).status_code == 200

    # Both calls with their charges, explained beside the list.
    events = own_gateway.ask("GET", "user-events", token=key)["events"]
    spent = sum(Decimal(one["cost_usd"]) for one in events)
    assert (len(events), spent > 0) == (2, True)
    customer.go("/gateway/dashboard/calls")
    rows = main.locator("#calls tbody tr")
    expect(rows).to_have_count(2)
    with customer.swapped():
        rows.first.locator(".row-link").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("adds up")).to_be_visible()
    assert_accessible(page)
    customer.press("Escape")
    expect(drawer).to_be_hidden()

    # The device is revoked and given back.
    customer.go("/gateway/dashboard/devices")
    device = main.get_by_role("row").filter(has_text="first-laptop")
    device.get_by_role("button", name="Revoke").click()
    expect(main.get_by_text("its seat is free")).to_be_visible()
    assert httpx.post(url, json=body, headers=headers, trust_env=False, timeout=30).status_code == 403
    main.get_by_role("button", name="Undo").click()
    expect(main.get_by_text("has its seat again")).to_be_visible()

    # The budget and the file say the same; then out.
    customer.go("/gateway/dashboard.html")
    shown = page.locator("#budget .stat").filter(has_text="Spent").locator("data").get_attribute("value")
    assert Decimal(shown or "") == spent
    customer.go("/gateway/dashboard/invoices")
    with page.expect_download() as download:
        main.get_by_role("link", name="Download Events CSV").click()
    assert Path(download.value.path()).read_text(encoding="utf-8").splitlines()[-1] == "# rows: 2"
    page.locator("button.account").click()
    page.get_by_role("button", name="Sign out").or_(page.get_by_role("button", name="Log out")).click()
    expect(page.locator("h1")).to_have_text("User dashboard")
    customer.go("/gateway/dashboard/calls")
    expect(page.locator("h1")).to_have_text("User dashboard")
    customer.assert_clean()
