"""What people see of pushes: a customer follows a deploy from the dashboard to its address, an operator the registry."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.chromium import CHROMIUM, MISSING
from tests.support.process import SECRETS

from .stand_in import Fault
from .station import Station

DATA = b"<h1>hello</h1>"


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        pytest.fail(MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page()


async def open_dashboard(page: Page, station: Station) -> None:
    """Log in with a key, and open the tab of pushes."""
    await page.goto(f"{station.gateway.url}/gateway/dashboard")
    await page.get_by_label("Your key").fill(station.key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="KaixuPush").click()
    await expect(page.get_by_role("heading", name="KaixuPush", exact=True, level=1)).to_be_visible()


async def open_admin(page: Page, station: Station) -> None:
    """Log in as the operator, on the customer's tab of pushes."""
    await page.goto(f"{station.gateway.url}/gateway/integrations/push/kaixupush?customer_id={station.customer_id}")
    await page.get_by_label("Password").fill(SECRETS["ADMIN_PASSWORD"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="KaixuPush", exact=True, level=1)).to_be_visible()


async def test_a_customer_follows_a_deploy_from_the_dashboard_to_its_address(station: Station, page: Page) -> None:
    station.netlify.processes = 4
    await open_dashboard(page, station)
    await expect(page.get_by_role("main")).to_contain_text("Nothing has been published yet")
    push = await station.begun({"/a": DATA, "/b": b"b"}, branch="spring")
    row = page.get_by_role("row").filter(has_text="spring")
    await expect(row).to_contain_text("prepared", timeout=30_000)
    await expect(row).to_contain_text("0 of 2")
    for path, data in (("/a", DATA), ("/b", b"b")):
        await station.upload(push["pushId"], path, data)
    await expect(row).to_contain_text("2 of 2", timeout=30_000)
    await expect(row).to_contain_text("ready", timeout=30_000)
    link = row.get_by_role("link", name=f"https://{station.site}.example.net")
    await expect(link).to_have_attribute("href", f"https://{station.site}.example.net")
    assert station.netlify.sites[station.site].published.keys() == {"a", "b"}


async def test_a_customer_makes_a_project_and_sets_a_token(station: Station, page: Page) -> None:
    await station.call("DELETE", "netlify-token")
    await open_dashboard(page, station)
    await expect(page.get_by_role("main")).to_contain_text("A Netlify token is not set.")
    await page.get_by_label("Netlify token").fill(station.token)
    await page.get_by_role("button", name="Set the token").click()
    await expect(page.get_by_role("main")).to_contain_text("A Netlify token is set.")
    await page.get_by_label("Project ID").fill("shop")
    await page.get_by_label("Netlify Site ID").fill("a-site-of-somebody-else")
    await page.get_by_role("button", name="Save the project").click()
    await expect(page.get_by_role("main")).to_contain_text("This site is not yours")
    await page.get_by_label("Netlify Site ID").fill(station.site)
    await page.get_by_role("button", name="Save the project").click()
    await expect(page.get_by_role("main")).to_contain_text("shop")
    projects = (await station.call("GET", "push-projects")).json["projects"]
    assert [one["project_id"] for one in projects] == ["shop", "blog"]


async def test_an_operator_sees_registry_history_files_and_invoices(station: Station, page: Page) -> None:
    await station.published({"/a": DATA})
    push_id = (await station.begun({"/b": b"b"}))["pushId"]
    await station.chunk(push_id, "/b", b"b", 0, 1)
    station.netlify.fault("put", Fault(429, headers={"retry-after": "3000"}))
    await station.assemble(push_id, "/b", b"b", 1)
    await station.file_in(push_id, b"b", "retry_wait")
    await open_admin(page, station)
    main = page.get_by_role("main")
    for heading in ("Project registry", "Deploy history", "Chunk jobs", "Push invoices"):
        await expect(main.get_by_role("heading", name=heading)).to_be_visible()
    await expect(main).to_contain_text("retry_wait")
    await page.get_by_role("row").filter(has_text="retry_wait").get_by_role("button", name="Retry").click()
    await expect(main).to_contain_text("Done.")
    await station.file_in(push_id, b"b", "done")
    await page.get_by_role("button", name="Generate").click()
    await expect(main).to_contain_text("Done.")
    await expect(page.get_by_role("row").filter(has_text="$0.10")).to_contain_text("14 B")
    await page.get_by_role("row").filter(has_text=station.site).get_by_role("link", name="Edit").first.click()
    await page.get_by_label("Name").fill("A better name")
    await page.get_by_role("button", name="Save").click()
    await expect(main).to_contain_text("A better name")
