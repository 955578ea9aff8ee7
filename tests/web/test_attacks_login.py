"""Attacks on logins and sessions: guessing, sessions that were there before, sessions that should be over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import expect

from kaixu.edge.operator_cookies import SESSION_COOKIE
from tests.support.process import SECRETS

from .browser import Visitor
from .conftest import Visit
from .gateway import Gateway, config_of, running
from .visiting import CUSTOMER_COOKIE

PASSWORD = "a password of sixteen letters"
OWN = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
LOGIN, SIGN_IN = "/gateway/login", "/gateway/dashboard/sign-in"

#: Where a login must not lead: to another site, into a header, out of the pages.
ELSEWHERE = (
    "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/gateway\\..\\\\evil.example",
    "https://evil.example/gateway", "https:evil.example", "javascript:alert(1)", "data:text/html,x", "/%2f%2fevil.example",
    "%2f%2fevil.example", "/gateway//evil.example", "/gateway/..//evil.example", "//evil.example/gateway",
    "/gateway\r\nset-cookie: x=1", "/gateway\n", "/gateway\t", " //evil.example", "\x01//evil.example", "/gateway/\u202e",
    ".evil.example", "@evil.example", "/api/admin-logout", "", "/gateway" + "x" * 3000,
)  # fmt: skip


def sent(http: httpx.Client, path: str, fields: Mapping[str, str], cookie: str = "", **headers: str) -> httpx.Response:
    """A form that was sent by one of our pages."""
    more = {"cookie": cookie} if cookie else {}
    return http.post(path, content=urlencode(fields), headers={**OWN, **more, **headers})


def cookie_of(response: httpx.Response, name: str = SESSION_COOKIE) -> str:
    """The session that a reply sets."""
    found = [one for one in response.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
    assert len(found) == 1, response.headers
    assert re.fullmatch(rf"{name}=[\w.-]+; Path=/; Max-Age=\d+; Secure; HttpOnly; SameSite=Lax", found[0])
    return str(found[0].partition(";")[0])


@pytest.fixture
def http(own_gateway: Gateway) -> Iterator[httpx.Client]:
    """A client without cookies of its own."""
    with httpx.Client(base_url=own_gateway.url, trust_env=False, timeout=60) as http:
        yield http


def form_token(http: httpx.Client, cookie: str, path: str = "/gateway/account") -> str:
    """The form token of a session."""
    response = http.get(path, headers={"cookie": cookie})
    assert response.status_code == 200, response.headers
    return str(re.findall(r'name="form_token" value="([0-9a-f]+)"', response.text)[0])


def operator(gateway: Gateway, email: str = "grace@example.com", role: str = "operator") -> int:
    """A new operator with a password."""
    body = {"email": email, "role": role, "password": PASSWORD}
    number: int = gateway.ask("POST", "admin-operators", body)["operator"]["id"]
    return number


def test_a_password_cannot_be_guessed_by_the_form_and_names_cannot_be_found(
    own_gateway: Gateway, http: httpx.Client
) -> None:
    operator(own_gateway)
    operator(own_gateway, "gone@example.com")
    own_gateway.rows("update kaixu.operator set disabled_at = now() where email = 'gone@example.com'")
    answers = set()
    for email in ("grace@example.com", "gone@example.com", "nobody@example.com", ""):
        reply = sent(http, LOGIN, {"email": email, "password": "a wrong one of sixteen"})
        assert (reply.status_code, "set-cookie" in reply.headers) == (401, False)
        shown = re.sub(r"nonce=\"[^\"]+\"|[\w.]*@example.com|req[_\w-]*|error \w+, request [\w-]+", "", reply.text)
        answers.add(re.search(r'role="alert".*?</div>', shown, re.DOTALL).group())  # type: ignore[union-attr]
    assert len(answers) == 1
    statuses = [sent(http, LOGIN, {"password": f"guess number {at}"}).status_code for at in range(9)]
    assert statuses[-1] == 429
    # The right one does not help any more, however the guesser names its address.
    for headers in (
        {},
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.8"},
        {"x-real-ip": "203.0.113.9"},
    ):
        reply = sent(http, LOGIN, {"password": SECRETS["ADMIN_PASSWORD"]}, **headers)
        assert (reply.status_code, "set-cookie" in reply.headers) == (429, False)
        assert int(reply.headers["retry-after"]) > 0
    assert "guess number" not in http.get(LOGIN).text


def test_keys_cannot_be_guessed_by_the_form(own_gateway: Gateway, http: httpx.Client) -> None:
    for wrong in (
        "kx_live_" + "0" * 48,
        "x",
        "",
        "a b",
        "é",
        "x" * 300,
        own_gateway.seed.admin_token,
        "kx_admin_" + "0" * 43,
    ):
        reply = sent(http, SIGN_IN, {"key": wrong})
        assert (reply.status_code, "set-cookie" in reply.headers) == (401, False), wrong
        assert not wrong or wrong not in reply.text or len(wrong) < 4
    statuses = [sent(http, SIGN_IN, {"key": "kx_live_" + f"{at:048}"}).status_code for at in range(20)]
    assert statuses[-1] == 429
    right = own_gateway.seed.customers["northwind"].keys["master"].key
    assert sent(http, SIGN_IN, {"key": right}, **{"x-forwarded-for": "203.0.113.7"}).status_code == 429


def test_a_session_of_before_the_login_is_not_taken_over(own_gateway: Gateway, http: httpx.Client) -> None:
    fields = {"password": SECRETS["ADMIN_PASSWORD"]}
    planted = f"{SESSION_COOKIE}=planted.by.somebody"
    first = cookie_of(sent(http, LOGIN, fields, planted))
    assert first != planted
    second = cookie_of(sent(http, LOGIN, fields, first))
    assert second != first
    assert http.get("/gateway", headers={"cookie": second}).status_code == 200
    for over in (planted, first, f"{first}; {second}", f"{SESSION_COOKIE}=; {SESSION_COOKIE}=x"):
        reply = http.get("/gateway", headers={"cookie": over})
        assert (reply.status_code, reply.headers["location"]) == (303, LOGIN + "?next=%2Fgateway"), over


def test_a_login_leads_nowhere_else(own_gateway: Gateway, http: httpx.Client) -> None:
    key = own_gateway.seed.customers["northwind"].keys["master"].key
    session = cookie_of(sent(http, LOGIN, {"password": SECRETS["ADMIN_PASSWORD"]}))
    signed_in = cookie_of(sent(http, SIGN_IN, {"key": key}), CUSTOMER_COOKIE)
    for where in ELSEWHERE:
        # In the form, in its hidden field, in the check behind it, and in the switch of the theme.
        for page, cookie, home in ((LOGIN, session, "/gateway"), (SIGN_IN, signed_in, "/gateway/dashboard.html")):
            shown = http.get(page, params={"next": where}).text
            assert re.findall(r'name="next" value="([^"]*)"', shown.partition("<main")[2])[:1] in ([home], []), where
            checked = http.get(f"{page}/check", params={"next": where}, headers={"cookie": cookie})
            assert (checked.status_code, checked.headers["location"]) == (303, home), where
        themed = sent(http, "/gateway/theme", {"theme": "dark", "next": where})
        assert themed.status_code == 303
        location = themed.headers["location"]
        assert re.fullmatch(r"/(?![/\\])[!-~]{0,2000}", location), where
        assert len(themed.headers.get_list("set-cookie")) == 1
    logged = sent(http, LOGIN, {"password": SECRETS["ADMIN_PASSWORD"], "next": ELSEWHERE[0]})
    assert logged.headers["location"] == "/gateway/login/check?next=%2Fgateway"


def test_a_session_ends_everywhere_and_at_once(own_gateway: Gateway, http: httpx.Client) -> None:
    number = operator(own_gateway, role="owner")
    fields = {"email": "grace@example.com", "password": PASSWORD}

    def is_open(cookie: str, base: httpx.Client = http) -> bool:
        return base.get("/gateway/account", headers={"cookie": cookie}).status_code == 200

    one, two = (cookie_of(sent(http, LOGIN, fields)) for _ in range(2))
    config = config_of("http://127.0.0.1:9")
    with (
        running(own_gateway.process.home / "second", own_gateway.dsn, config, own_gateway.seed) as other,
        httpx.Client(base_url=other.url, trust_env=False, timeout=60) as elsewhere,
    ):
        assert is_open(one, elsewhere)
        done = sent(http, "/gateway/logout", {"form_token": form_token(http, one)}, one)
        assert (done.status_code, done.headers["location"]) == (303, LOGIN)
        assert (is_open(one), is_open(one, elsewhere), is_open(two)) == (False, False, True)
        # Another password ends all other sessions; what is left is the one that changed it.
        three = cookie_of(sent(http, LOGIN, fields))
        changed = {"current_password": PASSWORD, "password": PASSWORD + "!", "again": PASSWORD + "!"}
        reply = sent(http, "/gateway/account/password", changed | {"form_token": form_token(http, two)}, two)
        assert reply.status_code == 303, reply.text
        assert (is_open(two), is_open(three), is_open(three, elsewhere)) == (True, False, False)
        # The role is the one of now, also in a form that was shown before.
        shown = form_token(http, two)
        own_gateway.ask("PATCH", "admin-operators", {"operator_id": number, "role": "viewer"})
        refused = sent(elsewhere, "/gateway/create", {"email": "x@example.com", "form_token": shown}, two)
        assert refused.status_code in (303, 403)
        own_gateway.ask("PATCH", "admin-operators", {"operator_id": number, "is_disabled": True})
        assert (is_open(two), is_open(two, elsewhere)) == (False, False)


def test_a_customers_session_ends_with_its_key(own_gateway: Gateway, http: httpx.Client) -> None:
    key = own_gateway.seed.customers["northwind"].keys["support desk"]
    cookie = cookie_of(sent(http, SIGN_IN, {"key": key.key}), CUSTOMER_COOKIE)
    assert http.get("/gateway/dashboard.html", headers={"cookie": cookie}).status_code == 200
    own_gateway.ask("DELETE", "admin-keys", key_id=key.id)
    reply = http.get("/gateway/dashboard.html", headers={"cookie": cookie})
    assert (reply.status_code, reply.headers["location"]) == (303, f"{SIGN_IN}?ended=1")
    assert "Max-Age=0" in reply.headers["set-cookie"]


def test_customers_see_nothing_of_others_whatever_they_ask_for(own_gateway: Gateway, http: httpx.Client) -> None:
    seed = own_gateway.seed
    one, other = seed.customers["northwind"], seed.customers["halden"]
    event = own_gateway.rows("select id, request_id from kaixu.usage_event where customer_id = $1 limit 1", other.id)[0]
    number = own_gateway.value("select id from kaixu.invoice where customer_id = $1 limit 1", other.id)
    key_id = other.keys["master"].id
    ids: dict[str, Any] = {
        "customer_id": other.id, "key_id": key_id, "api_key_id": key_id, "event": event["id"], "event_id": event["id"],
        "invoice_id": number, "scope": "customer", "email": other.email,
    }  # fmt: skip
    names = [row["name"] for row in own_gateway.rows(
        "select i.name from kaixu.invoice i where i.customer_id = $1", other.id)]  # fmt: skip
    secrets = [other.email, event["request_id"], *[name for name in names if name]]
    session = {"cookie": cookie_of(sent(http, SIGN_IN, {"key": one.keys["master"].key}), CUSTOMER_COOKIE)}
    pages = ("dashboard.html", "dashboard.json", "dashboard.csv", "dashboard/calls", "dashboard/calls.json", "dashboard/calls.csv",
             "dashboard/call", "dashboard/call.json", "dashboard/devices", "dashboard/devices.json", "dashboard/invoices",
             "dashboard/invoices.json", "dashboard/export", "dashboard/invoice.pdf", "dashboard/integration",
             "dashboard/playground", "dashboard/models")  # fmt: skip
    for page in pages:
        for more in ({}, {"event": event["request_id"]}, *({"number": name} for name in names)):
            reply = http.get(f"/gateway/{page}", params={**ids, **more}, headers=session)
            assert reply.status_code < 500
            assert reply.headers.get("content-type") != "application/pdf", more
            asked = {str(value) for value in (*ids.values(), *more.values())}
            for secret in secrets:
                if secret not in asked:
                    assert secret not in reply.text, (page, more, secret)
            if "json" in reply.headers.get("content-type", "") and reply.status_code == 200:
                assert f'"customer_id":{other.id}' not in reply.text, page
    token = form_token(http, session["cookie"], "/gateway/dashboard/devices")
    for path in ("devices", "redeem", "playground"):
        fields = {"form_token": token, "install_id": "mbp-of-lena", "code": "x", "message": "x", "model": "x"}
        sent(
            http,
            f"/gateway/dashboard/{path}",
            {**fields, **{name: str(value) for name, value in ids.items()}},
            session["cookie"],
        )
    assert own_gateway.value("select count(*) from kaixu.device where customer_id = $1 and revoked_at is not null",
                             other.id) == 0  # fmt: skip


def test_nothing_is_shown_after_the_logout_and_nothing_is_kept_in_the_browser(
    visit: Visit, own_gateway: Gateway
) -> None:
    visitor = visit(own_gateway, "public")
    visitor.go("/gateway/login?next=/gateway/customers")
    visitor.page.get_by_label("Password").fill(SECRETS["ADMIN_PASSWORD"])
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.get_by_role("heading", name="Customers", level=1)).to_be_visible()
    assert kept(visitor) == [0, 0, ""]
    visitor.page.get_by_role("button", name="owner").click()
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page.get_by_role("heading", name="Log in", level=1)).to_be_visible()
    visitor.page.go_back()
    expect(visitor.page.get_by_role("heading", name="Log in", level=1)).to_be_visible()
    assert "@" not in visitor.main.inner_text()


def kept(visitor: Visitor) -> list[Any]:
    """What scripts could read later: storage, and cookies."""
    found: list[Any] = visitor.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    return found
