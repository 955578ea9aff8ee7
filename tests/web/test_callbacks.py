"""An account is connected with a vendor in a real browser, from a page of the gateway and from another site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.money import customer, virtual_key
from tests.support.oauth_vendor import PLUGIN, SECTION, oauth_vendor
from tests.support.process import Process
from tests.vendors.stage import database

from .blocking import run

BEGIN = """async ([url, key]) => {
    const headers = {authorization: `Bearer ${key}`, "content-type": "application/json"};
    const reply = await fetch(url, {method: "POST", headers, body: '{"return_to": "/gateway/dashboard"}'});
    return (await reply.json()).authorize_url;
}"""


@pytest.fixture(scope="module")
def linked(
    server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, str, str]]:
    """A gateway, a customer's key and its address, and the vendor is there."""
    import asyncpg

    home: Path = tmp_path_factory.mktemp("linked")
    (home / "link.py").write_text(PLUGIN)
    with oauth_vendor() as vendor, database(server_dsn, pristine) as dsn:
        process = Process(home, dsn, SECTION.format(vendor=vendor.url))
        process.environment["GATEWAY_URL"] = process.url
        process.environment["ALLOWED_ORIGINS"] = vendor.url

        async def key_of() -> tuple[str, str]:
            connection = await asyncpg.connect(dsn)
            try:
                customer_id = await customer(connection)
                key = (await virtual_key(connection, customer_id))[1]
                email = await connection.fetchval("select email from kaixu.customer where id = $1", customer_id)
                return key, email
            finally:
                await connection.close()

        key, email = run(key_of())
        run(process.start())
        try:
            yield process, key, email
        finally:
            run(process.stop())


def test_connecting_from_a_page_of_the_gateway_needs_no_question(
    browser: Browser, linked: tuple[Process, str, str]
) -> None:
    process, key, _ = linked
    page = browser.new_context().new_page()
    page.goto(f"{process.url}/docs")
    page.goto(page.evaluate(BEGIN, [f"{process.url}/api/link-start", key]))
    page.get_by_role("link", name="Allow").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Connected")
    expect(page.get_by_role("link", name="Back")).to_have_attribute("href", "/gateway/dashboard")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("This did not work")
    page.context.close()


def test_a_denial_is_a_page_too(browser: Browser, linked: tuple[Process, str, str]) -> None:
    process, key, _ = linked
    page = browser.new_context().new_page()
    page.goto(f"{process.url}/docs")
    page.goto(page.evaluate(BEGIN, [f"{process.url}/api/link-start", key]))
    page.get_by_role("link", name="Deny").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not connected")
    page.context.close()


def test_connecting_from_another_site_names_the_account_and_asks(
    browser: Browser, linked: tuple[Process, str, str]
) -> None:
    process, key, email = linked
    page = browser.new_context().new_page()
    page.goto(f"{process.url}/docs")
    address = page.evaluate(BEGIN, [f"{process.url}/api/link-start", key])
    page.context.clear_cookies()  # as in another browser, or from another site
    page.goto(address)
    page.get_by_role("link", name="Allow").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Continue with link?")
    expect(page.get_by_role("main")).to_contain_text(email)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Connected")
    page.context.close()
