"""What customers and operators see in a browser: an account that is connected, a ZIP that is pushed, its commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.support.chromium import CHROMIUM, MISSING
from tests.support.process import SECRETS

from .pusher import Pusher, zipped
from .stand_in import Account

LOGIN = """async ([url, key]) => {
    const headers = {authorization: `Bearer ${key}`, "content-type": "application/json"};
    const reply = await fetch(url, {method: "POST", headers, body: '{"return_to": "/gateway/dashboard"}'});
    return (await reply.json()).authorize_url;
}"""
TAB = "/gateway/dashboard/integrations/github/github-push"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page in which no script fails."""
    assert CHROMIUM, MISSING
    async with async_playwright() as playwright:
        browser: Browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        assert errors == []
        await browser.close()


async def signed_in(page: Page, ada: Pusher) -> None:
    """Ada in her dashboard, at the tab of pushes."""
    await page.goto(f"{ada.gateway.url}/gateway/dashboard")
    await page.get_by_label("Your key").fill(ada.key)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="GitHub Push").click()
    await expect(page.get_by_role("heading", name="GitHub Push", exact=True, level=1)).to_be_visible()


async def test_a_customer_connects_pushes_a_zip_and_sees_the_commit(ada: Pusher, page: Page, tmp_path: Path) -> None:
    await ada.call("DELETE", "github-token")
    await signed_in(page, ada)
    main = page.get_by_role("main")
    await expect(main.get_by_text("GitHub is not connected.").first).to_be_visible()
    ada.server.oauth.person = Account(ada.login, ada.account.id)
    address = await page.evaluate(LOGIN, [f"{ada.gateway.url}/v1/github/oauth", ada.key])
    await page.goto(address)
    await page.get_by_role("link", name="Allow").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("GitHub is connected")
    await expect(main).to_contain_text(f"The account {ada.login} is connected.")

    await page.goto(f"{ada.gateway.url}{TAB}")
    await expect(main).to_contain_text(ada.login)
    await expect(main.get_by_role("cell", name=ada.repo)).to_be_visible()
    archive = tmp_path / "site.zip"
    archive.write_bytes(zipped({"index.html": "<h1>Hello</h1>", "run.sh": (0o755, "#!/bin/sh")}))
    await page.get_by_label("Repository").fill("site")
    await page.get_by_label("Message").fill("From the browser")
    await page.locator("input[type=file]").set_input_files(archive)
    await page.get_by_role("button", name="Push", exact=True).click()
    row = page.get_by_role("row").filter(has_text=ada.repo).filter(has_text="done")
    await expect(row).to_be_visible(timeout=60_000)
    commit = ada.server.git(ada.repo, "rev-parse", "main")
    await expect(row).to_contain_text(commit[:7])
    assert ada.server.log(ada.repo) == ["From the browser"]
    assert set(ada.server.files(ada.repo)) == {"index.html", "run.sh"}


async def test_a_customer_stores_a_token_and_removes_it(ada: Pusher, page: Page) -> None:
    await signed_in(page, ada)
    main = page.get_by_role("main")
    await page.get_by_role("link", name="Disconnect").click()
    await expect(main).to_contain_text("Pushes fail until another one is stored.")
    await page.get_by_role("button", name="Disconnect").click()
    await expect(main.get_by_text("GitHub is not connected.").first).to_be_visible()
    await page.get_by_label("GitHub token").fill("ghp_nonsense")
    await page.get_by_role("button", name="Store the token").click()
    await expect(main.get_by_text("GitHub does not accept this token").first).to_be_visible()
    await page.get_by_label("GitHub token").fill(ada.token)
    await page.get_by_role("button", name="Store the token").click()
    await expect(main).to_contain_text("Done.")
    await expect(main.get_by_text(ada.login).first).to_be_visible()


async def test_operators_see_the_account_the_repositories_and_the_jobs_of_a_customer(ada: Pusher, page: Page) -> None:
    job = await ada.push({"a.txt": "a"})
    await page.goto(f"{ada.gateway.url}/gateway/integrations/github/github-push-gateway?customer_id={ada.id}")
    await page.get_by_label("Password").fill(SECRETS["ADMIN_PASSWORD"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="GitHub Push Gateway", exact=True, level=1)).to_be_visible()
    main = page.get_by_role("main")
    await expect(main).to_contain_text(ada.login)
    await expect(page.get_by_role("row").filter(has_text=job["jobId"])).to_contain_text("done")
    assert ada.token not in await page.content()
