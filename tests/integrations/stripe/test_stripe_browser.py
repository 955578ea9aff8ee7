"""What people see in a browser: a customer pays on the stand-in's page and comes back; an operator looks after it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright, expect

from tests.support.chromium import CHROMIUM, MISSING

from .shop import Shop
from .stand_in import HOSTED, Stripe


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    assert CHROMIUM, MISSING
    expect.set_options(timeout=30_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser, stripe: Stripe) -> AsyncIterator[Page]:
    """A page in which no script fails, and for which Stripe's pages are the stand-in's."""
    page = await browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    async def to_stand_in(route: Route) -> None:
        url = route.request.url.replace(HOSTED, stripe.url)
        answer = await route.fetch(url=url)
        await route.fulfill(response=answer)

    await page.route(f"{HOSTED}/**", to_stand_in)
    yield page
    assert errors == []


async def sign_in(shop: Shop, page: Page) -> None:
    """To the customer's tab of payments."""
    await page.goto(f"{shop.process.url}/gateway/dashboard")
    await page.get_by_label("Your key").fill(shop.key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Payments").click()
    await expect(page.get_by_role("heading", name="Payments", exact=True, level=1)).to_be_visible()


async def test_a_customer_pays_comes_back_and_sees_the_balance(shop: Shop, stripe: Stripe, page: Page) -> None:
    await sign_in(shop, page)
    main = page.get_by_role("main")
    await expect(main).to_contain_text("No payments yet.")
    await page.get_by_label("Amount").fill("0.50")
    await page.get_by_role("button", name="Pay by Stripe").click()
    await expect(page.get_by_label("Amount").first).to_have_attribute("aria-invalid", "true")
    await page.get_by_label("Amount").first.fill("25")
    await page.get_by_label("Save the card for automatic top-ups").check()
    await page.get_by_role("button", name="Pay by Stripe").click()
    await page.get_by_role("main").get_by_role("link", name=HOSTED.removeprefix("https://")).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Kaixu Usage Top-up")
    await expect(page.get_by_text("$25.00")).to_be_visible()
    await page.get_by_role("link", name="Cancel").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not paid")
    await page.get_by_role("link", name="Go on paying").click()
    await page.get_by_role("button", name="Pay", exact=True).click()
    await page.get_by_role("link", name="Return to the shop").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Paid")
    await expect(page.get_by_role("main")).to_contain_text("$25.00 are on your account.")
    await page.get_by_role("link", name="To the dashboard").click()
    await expect(page.get_by_role("main")).to_contain_text("$25.00")
    await expect(page.get_by_role("link", name="receipt")).to_have_attribute(
        "href", re.compile(r"^https://pay\.stripe\.example/")
    )
    assert await shop.topups() == [2500]
    await shop.deliver_all()
    assert await shop.topups() == [2500]


async def test_a_customer_switches_automatic_top_ups_on_and_removes_the_card(
    shop: Shop, stripe: Stripe, page: Page
) -> None:
    stripe.pay((await shop.checkout(1000, save_card=True))["id"])
    await shop.deliver_all()
    await sign_in(shop, page)
    await expect(page.get_by_role("main")).to_contain_text("visa …4242")
    await page.get_by_label("Charge the newest card when my balance is low").check()
    await page.get_by_label("When less is left than").fill("5")
    form = page.locator("form").filter(has_text="When less is left than")
    await form.get_by_label("Amount").fill("20")
    await form.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("main")).to_contain_text("Done.")
    expected = {"enabled": True, "threshold_cents": 500, "amount_cents": 2000}
    assert (await shop.balance())["auto_topup"] == expected
    await page.get_by_role("row").filter(has_text="4242").first.get_by_role("link", name="Remove").click()
    await page.get_by_role("button", name="Remove").click()
    await expect(page.get_by_role("main")).to_contain_text("No saved card.")
    assert (await shop.balance())["auto_topup"]["enabled"] is False


async def test_operators_see_payments_disputes_and_failed_events(shop: Shop, stripe: Stripe, page: Page) -> None:
    session = await shop.checkout(4321)
    stripe.pay(session["id"])
    await shop.deliver_all()
    stripe.dispute(session["payment_intent"], 4321)
    await shop.deliver_all()
    event = f"evt_failed_{shop.customer_id}"
    await shop.pool.execute(
        "insert into kaixu_stripe.event (id, type, payment_id, error, received_at) "
        "select $1, 'charge.refunded', id, 'UPSTREAM_BUSY', now() - interval '1 hour' from kaixu_stripe.payment "
        "where customer_id = $2",
        event, shop.customer_id,
    )  # fmt: skip
    await page.goto(f"{shop.process.url}/gateway/integrations/stripe/stripe")
    await page.get_by_label("Password").fill(shop.process.environment["ADMIN_PASSWORD"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Stripe", exact=True, level=1)).to_be_visible()
    row = page.get_by_role("row").filter(has_text="$43.21").first
    await expect(row).to_contain_text("disputed")
    await expect(page.get_by_role("main")).to_contain_text("needs response")
    failed = page.get_by_role("row").filter(has_text=event)
    await expect(failed).to_contain_text("UPSTREAM_BUSY")
    await failed.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("main")).to_contain_text("Done.")
    async with asyncio.timeout(30):
        while await page.get_by_role("row").filter(has_text=event).count():  # it is shown until it is settled
            await asyncio.sleep(0.1)
            await page.goto(f"{shop.process.url}/gateway/integrations/stripe/stripe")
    await page.goto(f"{shop.process.url}/gateway/billing?customer_id={shop.customer_id}")
    card = page.get_by_role("main")
    await expect(card).to_contain_text("Stripe payments")
    await card.locator("form").filter(has_text="Make a checkout").get_by_label("Amount").fill("12")
    await card.get_by_role("button", name="Make a checkout").click()
    await expect(page.get_by_role("main")).to_contain_text(f"{HOSTED}/pay/")
