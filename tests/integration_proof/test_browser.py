"""What `kaixu-parcel` shows to people with a browser: its page, its panels, and an account that is connected."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.chromium import CHROMIUM, MISSING

from .station import PASSWORD, Station

LOGIN = """async ([url, key]) => {
    const headers = {authorization: `Bearer ${key}`, "content-type": "application/json"};
    const reply = await fetch(url, {method: "POST", headers, body: '{"return_to": "/gateway/dashboard"}'});
    return (await reply.json()).authorize_url;
}"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    assert CHROMIUM, MISSING
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page in which no script fails."""
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []


async def test_its_page_is_in_the_gateway_s_frame_and_is_plain_text(shared: Station, page: Page) -> None:
    reply = await page.goto(f"{shared.gateway.url}/v1/parcel/welcome")
    assert reply is not None
    assert reply.status == 200
    assert await page.inner_text("h1") == "Parcels <and more>"
    assert "We carry it." in await page.inner_text("body")


async def test_an_account_is_connected_in_the_browser_or_denied(shared: Station, page: Page) -> None:
    for decision, heading in (("Deny", "Not connected"), ("Allow", "Connected")):
        await page.goto(f"{shared.gateway.url}/docs")
        address = await page.evaluate(LOGIN, [f"{shared.gateway.url}/v1/parcel/account/login", shared.key])
        await page.goto(address)
        await page.get_by_role("link", name=decision).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    await expect(page.get_by_role("main")).to_contain_text("eve may print labels.")
    await expect(page.get_by_role("link", name="Back")).to_have_attribute("href", "/gateway/dashboard")
    await page.reload()  # a state works once
    await expect(page.get_by_role("heading", level=1)).to_have_text("This did not work")
    assert (await shared.call("GET", "/v1/parcel/account")).json == {"account": "eve", "is_connected": True}


async def test_customers_send_parcels_in_their_dashboard(shared: Station, page: Page) -> None:
    await page.goto(f"{shared.gateway.url}/gateway/dashboard")
    await page.get_by_label("Your key").fill(shared.key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Parcels").click()
    await expect(page.get_by_role("heading", name="Parcels", exact=True, level=1)).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("No parcels.")
    await page.get_by_label("Weight").fill("0")
    await page.get_by_role("button", name="Send a parcel").click()
    await expect(page.get_by_label("Weight")).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Weight").fill("700")
    await page.get_by_role("button", name="Send a parcel").click()
    await expect(page.get_by_role("main")).to_contain_text("Done.")
    [sent] = (await shared.call("GET", "/v1/parcel/parcels")).json["parcels"]
    assert sent["grams"] == 700


async def test_operators_see_a_customer_s_parcels_and_act_on_them(shared: Station, page: Page) -> None:
    number = (await shared.call("POST", "/v1/parcel/parcels", {"grams": 900})).json["number"]
    await shared.state_of(number, "delivered")
    _, other = await shared.customer(f"other-{shared.email}")
    await shared.call("POST", "/v1/parcel/parcels", {"grams": 901}, key=other)
    await page.goto(f"{shared.gateway.url}/gateway/integrations/parcel/parcels?customer_id={shared.customer_id}")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Parcels", exact=True, level=1)).to_be_visible()
    row = page.get_by_role("row").filter(has_text="900 g")
    await expect(row).to_contain_text("delivered")
    await expect(page.get_by_role("main")).not_to_contain_text("901 g")
    await row.get_by_role("link", name="Found").click()
    await expect(page.get_by_role("main")).to_contain_text("The parcel was found.")
    await page.get_by_role("button", name="Found").click()
    await expect(page.get_by_role("main")).to_contain_text("Done.")
    assert (await shared.call("GET", f"/v1/parcel/parcels/{number}")).json["state"] == "found"
