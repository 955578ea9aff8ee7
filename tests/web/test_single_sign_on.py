"""Single sign-on: against another author's provider, and against one that sends what must be refused."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, identity_provider
from tests.support.operators import admin_headers
from tests.support.process import Process

SECURE = "Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax"


def config(issuer: str, *more: str, operators: str = "") -> str:
    """A kaixu.yaml with single sign-on."""
    lines = "".join(f"\n    {line}" for line in more or ("default_role: viewer",))
    return f"""
lanes: {{local: {{plugin: echo, models: {{talk: {{type: chat, price: {{input: 1, output: 2}}}}}}}}}}
operators:
  {operators or "session_h: 12"}
  oidc:
    issuer: {issuer}
    client_id: {CLIENT_ID}
    client_secret: {CLIENT_SECRET}{lines}
"""


class Browser:
    """A browser that keeps cookies by itself: their attributes are what the tests are about."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.cookies: dict[str, str] = {}
        self.attributes: dict[str, str] = {}

    async def get(self, url: str) -> tuple[int, str, str]:
        """The status, the text and the location of a page; `set-cookie` is kept."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"cookie": cookie} if cookie else {}
        async with self.http.get(url, headers=headers, allow_redirects=False) as response:
            for line in response.headers.getall("set-cookie", []):
                pair, _, attributes = line.partition("; ")
                name, _, value = pair.partition("=")
                self.cookies[name], self.attributes[name] = value, attributes
            return response.status, await response.text(), response.headers.get("location", "")

    async def begin(self) -> str:
        """Begin a login: the provider's address."""
        status, text, location = await self.get(f"{self.url}/api/admin-oidc-start")
        assert status == 302, text
        return location

    async def log_in(self, provider: IdentityProvider) -> tuple[int, str]:
        """A whole login."""
        return await self.come_back(provider.authorize(await self.begin()))

    async def come_back(self, url: str) -> tuple[int, str]:
        """The way from the provider to the page that is shown at the end, or who is logged in."""
        status, text, location = await self.get(url)
        if status != 303:
            return status, text
        assert location == "/gateway/login/check"
        status, _, location = await self.get(f"{self.url}{location}")
        assert (status, location) == (303, "/gateway")
        status, session = await self.ask("GET", "admin-session-check")
        who = session["operator"]
        return status, f"logged in as {who['email']}, with the role {who['role']}"

    async def ask(self, method: str, name: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """A request to the admin API with the browser's cookies."""
        cookie = "; ".join(f"{key}={value}" for key, value in self.cookies.items())
        async with self.http.request(
            method, f"{self.url}/api/{name}", json=body, headers={"cookie": cookie, **headers}
        ) as response:
            return response.status, await response.json()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections without a cookie jar."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider whose tokens a test can spoil."""
    async with identity_provider() as one:
        yield one


@pytest.fixture
async def gateway(dsn: str, tmp_path: Path, provider: IdentityProvider) -> AsyncIterator[Process]:
    """A gateway that trusts it."""
    process = await Process(tmp_path / "home", dsn, config(provider.url)).start()
    yield process
    await process.stop()


@pytest.fixture
async def browser(http: aiohttp.ClientSession, gateway: Process) -> Browser:
    """A browser without cookies."""
    return Browser(http, gateway.url)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the other author's own code
async def test_a_login_at_another_author_s_provider_gives_a_session(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    from oidc_provider_mock import User, run_server_in_thread  # type: ignore[import-untyped]

    claims = {"email": "ada@example.com", "email_verified": True, "name": "Ada", "groups": ["staff", "kaixu-owners"]}
    with run_server_in_thread(require_nonce=True, user_claims=[User(sub="ada", claims=claims)]) as server:
        issuer = f"http://localhost:{server.server_port}"
        roles = ("role_claim: groups", "roles: {kaixu-owners: owner, staff: viewer}", "domains: [example.com]")
        gateway = await Process(tmp_path / "home", dsn, config(issuer, *roles)).start()
        try:
            browser = Browser(http, gateway.url)
            location = await browser.begin()
            async with http.post(location, data={"sub": "ada"}, allow_redirects=False) as response:
                assert response.status == 302, await response.text()
                back = response.headers["location"]
            status, text = await browser.come_back(back)
            assert (status, "ada@example.com, with the role owner" in text) == (200, True), text
            assert browser.attributes["__Host-kaixu-session"] == SECURE.format(12 * 3600)
            status, checked = await browser.ask("GET", "admin-session-check")
            assert (status, checked["operator"]["email"], checked["operator"]["role"]) == (
                200,
                "ada@example.com",
                "owner",
            )
            assert checked["operator"]["method"] == "oidc"
        finally:
            await gateway.stop()
    actions = [row["action"] for row in await pool.fetch("select action from kaixu.audit_event order by id")]
    assert actions == ["OPERATOR_CREATE", "OPERATOR_LOGIN_OK"]


async def test_the_login_asks_with_pkce_state_and_nonce_and_binds_them_to_the_browser(
    browser: Browser, provider: IdentityProvider
) -> None:
    asked = parse_qs(urlsplit(await browser.begin()).query)
    assert asked["scope"] == ["openid email profile"]
    assert asked["code_challenge_method"] == ["S256"]
    assert {len(asked[name][0]) for name in ("state", "nonce", "code_challenge")} == {43}
    assert browser.attributes["__Host-kaixu-oidc"] == SECURE.format(600)
    again = parse_qs(urlsplit(await browser.begin()).query)
    assert all(again[name] != asked[name] for name in ("state", "nonce", "code_challenge"))
    assert (await browser.log_in(provider))[0] == 200
    assert [set(one) for one in provider.token_requests] == [{"grant_type", "code", "code_verifier", "redirect_uri"}]


def replaced(**claims: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Claims with some replaced; None removes one."""
    return lambda given: {name: value for name, value in (given | claims).items() if value is not None}


def moved(claim: str, seconds: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Claims in which one is a time so many seconds from now."""
    return lambda given: given | {claim: int(time.time()) + seconds}


SPOILED = {
    "wrong audience": (replaced(aud="another-application"), "for another application"),
    "two audiences without azp": (replaced(aud=[CLIENT_ID, "other"]), "made for another application"),
    "azp of another": (replaced(azp="other"), "made for another application"),
    "no audience": (replaced(aud=None), "for another application"),
    "wrong issuer": (replaced(iss="https://evil.example"), "another issuer"),
    "no issuer": (replaced(iss=None), "another issuer"),
    "expired": (moved("exp", -3600), "has expired"),
    "never expires": (replaced(exp=None), "no valid exp"),
    "expires as text": (replaced(exp="9999999999"), "no valid exp"),
    "old": (moved("iat", -7200), "was not made now"),
    "of the future": (moved("iat", 7200), "was not made now"),
    "not valid yet": (moved("nbf", 7200), "not valid yet"),
    "wrong nonce": (replaced(nonce="n" * 43), "another login"),
    "no nonce": (replaced(nonce=None), "another login"),
    "nonce that is a list": (replaced(nonce=["n"]), "another login"),
    "no user": (replaced(sub=None), "names no user"),
    "unverified address": (replaced(email_verified=False), "not verified"),
    "address of unknown state": (replaced(email_verified=None), "not verified"),
    "no address": (replaced(email=None), "no e-mail address"),
    "an address in other letters": (replaced(email="ada@example.com".replace("a", "\u0430")), "not ASCII"),
    "an address that becomes another in lower case": (replaced(email="\u212aate@example.com"), "not ASCII"),
    "a user that cannot be stored": (replaced(sub="a\x00b"), "names no user"),
    "a user that is a number": (replaced(sub=7), "names no user"),
    "an address that is none": (replaced(email="ada"), "no e-mail address"),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_a_spoiled_id_token_is_refused(
    browser: Browser, provider: IdentityProvider, pool: asyncpg.Pool, name: str
) -> None:
    provider.spoil, why = SPOILED[name]
    status, text = await browser.log_in(provider)
    assert (status, why in text, "SINGLE_SIGN_ON_REFUSED" in text) == (403, True, True), text
    assert "__Host-kaixu-session" not in browser.cookies
    assert await pool.fetchval("select count(*) from kaixu.operator") == 0


def unsigned(provider: IdentityProvider) -> Callable[[dict[str, Any]], str]:
    """`alg: none`."""

    def sign(claims: dict[str, Any]) -> str:
        _, body, _ = provider.signed(claims).split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"first"}').rstrip(b"=").decode()
        return f"{none}.{body}."

    return sign


def signed_with_the_client_secret(provider: IdentityProvider) -> Callable[[dict[str, Any]], str]:
    """HMAC with what both sides know."""
    key = OctKey.import_key(CLIENT_SECRET.ljust(32, "x"))
    return lambda claims: jwt.encode({"alg": "HS256", "kid": "first"}, claims, key, algorithms=["HS256"])


def signed_with_the_public_key(provider: IdentityProvider) -> Callable[[dict[str, Any]], str]:
    """HMAC with the public key as secret: the confusion of algorithms."""
    key = OctKey.import_key(provider.key.as_pem(private=False).replace(b"-----BEGIN", b"BEGIN"))
    return lambda claims: jwt.encode({"alg": "HS256", "kid": "first"}, claims, key, algorithms=["HS256"])


def signed_by_somebody_else(provider: IdentityProvider) -> Callable[[dict[str, Any]], str]:
    """Another key under the same name."""
    key = RSAKey.generate_key(2048, {"kid": "first"})
    return lambda claims: jwt.encode({"alg": "RS256", "kid": "first"}, claims, key, algorithms=["RS256"])


def changed_after_signing(provider: IdentityProvider) -> Callable[[dict[str, Any]], str]:
    """The signature of other claims."""

    def sign(claims: dict[str, Any]) -> str:
        head, _, signature = provider.signed(claims).split(".")
        _, body, _ = provider.signed(claims | {"email": "root@example.com"}).split(".")
        return f"{head}.{body}.{signature}"

    return sign


SIGNERS = [unsigned, signed_with_the_client_secret, signed_with_the_public_key, signed_by_somebody_else, changed_after_signing]  # fmt: skip


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.__name__)
async def test_a_token_that_the_provider_did_not_sign_is_refused(
    browser: Browser, provider: IdentityProvider, signer: Callable[[IdentityProvider], Callable[[dict[str, Any]], str]]
) -> None:
    provider.sign = signer(provider)
    status, text = await browser.log_in(provider)
    assert (status, "SINGLE_SIGN_ON_REFUSED" in text, "signed" in text) == (403, True, True), text


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "..", "é.é.é", "x" * 200_000, "eyJhbGciOjF9.e30.AA"])
async def test_nonsense_instead_of_an_id_token_is_refused(
    browser: Browser, provider: IdentityProvider, text: str
) -> None:
    provider.sign = lambda claims: text
    status, shown = await browser.log_in(provider)
    assert (status, "SINGLE_SIGN_ON_REFUSED" in shown) == (403, True), shown


async def test_the_key_is_found_without_a_kid_and_after_the_provider_has_changed_it(
    browser: Browser, provider: IdentityProvider
) -> None:
    before = provider.key
    assert (await browser.log_in(provider))[0] == 200
    provider.key = RSAKey.generate_key(2048)
    strange = {"kty": "lattice", "kid": "second"}
    provider.jwks = lambda: {"keys": [strange, before.as_dict(private=False), provider.key.as_dict(private=False)]}
    provider.sign = lambda claims: jwt.encode({"alg": "PS256"}, claims, provider.key, algorithms=["PS256"])
    assert (await browser.log_in(provider))[0] == 200


async def test_only_the_browser_that_began_a_login_ends_it_and_only_once(
    browser: Browser, http: aiohttp.ClientSession, provider: IdentityProvider
) -> None:
    back = provider.authorize(await browser.begin())
    stranger = Browser(http, browser.url)
    status, text, _ = await stranger.get(back)
    assert (status, "has not begun a login here" in text) == (403, True)
    await stranger.begin()  # with a cookie of a login of its own
    status, text, _ = await stranger.get(back)
    assert (status, "another login" in text) == (403, True)
    assert (await browser.get(back))[0] == 303
    status, text, _ = await browser.get(back)
    assert (status, "was ended already" in text) == (403, True)
    assert len(provider.token_requests) == 1


async def test_an_answer_that_comes_twenty_times_at_once_ends_the_login_once(
    browser: Browser, provider: IdentityProvider
) -> None:
    back = provider.authorize(await browser.begin())
    answers = await asyncio.gather(*(browser.get(back) for _ in range(15)))
    assert sorted(status for status, _, _ in answers) == [303] + [403] * 14
    assert len(provider.token_requests) == 1


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [
        ("", 403, "another login"),
        ("?state=%ED%A0%80", 403, "another login"),
        ("?code=x&state=wrong", 403, "another login"),
        ("?error=access_denied&state={state}", 403, "refused: access_denied"),
        ("?error=%3Cscript%3Ealert(1)%3C/script%3E&state={state}", 403, "for a reason of its own"),
        ("?state={state}", 403, "sent no code"),
        ("?code=" + "x" * 5000 + "&state={state}", 403, "sent no code"),
        ("?code=never-given&state={state}", 503, "its token"),
        ("?code=x&state={state}&iss=https%3A%2F%2Fevil.example", 403, "another identity provider"),
    ],
)
async def test_other_answers_are_refused_in_words(browser: Browser, query: str, status: int, why: str) -> None:
    state = parse_qs(urlsplit(await browser.begin()).query)["state"][0]
    got, text, _ = await browser.get(f"{browser.url}/api/admin-oidc-return{query.format(state=state)}")
    assert (got, why in text) == (status, True), text
    assert "<script" not in text
    assert "__Host-kaixu-session" not in browser.cookies


async def test_the_pages_allow_no_script_no_frame_and_send_no_referrer(
    http: aiohttp.ClientSession, browser: Browser
) -> None:
    async with http.get(f"{browser.url}/api/admin-oidc-return") as response:
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; ")
        assert "script-src" not in policy
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cache-control"] == "no-store"
        text = await response.text()
    assert not any(word in text for word in ("<script", "<style", "style=", "onload"))


async def test_a_session_begun_before_the_login_is_not_taken_over(browser: Browser, provider: IdentityProvider) -> None:
    assert (await browser.log_in(provider))[0] == 200
    first = browser.cookies["__Host-kaixu-session"]
    assert (await browser.log_in(provider))[0] == 200
    assert browser.cookies["__Host-kaixu-session"] != first
    assert (await browser.ask("GET", "admin-session-check"))[0] == 200
    browser.cookies["__Host-kaixu-session"] = first  # the login has ended the session that the browser had
    assert (await browser.ask("GET", "admin-session-check"))[0] == 401


async def test_a_change_with_a_cookie_must_come_from_the_gateway_s_own_pages(
    browser: Browser, provider: IdentityProvider, pool: asyncpg.Pool
) -> None:
    assert (await browser.log_in(provider))[0] == 200
    await pool.execute("update kaixu.operator set role = 'owner'")
    new = {"email": "new@example.com"}
    host = browser.url.removeprefix("http://")
    for headers in (
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{host}.evil.example"},
        {"sec-fetch-site": "cross-site", "origin": f"http://{host}"},
    ):
        status, body = await browser.ask("POST", "admin-customers", new, **headers)
        assert (status, body["code"]) == (403, "CROSS_SITE"), headers
    assert await pool.fetchval("select count(*) from kaixu.customer") == 0
    assert (await browser.ask("GET", "admin-customers"))[0] == 200
    assert (await browser.ask("POST", "admin-customers", new, **{"sec-fetch-site": "same-origin"}))[0] == 200
    status, _ = await browser.ask("POST", "admin-customers", {"email": "b@example.com"}, origin=f"http://{host}")
    assert status == 200
    assert (await browser.ask("POST", "admin-logout", **{"sec-fetch-site": "same-origin"}))[0] == 200
    assert (await browser.ask("GET", "admin-customers"))[0] == 401


async def test_userinfo_completes_the_claims_and_must_tell_of_the_same_user(
    browser: Browser, provider: IdentityProvider
) -> None:
    provider.spoil = replaced(email=None, email_verified=None)
    provider.userinfo = {"sub": "somebody else", "email": "root@example.com", "email_verified": True}
    status, text = await browser.log_in(provider)
    assert (status, "of another user" in text) == (403, True)
    provider.userinfo["sub"] = "ada"
    status, text = await browser.log_in(provider)
    assert (status, "root@example.com" in text) == (200, True), text


async def test_a_known_user_is_found_by_subject_and_another_with_the_same_address_is_refused(
    browser: Browser, provider: IdentityProvider, pool: asyncpg.Pool
) -> None:
    await pool.execute("insert into kaixu.operator (email, role) values ('ada@example.com', 'operator')")
    status, text = await browser.log_in(provider)
    assert (status, "with the role operator" in text) == (200, True), text
    provider.user["email"] = "ada.lovelace@example.com"  # married, still the same
    assert (await browser.log_in(provider))[0] == 200
    provider.user |= {"sub": "impostor", "email": "ada@example.com"}
    status, text = await browser.log_in(provider)
    assert (status, "belongs to another user" in text) == (403, True), text
    number = await pool.fetchval("select id from kaixu.operator")
    async with browser.http.put(
        f"{browser.url}/api/admin-operators", json={"operator_id": number, "reset": "sso"}, headers=admin_headers()
    ) as reply:
        assert reply.status == 200, await reply.text()
    assert (await browser.log_in(provider))[0] == 200  # an owner says that this is the operator now
    provider.user["sub"] = "ada"
    status, text = await browser.log_in(provider)
    assert (status, "belongs to another user" in text) == (403, True), text
    provider.user["sub"] = "impostor"
    await pool.execute("update kaixu.operator set disabled_at = now()")
    status, text = await browser.log_in(provider)
    assert (status, "switched off" in text) == (403, True), text
    assert await pool.fetchval("select count(*) from kaixu.operator") == 1


@pytest.mark.parametrize(
    ("lines", "user", "status", "word"),
    [
        (("role_claim: groups", "roles: {ops: operator}"), {"groups": ["x"]}, 403, "gives no role"),
        (("role_claim: groups", "roles: {ops: operator}"), {"groups": "ops"}, 200, "role operator"),
        (("role_claim: groups", "roles: {ops: operator}", "default_role: viewer"), {}, 200, "role viewer"),
        (("role_claim: access.roles", "roles: {a: viewer, b: owner}"), {"access": {"roles": ["a", "b"]}}, 200, "owner"),
        (("role_claim: groups", "roles: {ops: operator}"), {"groups": {"ops": 1}}, 403, "gives no role"),
        (("default_role: viewer", "domains: [example.org]"), {}, 403, "of this domain"),
        (("default_role: viewer", "domains: [example.com]"), {"email": "a@evil.example.com"}, 403, "of this domain"),
        (("create: false",), {}, 403, "no operator with this e-mail address"),
    ],
)
async def test_roles_domains_and_who_may_come_in(
    dsn: str, tmp_path: Path, http: aiohttp.ClientSession, provider: IdentityProvider, lines: tuple[str, ...],
    user: dict[str, Any], status: int, word: str,
) -> None:  # fmt: skip
    provider.user |= user
    gateway = await Process(tmp_path / "home", dsn, config(provider.url, *lines)).start()
    try:
        got, text = await Browser(http, gateway.url).log_in(provider)
        assert (got, word in text) == (status, True), text
    finally:
        await gateway.stop()


async def test_the_role_follows_the_provider_at_each_login(
    dsn: str, tmp_path: Path, http: aiohttp.ClientSession, provider: IdentityProvider, pool: asyncpg.Pool
) -> None:
    lines = ("role_claim: groups", "roles: {admins: owner, staff: viewer}")
    gateway = await Process(tmp_path / "home", dsn, config(provider.url, *lines)).start()
    try:
        browser = Browser(http, gateway.url)
        for groups, role in ((["admins"], "owner"), (["staff"], "viewer"), (["staff", "admins"], "owner")):
            provider.user["groups"] = groups
            status, text = await browser.log_in(provider)
            assert (status, f"role {role}" in text) == (200, True), text
        provider.user["groups"] = []
        assert (await browser.log_in(provider))[0] == 403
    finally:
        await gateway.stop()
    changes = await pool.fetch("select before ->> 'role', after ->> 'role' from kaixu.audit_event where action = 'OPERATOR_UPDATE' order by id")  # fmt: skip
    assert [tuple(row) for row in changes] == [("owner", "viewer"), ("viewer", "owner")]


async def test_a_provider_that_fails_is_told_in_words_without_its_own(
    browser: Browser, provider: IdentityProvider, gateway: Process
) -> None:
    url = await browser.begin()
    for reply in (
        web.json_response({"error": "server_error", "error_description": "secret words"}, status=500),
        web.Response(text="secret words"),
        web.json_response({"access_token": "secret words"}),
        web.Response(status=302, headers={"location": "http://127.0.0.1:1/"}),
        web.Response(body=b"x" * 2_000_000),
    ):
        provider.token_reply = reply
        status, text, _ = await browser.get(provider.authorize(url))
        assert (status, "SINGLE_SIGN_ON_FAILED" in text, "secret words" in text) == (503, True, False), text
        url = await browser.begin()
    provider.token_reply = None
    provider.issuer = "https://another.example"
    status, text, _ = await browser.get(f"{browser.url}/api/admin-oidc-start")
    assert (status, "SINGLE_SIGN_ON_FAILED" in text) == (503, True)
    assert CLIENT_SECRET not in gateway.log.read_text()


async def test_sso_only_refuses_passwords_and_ends_their_sessions(
    dsn: str, tmp_path: Path, http: aiohttp.ClientSession, provider: IdentityProvider
) -> None:
    gateway = await Process(tmp_path / "home", dsn, config(provider.url)).start()
    try:
        made = await gateway.command("operators", "create", "bob@example.com", "--role", "owner", "--json")
        password = json.loads(made.stdout)["password"]
        body = {"email": "bob@example.com", "password": password}
        async with http.post(f"{gateway.url}/api/admin-login", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            token = answer["token"]
        headers = {"authorization": f"Bearer {token}"}
        async with http.get(f"{gateway.url}/api/admin-session-check", headers=headers) as response:
            assert response.status == 200
        gateway.config.write_text(config(provider.url, operators="sso_only: true"))
        assert (await gateway.command("reload")).returncode == 0
        async with http.get(f"{gateway.url}/api/admin-session-check", headers=headers) as response:
            assert response.status == 401
        async with http.post(f"{gateway.url}/api/admin-login", json=body) as response:
            assert (response.status, (await response.json())["code"]) == (403, "FORBIDDEN")
        assert (await Browser(http, gateway.url).log_in(provider))[0] == 200
    finally:
        await gateway.stop()


async def test_without_https_and_not_on_this_machine_it_says_so(
    dsn: str, tmp_path: Path, http: aiohttp.ClientSession, provider: IdentityProvider
) -> None:
    gateway = await Process(tmp_path / "home", dsn, config(provider.url), GATEWAY_URL="http://gateway.example").start()
    try:
        status, text, _ = await Browser(http, gateway.url).get(f"{gateway.url}/api/admin-oidc-start")
        assert (status, "https or on this machine only" in text) == (409, True), text
    finally:
        await gateway.stop()


async def test_the_address_to_come_back_to_is_never_a_stranger_s_host_header(
    http: aiohttp.ClientSession, gateway: Process
) -> None:
    for host in ("evil.example", "127.0.0.1:80@evil.example", "localhost.evil.example", "localhost:99999"):
        async with http.get(
            f"{gateway.url}/api/admin-oidc-start", headers={"host": host}, allow_redirects=False
        ) as response:
            assert response.status in (400, 409), host
            assert "location" not in response.headers
