"""Changes that another site's page, another session or a role without the right tries to make: every route refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import asyncpg
import pytest

from kaixu.edge.operator_cookies import SESSION_COOKIE
from kaixu.edge.routes import Route
from kaixu.edge.tokens import make_session_token
from kaixu.gateway.app import Application
from kaixu.web.page_sessions import CUSTOMER_COOKIE
from kaixu.web.public.older_addresses import OLDER
from tests.api.admin.conftest import Operator
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture
from tests.support.operators import admin_token, operator_with_role
from tests.support.process import SECRETS

OWN_PAGE = {"sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

#: Where browsers say that a request comes from when another page has sent it, and programs that say nothing.
ELSEWHERE: tuple[Mapping[str, str], ...] = (
    {},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": ""},
    {"sec-fetch-site": "Same-Origin"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
    {"origin": "null"},
    {"origin": "https://evil.example"},
    {"origin": "http://localhost.evil.example"},
    {"origin": "http://localhost@evil.example"},
    {"origin": "//localhost"[2:]},
    {"referer": "http://localhost/gateway"},
)

#: Pages whose forms everybody may send, without a session: only where they come from protects them.
WITHOUT_SESSION = {"/gateway/login", "/gateway/dashboard/sign-in", "/gateway/theme"}
#: The pages behind links that were mailed: the token of the link is the credential, and a cookie counts nothing there.
BY_LINK = {"/request-key/link", "/api/admin-invitation"}

#: What a viewer may send: things of their own account, and the logout.
OWN_ACCOUNT = {
    "/gateway/logout",
    "/gateway/account",
    "/gateway/account/password",
    "/gateway/account/second-factor",
    "/gateway/account/second-factor/confirm",
    "/gateway/account/second-factor/off",
    "/gateway/exports/columns",  # it only leads to the address of what was chosen
}

#: Fields that changes have, so that a page that forgot a check would make one.
FIELDS = {
    "customer_id": "1", "key_id": "1", "email": "attacker@example.com", "label": "x", "name": "x", "role": "owner",
    "operator_id": "1", "session_id": "1", "token_id": "1", "app_id": "x", "number": "1",
    "amount": "5", "days": "1", "count": "1", "note": "x", "reason": "x", "confirm": "true", "is_active": "false",
    "columns": "app_id", "month": "2020-01", "plan": "starter", "active": "false", "install_id": "x", "reset": "password",
}  # fmt: skip


def path_of(route: Route) -> str:
    """A path of a route, with something in the place of its parameters."""
    return re.sub(r"<[^>]+>", "x", route.paths[0])


def changes(app: Application) -> Iterator[Route]:
    """The routes that may change something."""
    return (route for route in app.exchange.routes.all if route.method not in ("GET", "HEAD", "OPTIONS"))


def pages_with_forms(app: Application, *, customers: bool = False) -> list[str]:
    """The pages with a session whose forms change something: those of operators, or of customers."""
    found = [path_of(route) for route in changes(app) if "/gateway" in route.paths[0][:8]]
    return [
        path for path in found
        if path not in WITHOUT_SESSION and path.startswith("/gateway/dashboard") == customers
    ]  # fmt: skip


def with_file(fields: Mapping[str, str]) -> bytes:
    """A form whose last part is a file."""
    parts = [f'--edge\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields]
    file = '--edge\r\ncontent-disposition: form-data; name="file"; filename="x.txt"\r\n\r\nx\r\n--edge--\r\n'
    return "".join([*parts, file]).encode()


class Browser:
    """A client with a session's cookie."""

    def __init__(self, app: Application, name: str = SESSION_COOKIE, session: str = "") -> None:
        self.client = app.test_client(use_cookies=False)
        self.cookie = {"cookie": f"{name}={session or admin_token()}"}

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], fields: Mapping[str, str] | bytes = b""
    ) -> tuple[int, str, Any]:
        """The status, the text and the headers of a reply. A form with a file is sent as one."""
        body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        if "/upload/" in path and isinstance(fields, Mapping) and headers.get("content-type") == FORM["content-type"]:
            headers, body = {**headers, "content-type": "multipart/form-data; boundary=edge"}, with_file(fields)
        lengths = {"content-length": str(len(body))} if body else {}
        sent: dict[str, Any] = {"method": method, "headers": {**self.cookie, **lengths, **headers}, "data": body}
        response = await self.client.open(path, **sent)
        return response.status_code, str(await response.get_data(as_text=True)), response.headers

    async def form_token(self, page: str = "/gateway/account") -> str:
        """The form token of this session, as a page of it has it."""
        status, text, _ = await self.send("GET", page, {})
        assert status == 200, text
        return str(re.findall(r'name="form_token" value="([0-9a-f]+)"', text)[0])


async def books(pool: asyncpg.Pool) -> Any:
    """What every change leaves a trace in."""
    return await pool.fetchrow(
        """
        select (select count(*) from kaixu.audit_event) as audited, (select count(*) from kaixu.customer) as customers,
               (select count(*) from kaixu.virtual_key where revoked_at is null) as keys,
               (select count(*) from kaixu.operator) as operators,
               (select count(*) from kaixu.operator_session where revoked_at is null) as sessions
        """
    )


@pytest.fixture
async def customer(app: Application, pool: asyncpg.Pool) -> str:
    """A customer with a key, as the session of that key."""
    owner = Operator(app, authorization=f"Bearer {admin_token()}")
    customer_id = (await owner.send("POST", "admin-customers", {"email": "one@example.com", "monthly_cap_cents": 100}))[
        "customer"
    ]["id"]
    made = await owner.send("POST", "admin-keys", {"customer_id": customer_id, "label": "master", "role": "owner"})
    key_id = made["api_key"]["id"]
    return make_session_token(
        SECRETS["JWT_SECRET"], key_id=key_id, customer_id=customer_id, key_last4="abcd", ttl_s=600
    )


async def test_no_change_with_a_cookie_comes_from_elsewhere(app: Application, pool: asyncpg.Pool) -> None:
    owner = Browser(app)
    token = await owner.form_token()
    before = await books(pool)
    seen = 0
    for route in changes(app):
        path = path_of(route)
        if path in BY_LINK or route.auth in ("key", "key_only") or (route.auth == "public" and path[:8] != "/gateway"):
            continue  # a cookie counts nothing there
        for where in (*ELSEWHERE[:2], ELSEWHERE[2 + seen // 3 % (len(ELSEWHERE) - 2)]):
            status, text, headers = await owner.send(
                route.method, path, {"host": "localhost", **FORM, **where}, {**FIELDS, "form_token": token}
            )
            # Endpoints for keys as well read the body first.
            is_refused = status == 403 and "CROSS_SITE" in text
            is_refused |= route.auth == "key_or_operator" and status in (400, 422)
            assert is_refused, (route.method, path, where, status, text)
            assert "set-cookie" not in headers, (path, where)
            seen += 1
    assert seen > 200
    assert await books(pool) == before


@pytest.mark.parametrize("cookie", ["operator", "customer"])
async def test_a_cookie_is_no_credential_of_the_customers_api(
    app: Application, pool: asyncpg.Pool, customer: str, cookie: str
) -> None:
    browser = Browser(app) if cookie == "operator" else Browser(app, CUSTOMER_COOKIE, customer)
    before = await books(pool)
    for route in app.exchange.routes.all:
        if route.auth in ("key", "key_only") or (
            cookie == "customer" and route.auth in ("operator", "key_or_operator")
        ):
            status, text, _ = await browser.send(route.method, path_of(route), OWN_PAGE, b"{}")
            assert status in (401, 404), (route.method, path_of(route), status, text)
    assert await books(pool) == before


async def test_no_form_is_taken_without_the_token_of_its_session(
    app: Application, pool: asyncpg.Pool, customer: str
) -> None:
    _, headers = await operator_with_role(pool, "owner", "second@example.com")
    second = Browser(app, session=headers["authorization"].removeprefix("Bearer "))
    foreign = await second.form_token()
    own = await Browser(app).form_token()
    other_way = Browser(app, CUSTOMER_COOKIE, customer)
    wrong = (
        "",
        "0" * 80,
        foreign,
        own[:-2],
        own + "00",
        own[40:],
        own[40:] + own[:40],
        "zz" * 40,
        "0x" + own[2:],
        own.upper()[:40],
    )
    before = await books(pool)
    for browser, paths in ((Browser(app), pages_with_forms(app)), (other_way, pages_with_forms(app, customers=True))):
        for at, path in enumerate(paths):
            for token in wrong if at == 0 else (wrong[at % len(wrong)], foreign):
                status, text, _ = await browser.send("POST", path, OWN_PAGE | FORM, {**FIELDS, "form_token": token})
                assert (status, "FORM_TOKEN" in text) == (403, True), (path, token, status, text)
            # A token in the address, in another type of body, or twice with a wrong one first, is none.
            others: tuple[tuple[str, Mapping[str, str], bytes], ...] = (
                (f"?form_token={own}", FORM, urlencode(FIELDS).encode()),
                ("", {"content-type": "text/plain"}, urlencode({**FIELDS, "form_token": own}).encode()),
                ("", {"content-type": "application/json"}, f'{{"form_token": "{own}"}}'.encode()),
                ("", {}, urlencode({**FIELDS, "form_token": own}).encode()),
                ("", FORM, f"form_token=0&form_token={own}".encode()),
            )
            for query, kind, body in others if at == 0 else (others[at % len(others)],):
                status, text, _ = await browser.send("POST", path + query, {**OWN_PAGE, **kind}, body)
                is_unreadable = "/upload/" in path and status == 422  # a form with a file has one type only
                assert is_unreadable or (status, "FORM_TOKEN" in text) == (403, True), (path, kind, status, text)
    assert await books(pool) == before


async def test_opening_an_address_changes_nothing_whatever_it_says(
    app: Application, pool: asyncpg.Pool, customer: str
) -> None:
    owner = Browser(app)
    token = await owner.form_token()
    before = await books(pool)
    query = urlencode({**FIELDS, "form_token": token, "_method": "POST", "method": "DELETE"})
    override = {"x-http-method-override": "POST", "x-method-override": "DELETE", "x-http-method": "POST"}
    for path in (*pages_with_forms(app), *WITHOUT_SESSION):
        for method in ("GET", "HEAD") if path in WITHOUT_SESSION else ("GET",):
            status, text, headers = await owner.send(method, f"{path}?{query}", {**OWN_PAGE, **override})
            assert status < 500, (path, text)
            assert "set-cookie" not in headers, path
    browser = Browser(app, CUSTOMER_COOKIE, customer)
    for path in pages_with_forms(app, customers=True):
        status, text, headers = await browser.send("GET", f"{path}?{query}", {**OWN_PAGE, **override})
        assert status < 500, (path, text)
        assert "set-cookie" not in headers, path
    assert await books(pool) == before


#: Queries that no page of ours links to.
NONSENSE = (
    "", urlencode(dict.fromkeys(FIELDS, "")), urlencode(dict.fromkeys(FIELDS, "-1")),
    urlencode(dict.fromkeys(FIELDS, "9" * 30)), urlencode(dict.fromkeys(FIELDS, "%00\ud800".encode("utf-8", "replace"))),
    "&".join(f"{name}=%00%ff%fe" for name in FIELDS), "&".join(f"{name}[]=x&{name}[$gt]=" for name in FIELDS),
    urlencode(dict.fromkeys([*FIELDS, "q", "from", "to", "cursor", "sort", "view", "kind", "model", "lane", "done"], "'\"><\u202e")),
    urlencode(dict.fromkeys([*FIELDS, "q", "cursor", "event", "batch_id", "group_id", "request_id", "entry"], "1")),
    urlencode(dict.fromkeys(["q", "customer_id", "app", "cursor", "name", "next", "model"], "x" * 1900)),
    "&".join(f"a{at}=1" for at in range(60)),
)  # fmt: skip


@pytest.mark.parametrize("who", ["operator", "customer"])
async def test_no_page_fails_whatever_it_is_asked_for(
    app: Application, pool: asyncpg.Pool, customer: str, who: str
) -> None:
    browser = Browser(app) if who == "operator" else Browser(app, CUSTOMER_COOKIE, customer)
    pages = [path_of(route) for route in app.exchange.routes.all if route.method == "GET"]
    before = await books(pool)
    for at, page in enumerate(pages):
        if not page.startswith("/gateway") or page.startswith("/gateway/dashboard") != (who == "customer"):
            continue
        for query in {NONSENSE[0], *(NONSENSE[(at * 2 + more) % len(NONSENSE)] for more in (0, 1, 5))}:
            status, text, headers = await browser.send("GET", f"{page}?{query}", {})
            assert status < 500, (page, query, text)
            is_refused_early = "contains a NUL character" in text  # before any page is chosen
            if status not in (301, 303) and "/static/" not in page and not is_refused_early:
                assert headers.get("cache-control") == "no-store", (page, query, status, text)
    assert await books(pool) == before


async def test_a_viewer_changes_nothing_by_any_page(app: Application, pool: asyncpg.Pool, customer: str) -> None:
    of_customer = {"customer_id": str(await pool.fetchval("select id from kaixu.customer"))}
    _, headers = await operator_with_role(pool, "viewer")
    viewer = Browser(app, session=headers["authorization"].removeprefix("Bearer "))
    token = await viewer.form_token()
    before = await books(pool)
    for path in pages_with_forms(app):
        if path not in OWN_ACCOUNT:
            status, text, _ = await viewer.send(
                "POST", path, OWN_PAGE | FORM, FIELDS | of_customer | {"form_token": token}
            )
            assert status in (400, 403, 404, 422), (path, status, text)
    assert await books(pool) == before


async def test_sessions_of_operators_and_of_customers_open_only_their_own_pages(
    app: Application, customer: str
) -> None:
    reading = [path_of(route) for route in app.exchange.routes.all if route.method == "GET"]
    pages = [path for path in reading if path.startswith("/gateway") and "/static/" not in path and path not in OLDER]
    dashboard = [path for path in pages if path.startswith("/gateway/dashboard")]
    public = {"/gateway/login", "/gateway/login/check", "/gateway/status", "/gateway/theme",
              "/gateway/dashboard/sign-in", "/gateway/dashboard/sign-in/check"}  # fmt: skip
    swapped = {
        "no session": Browser(app, "unrelated", "x"),
        "a customer": Browser(app, CUSTOMER_COOKIE, customer),
        "an operator's token in a customer's cookie": Browser(app, CUSTOMER_COOKIE, admin_token()),
        "a customer's token in an operator's cookie": Browser(app, SESSION_COOKIE, customer),
    }
    for who, browser in swapped.items():
        for path in pages:
            is_own = who == "a customer" and path in dashboard
            if path in public or is_own:
                continue
            status, text, headers = await browser.send("GET", path, {"accept": "text/html"})
            if re.search(r"\.(json|csv|pdf)$", path):
                assert status in (303, 401), (who, path, status, text)
            else:
                assert status == 303, (who, path, status, text)
                login = "/gateway/dashboard/sign-in" if path in dashboard else "/gateway/login"
                assert headers["location"].partition("?")[0] == login, (who, path)
    operator = Browser(app)
    for path in dashboard:
        if path not in public:
            status, _, headers = await operator.send("GET", path, {})
            assert status in (303, 401), (path, status)
