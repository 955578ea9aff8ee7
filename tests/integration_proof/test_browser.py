"""What `kaixu-parcel` shows to people with a browser."""

from __future__ import annotations

from playwright.async_api import async_playwright

from tests.support.chromium import CHROMIUM, MISSING

from .station import Station


async def test_its_page_is_in_the_gateway_s_frame_and_is_plain_text(station: Station) -> None:
    assert CHROMIUM, MISSING
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        reply = await page.goto(f"{station.gateway.url}/v1/parcel/welcome")
        assert reply is not None
        assert reply.status == 200
        assert await page.inner_text("h1") == "Parcels <and more>"
        assert "We carry it." in await page.inner_text("body")
        await browser.close()
    assert errors == []
