"""Browsers that come back from a vendor: once, in the browser that began it, with the key still valid."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.oauth_vendor import PLUGIN, SECTION, OAuthVendor, oauth_vendor
from tests.support.operators import admin_headers
from tests.support.process import Process
from tests.vendors.stage import database

OWN = {"sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def vendor() -> Iterator[OAuthVendor]:
    with oauth_vendor() as made:
        yield made


@pytest.fixture(scope="module")
def gateways(
    server_dsn: str, pristine: str, vendor: OAuthVendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Process]]:
    """Two gateways with one database: what one begins, the other can finish."""
    import asyncio

    made: list[Process] = []
    with database(server_dsn, pristine) as dsn:
        for number in range(2):
            home = tmp_path_factory.mktemp(f"link{number}")
            (home / "link.py").write_text(PLUGIN)
            process = Process(home, dsn, SECTION.format(vendor=vendor.url))
            process.environment["GATEWAY_URL"] = made[0].url if made else process.url
            made.append(process)
            asyncio.run(process.start())
        yield made
        for process in made:
            asyncio.run(process.stop())


class Person:
    """Somebody with an account and a browser."""

    def __init__(self, gateways: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
        self.gateways = gateways
        self.pool = pool
        self.http = http
        self.cookie = ""
        self.customer_id = 0
        self.key_id = 0
        self.key = ""

    async def start(
        self, *, to: str = "start", headers: dict[str, str] = OWN, status: int = 200, **body: Any
    ) -> dict[str, Any]:
        url = f"{self.gateways[0].url}/v1/link/{to}"
        credential = admin_headers() if to == "operators" else {"authorization": f"Bearer {self.key}"}
        async with self.http.post(url, json=body, headers=headers | credential) as answer:
            reply: dict[str, Any] = await answer.json()
            assert answer.status == status, reply
            self.cookie = (answer.headers.get("set-cookie") or "").partition(";")[0]
            return reply

    async def open(self, url: str, *, cookie: str | None = None, gateway: int = 0) -> tuple[int, str]:
        """A page in the browser."""
        url = url.replace(self.gateways[0].url, self.gateways[gateway].url)
        headers = {"cookie": self.cookie if cookie is None else cookie, "accept": "text/html"}
        async with self.http.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def confirm(self, page: str, *, site: str = "same-origin") -> tuple[int, str]:
        """Press the button of the page that asks."""
        [action] = re.findall(r'<form[^>]* action="(/v1/link/callbacks/[^"]+)"', page)
        form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
        headers = {"sec-fetch-site": site, "accept": "text/html"}
        async with self.http.post(f"{self.gateways[0].url}{action}", data=form, headers=headers) as answer:
            return answer.status, await answer.text()

    async def token(self) -> str | None:
        url = f"{self.gateways[0].url}/v1/link/show"
        async with self.http.post(url, json={}, headers={"authorization": f"Bearer {self.key}"}) as answer:
            token: str | None = (await answer.json())["token"]
            return token


@pytest.fixture
async def pool(gateways: list[Process]) -> AsyncIterator[asyncpg.Pool]:
    made = await open_pool(gateways[0].environment["DATABASE_URL"])
    yield made
    await made.close()


@pytest.fixture
async def person(gateways: list[Process], pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Person:
    made = Person(gateways, pool, http)
    made.customer_id = await customer(pool)
    made.key_id, made.key = await virtual_key(pool, made.customer_id)
    return made


def asked(url: str) -> dict[str, str]:
    """What the vendor is asked."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize("gateway", [0, 1], ids=["the same gateway", "another gateway"])
async def test_an_account_is_connected_with_a_vendor_once(person: Person, vendor: OAuthVendor, gateway: int) -> None:
    begun = await person.start(scope="all of it", return_to="/gateway/dashboard")
    assert begun["redirect_uri"] == f"{person.gateways[0].url}/v1/link/callbacks/account"
    assert person.cookie.startswith("__Host-kaixu-cb-")
    back = vendor.consent(asked(begun["authorize_url"]))
    status, page = await person.open(back, gateway=gateway)
    assert status == 200, page
    assert f"Connected with the scope all of it for key {person.customer_id}." in page
    assert 'href="/gateway/dashboard"' in page
    assert await person.token() == "token-of-the-vendor"
    for other in (0, 1):
        status, page = await person.open(back, gateway=other)
        assert status == 400
        assert "used before" in page
    assert await person.pool.fetchval(
        "select count(*) from kaixu.usage_event where customer_id = $1 and operation = 'link.callbacks.account'",
        person.customer_id,
    ) == 1  # fmt: skip
    await assert_books_balance(person.pool)


async def test_an_alias_of_the_older_edition_finishes_too(person: Person, vendor: OAuthVendor) -> None:
    for prefix in ("/api", "/.netlify/functions"):
        begun = await person.start()
        back = vendor.consent(asked(begun["authorize_url"]))
        back = back.replace("/v1/link/callbacks/account", f"{prefix}/link-callback")
        assert (await person.open(back))[0] == 200
        assert vendor.exchanges[-1]["redirect_uri"] == begun["redirect_uri"]  # what the vendor was told, always


async def test_a_denial_reaches_the_handler(person: Person, vendor: OAuthVendor) -> None:
    begun = await person.start()
    status, page = await person.open(vendor.consent(asked(begun["authorize_url"]), allow=False))
    assert status == 200
    assert "You said no: access_denied." in page
    assert await person.token() is None


async def test_a_wrong_code_is_the_handler_s_page(person: Person) -> None:
    begun = await person.start()
    status, page = await person.open(f"{begun['redirect_uri']}?code=made-up&state={begun['state']}")
    assert status == 502
    assert "The exchange failed." in page


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "cross-site", "origin": "https://shop.example.com"}])
async def test_what_was_begun_elsewhere_names_the_account_and_asks(
    person: Person, vendor: OAuthVendor, headers: dict[str, str]
) -> None:
    begun = await person.start(headers=headers)
    assert person.cookie == ""
    back = vendor.consent(asked(begun["authorize_url"]))
    exchanges = len(vendor.exchanges)
    status, page = await person.open(back)
    assert status == 200
    email = await person.pool.fetchval("select email from kaixu.customer where id = $1", person.customer_id)
    assert f"the account {email}" in page
    assert len(vendor.exchanges) == exchanges  # nothing has happened yet
    status, _ = await person.confirm(page, site="cross-site")  # no other site can press the button
    assert status == 403
    assert await person.token() is None
    status, page = await person.confirm(page)
    assert status == 200, page
    assert "Connected" in page
    assert await person.token() == "token-of-the-vendor"


async def test_another_browser_is_asked_first(person: Person, vendor: OAuthVendor) -> None:
    """An attacker begins with an account of its own, and sends the address to a victim."""
    begun = await person.start()
    back = vendor.consent(asked(begun["authorize_url"]))
    for cookie in ("", person.cookie[:-1] + "x", person.cookie.partition("=")[0] + "="):
        status, page = await person.open(back, cookie=cookie)
        assert (status, "Continue with link?" in page) == (200, True)
    assert await person.token() is None
    assert (await person.open(back))[0] == 200
    assert await person.token() == "token-of-the-vendor"


async def test_a_key_that_was_revoked_meanwhile_connects_nothing(person: Person, vendor: OAuthVendor) -> None:
    begun = await person.start()
    await person.pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", person.key_id)
    exchanges = len(vendor.exchanges)
    status, page = await person.open(vendor.consent(asked(begun["authorize_url"])))
    assert status == 401
    assert "This did not work" in page
    assert len(vendor.exchanges) == exchanges


async def test_operators_begin_for_a_customer(person: Person, vendor: OAuthVendor) -> None:
    begun = await person.start(to="operators", customer_id=person.customer_id, scope="theirs")
    status, page = await person.open(vendor.consent(asked(begun["authorize_url"])))
    assert status == 200, page
    assert f"theirs for operator {person.customer_id}." in page
    assert await person.token() == "token-of-the-vendor"


async def test_states_that_are_none(person: Person, vendor: OAuthVendor) -> None:
    begun = await person.start()
    uri = begun["redirect_uri"]
    for query in ("", "?code=x", "?state=", "?state=made-up&code=x", f"?state={'x' * 5000}", "?state=%00&code=%00"):
        status, page = await person.open(uri + query)
        assert status in (400, 414), query
        assert "<h1" in page or status == 400
    await person.pool.execute("update kaixu.callback_state set expires_at = now()")
    assert (await person.open(vendor.consent(asked(begun["authorize_url"]))))[0] == 400
    other = await person.start()
    assert (await person.open(f"{uri.replace('account', 'result')}?state={other['state']}"))[0] == 400


@pytest.mark.parametrize(
    "address", ["https://elsewhere.example.com/x", "//elsewhere.example.com", "/\\elsewhere", "javascript:alert(1)", ""]
)
async def test_return_to_is_a_page_of_this_gateway(person: Person, address: str) -> None:
    reply = await person.start(return_to=address, status=422)
    assert (reply["code"], reply["field"]) == ("INVALID_FIELD", "return_to")


async def test_return_to_may_be_the_whole_address_of_a_page(person: Person, vendor: OAuthVendor) -> None:
    begun = await person.start(return_to=f"{person.gateways[0].url}/gateway/dashboard?tab=1")
    _, page = await person.open(vendor.consent(asked(begun["authorize_url"])))
    assert 'href="/gateway/dashboard?tab=1"' in page


async def test_a_link_can_be_opened_again_also_when_the_key_is_revoked(person: Person) -> None:
    begun = await person.start(callback="result", scope="order 7", lifetime_s=24 * 3600)
    assert begun["authorize_url"] == f"{begun['redirect_uri']}?state={begun['state']}"
    await person.pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", person.key_id)
    for _ in range(3):
        status, page = await person.open(begun["authorize_url"] + "&session=cs_1", cookie="")
        assert status == 200
        assert f"order 7 {person.customer_id} [&#39;session&#39;]" in page


async def test_nobody_can_call_a_callback_as_an_operation(person: Person) -> None:
    for method, path in (("POST", "callbacks/account"), ("GET", "callbacks/nothing"), ("POST", "callbacks.account")):
        url = f"{person.gateways[0].url}/v1/link/{path}"
        headers = {"authorization": f"Bearer {person.key}"}
        async with person.http.request(method, url, headers=headers) as answer:
            assert answer.status in (400, 403, 404, 405)


async def test_the_rows_hold_neither_state_nor_verifier_nor_cookie(person: Person, vendor: OAuthVendor) -> None:
    begun = await person.start(scope="very secret wish")
    [rows] = await person.pool.fetch(
        "select string_agg(s::text, ' ') as text from kaixu.callback_state s where s.customer_id = $1",
        person.customer_id,
    )
    text = rows["text"]
    secrets = (begun["state"], person.cookie.partition("=")[2], "very secret")
    for secret in secrets:
        assert secret not in text
        assert secret.encode().hex() not in text


async def test_a_gateway_without_an_address_says_so(
    person: Person, vendor: OAuthVendor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("nowhere")
    (home / "link.py").write_text(PLUGIN)
    process = Process(home, person.gateways[0].environment["DATABASE_URL"], SECTION.format(vendor=vendor.url))
    await process.start()
    try:
        person.gateways = [process]
        reply = await person.start(status=501)
        assert "GATEWAY_URL" in reply["hint"]
    finally:
        await process.stop()
