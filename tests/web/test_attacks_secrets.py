"""Secrets stay where they belong, pages lend nobody's rights to a request, and no body or address is too much."""

from __future__ import annotations

import re
from collections.abc import Iterator
from time import sleep
from urllib.parse import urlencode

import httpx
import pytest

from kaixu.edge.operator_cookies import SESSION_COOKIE
from tests.support.process import SECRETS

from .gateway import Gateway
from .visiting import CUSTOMER_COOKIE

OWN = {"sec-fetch-site": "same-origin"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
SECRET = re.compile(r"data-secret>.*?<code>(.*?)</code>", re.DOTALL)


class Pages:
    """The pages with a session's cookie, and its form token."""

    def __init__(self, http: httpx.Client, name: str, session: str, start: str) -> None:
        self.http = http
        self.cookie = {"cookie": f"{name}={session}"}
        page = http.get(start, headers=self.cookie)
        self.token = re.findall(r'name="form_token" value="([0-9a-f]+)"', page.text)[0]

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        return self.http.get(path, headers=self.cookie | headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        """A form."""
        body = urlencode({**fields, "form_token": self.token})
        return self.http.post(path, content=body, headers={**self.cookie, **OWN, **FORM, **headers})


@pytest.fixture
def http(own_gateway: Gateway) -> Iterator[httpx.Client]:
    """A client without cookies of its own."""
    with httpx.Client(base_url=own_gateway.url, trust_env=False, timeout=60) as http:
        yield http


@pytest.fixture
def owner(own_gateway: Gateway, http: httpx.Client) -> Pages:
    """The pages as an owner sees them."""
    return Pages(http, SESSION_COOKIE, own_gateway.seed.admin_token, "/gateway/account")


@pytest.fixture
def customer(own_gateway: Gateway, http: httpx.Client) -> Pages:
    """The pages as a customer sees them."""
    key = own_gateway.seed.customers["northwind"].keys["master"].key
    token = own_gateway.ask("POST", "session-token", token=key)["token"]
    return Pages(http, CUSTOMER_COOKIE, token, "/gateway/dashboard/playground")


def test_a_secret_is_shown_once_and_is_in_no_log_no_address_and_no_event(
    own_gateway: Gateway, http: httpx.Client, owner: Pages
) -> None:
    northwind = own_gateway.seed.customers["northwind"]
    key_id = str(northwind.keys["server"].id)
    shown = []
    for path, fields in (
        ("/gateway/create", {"email": "new@example.com", "plan_name": "starter", "monthly_cap": "5", "label": "master", "role": "owner"}),
        ("/gateway/keys/rotate", {"customer_id": str(northwind.id), "key_id": key_id, "overlap_s": "0"}),
        ("/gateway/operators/tokens/new", {"name": "script", "scopes": "read", "expires_in_days": "1"}),
        ("/gateway/operators/new", {"email": "eve@example.com", "role": "viewer", "invite": "invite", "how": "invite"}),
        ("/gateway/billing/codes", {"amount": "5", "count": "3", "expires_at": "2099-01-01"}),
        ("/gateway/account/second-factor", {"password": ""}),
    ):  # fmt: skip
        reply = owner.post(path, fields, **{"accept-encoding": "br, gzip"})
        assert reply.headers["cache-control"] == "no-store"
        for found in SECRET.findall(reply.text):
            shown.append(found)
            assert "content-encoding" not in reply.headers, path
            assert found not in owner.get(path).text, path
    assert len(shown) >= 3, shown
    key = northwind.keys["master"].key
    signed = http.post("/gateway/dashboard/sign-in", content=urlencode({"key": key}), headers=OWN | FORM)
    session = signed.headers["set-cookie"].partition("=")[2].partition(";")[0]
    assert key not in signed.text + str(signed.headers)
    wrong = "a password that is wrong"
    http.post("/gateway/login", content=urlencode({"password": wrong}), headers=OWN | FORM)
    http.get("/gateway/customers", params={"q": key}, headers=owner.cookie)
    secrets = [*shown, key, session, wrong, own_gateway.seed.admin_token, owner.token, *SECRETS.values()]
    log = own_gateway.process.log.read_text()
    events = str(own_gateway.rows("select to_jsonb(e) as event from kaixu.gateway_event e")) + str(
        own_gateway.rows("select to_jsonb(a) as entry from kaixu.audit_event a")
    )
    for secret in secrets:
        assert secret not in log
        assert secret not in events


def test_a_page_lends_no_right_to_the_headers_of_its_request(
    own_gateway: Gateway, owner: Pages, customer: Pages, http: httpx.Client
) -> None:
    viewer = Pages(http, SESSION_COOKIE, own_gateway.seed.token("viewer"), "/gateway/account")
    northwind = own_gateway.seed.customers["northwind"]
    smuggled = {
        "authorization": f"Bearer {own_gateway.seed.admin_token}", "x-api-key": northwind.keys["master"].key,
        "x-admin-password": SECRETS["ADMIN_PASSWORD"], "x-kaixu-job-secret": "x", "x-forwarded-for": "203.0.113.66",
        "x-forwarded-host": "evil.example", "x-original-url": "/gateway/login", "x-kaixu-app": "smuggled",
    }  # fmt: skip
    # A viewer's cookie beside an owner's credentials is still a viewer, and no cookie is nobody.
    refused = viewer.post("/gateway/create", {"email": "smuggled@example.com"}, **smuggled)
    assert refused.status_code == 403
    assert http.get("/gateway/customers", headers=smuggled).status_code == 303
    assert http.post("/gateway/create", content=b"email=x", headers={**smuggled, **OWN, **FORM}).status_code in (
        303,
        403,
    )
    # The audit log has whose session it was, and where from.
    done = owner.post("/gateway/customer/switch", {"customer_id": str(northwind.id), "active_now": "false"}, **smuggled)
    assert done.status_code == 303, done.text
    entry = own_gateway.rows("select actor, address from kaixu.audit_event order by id desc limit 1")[0]
    assert entry["actor"] == "operator:mara@gateway-house.example"
    assert "203.0.113.66" not in str(entry["address"])
    owner.post("/gateway/customer/switch", {"customer_id": str(northwind.id), "active_now": "true"})
    # A customer's page calls as its own key, with its own app, whatever else is sent.
    other = own_gateway.seed.customers["halden"].keys["master"]
    played = customer.post(
        "/gateway/dashboard/playground",
        {"model": "local/gemma-3", "message": "hello"},
        **{**smuggled, "authorization": f"Bearer {other.key}", "x-api-key": other.key, "idempotency-key": "one"},
    )
    assert played.status_code == 200, played.text
    called = own_gateway.rows("select customer_id, key_id, app_id from kaixu.usage_event order by id desc limit 1")[0]
    assert called == {"customer_id": northwind.id, "key_id": northwind.keys["master"].id, "app_id": "playground"}


def test_a_stream_that_is_left_is_billed_once_and_nothing_stays_reserved(own_gateway: Gateway, customer: Pages) -> None:
    request_id = "left-in-the-middle"
    body = urlencode({"model": "openai/gpt-4o-mini", "message": "hello", "form_token": customer.token})
    headers = {**customer.cookie, **OWN, **FORM, "accept": "text/event-stream", "x-kaixu-request-id": request_id}
    with customer.http.stream("POST", "/gateway/dashboard/playground", content=body, headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        begun = b""
        for piece in response.iter_raw():  # the first frame comes before the vendor is asked
            begun += piece
            if b"event: delta" in begun:
                break
        assert b"event: error" not in begun, begun
    for _ in range(200):
        billed = own_gateway.value("select count(*) from kaixu.usage_event where request_id = $1", request_id)
        held = own_gateway.value("select count(*) from kaixu.reservation where request_id = $1", request_id)
        if (billed, held) == (1, 0):
            break
        sleep(0.1)
    assert (billed, held) == (1, 0)


def test_nonsense_in_the_playground_is_refused_by_name(customer: Pages) -> None:
    deep = "[" * 3000
    for name, value in (
        ("tools", deep), ("tools", "{}"), ("tools", '[{"type": "function"}]'), ("tools", "[1, null, [[]]]"),
        ("earlier", deep), ("earlier", '["x"]'), ("earlier", '[{"role": "nobody", "content": {}}]'), ("earlier", '[{"role": "user", "content": "\\ud800"}]'),
        ("schema", "[]"), ("max_tokens", "9" * 18), ("max_tokens", "-1"), ("temperature", "NaN"), ("temperature", "1e999999999"),
        ("seed", "9" * 19), ("stop", "\n".join("abcde")), ("retrieve", "../../x"), ("install_id", "x\r\nx-admin-password: y"),
        ("install_id", "\u0100\u202e"), ("model", "openai/\r\n"), ("model", "../lanes"), ("reasoning_effort", "<script>"),
        ("response_format", "xml"), ("second_model", "nothing/of-this"), ("message", "x" * 21_000),
    ):  # fmt: skip
        fields = {
            "model": "openai/gpt-4o-mini",
            "message": "hello",
            "response_format": "json_schema" if name == "schema" else "",
            name: value,
        }
        for accept in ("text/html", "text/event-stream"):
            reply = customer.post("/gateway/dashboard/playground", fields, accept=accept)
            assert reply.status_code < 500, (name, value, reply.text)
            assert "INTERNAL" not in reply.text, (name, value)
            assert "<script>" not in reply.text.partition("<main")[2]


def test_bodies_and_forms_have_limits_and_strangers_send_no_long_ones(
    own_gateway: Gateway, http: httpx.Client, owner: Pages
) -> None:
    northwind = str(own_gateway.seed.customers["northwind"].id)
    form = f"form_token={owner.token}&"
    for given, status in (
        (form + "&".join(f"f{at}=x" for at in range(1990)), (400, 422)),
        (form + "&".join(f"f{at}=x" for at in range(2100)), (403, 422)),
        (form + "email=" + "x" * 70_000, (413,)),
        (form + "email=%ff%fe", (422,)),
        (form + "email=%00", (422,)),
        (form + "email=\u00e9", (422,)),
        ("=" * 1000 + "&" * 1000 + form, (400, 403, 422)),
    ):
        reply = http.post("/gateway/create", content=given.encode(), headers={**owner.cookie, **OWN, **FORM})
        assert reply.status_code in status, (given[:80], reply.status_code)
    path = f"/gateway/embeddings/import?customer_id={northwind}&name=manuals"
    multipart = {"content-type": "multipart/form-data; boundary=b"}
    long = b"x" * 1_000_000
    for headers in (
        {},
        {"cookie": f"{SESSION_COOKIE}=planted.by.somebody"},
        {"cookie": f"{SESSION_COOKIE}={own_gateway.seed.admin_token}x"},
    ):
        try:
            refused = http.post(path, content=long, headers={**headers, **OWN, **multipart}).status_code
        except httpx.HTTPError:  # the connection is closed while the rest is sent
            continue
        assert refused in (303, 401, 413)
    part = f'--b\r\ncontent-disposition: form-data; name="form_token"\r\n\r\n{owner.token}\r\n'

    def file(name: str, content: str, *, ended: bool = True) -> bytes:
        head = f'--b\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        return (part + head + content + ("\r\n--b--\r\n" if ended else "")).encode("utf-8", "replace")

    for body in (
        b"", b"--b--", b"x" * 100, file("a.jsonl", "{}", ended=False), file("a.jsonl", "not json\n" * 50),
        file("a.jsonl", "[" * 5000), file("a.jsonl", '{"doc_id": "x", "text": "\\ud800"}'), file("a.jsonl", "\0" * 100),
        file('../../etc/passwd\\"\\r\\nset-cookie: x=1', '{"doc_id": 1}'), file("x" * 5000, "{}"),
        (part * 60).encode() + b"--b--", part.encode() + b'--b\r\ncontent-disposition: form-data\r\n\r\nx\r\n--b--',
    ):  # fmt: skip
        reply = http.post(path, content=body, headers={**owner.cookie, **OWN, **multipart})
        assert reply.status_code < 500, (body[:200], reply.text)
        assert "set-cookie" not in reply.headers
        assert "/etc/passwd" not in str(reply.headers)
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\u00e9",
        "multipart/form-data; boundary=" + "x" * 3000,
    ):
        headers = {**owner.cookie, **OWN, "content-type": kind}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        reply = http.post(path, content=file("a", "b"), headers=encoded)
        assert reply.status_code in (403, 422), kind


def test_files_of_the_pages_lead_nowhere_else(http: httpx.Client, owner: Pages) -> None:
    static = re.findall(r"/gateway/static/[0-9a-f]+/", http.get("/gateway/login").text)[0]
    kept = http.get(f"{static}gateway.js", headers={"origin": "https://evil.example", "accept-encoding": "br"})
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert [one.strip().lower() for one in kept.headers["vary"].split(",")] == ["accept-encoding", "origin"]
    for name in (
        "../../site.py", "..%2f..%2fsite.py", "%2e%2e/%2e%2e/site.py", "....//site.py", "..\\..\\site.py", "/etc/passwd",
        "%00", "gateway.js%00.css", "vendor/LICENSE-htmx", "vendor/SOURCES", "vendor/", "", "GATEWAY.JS",
    ):  # fmt: skip
        reply = http.get(httpx.URL(f"{http.base_url}").copy_with(raw_path=(static + name).encode()))
        assert reply.status_code in (400, 404), (name, reply.text[:200])
    northwind = {"name": 'x"\r\nset-cookie: a=b', "number": "../../x\r\nset-cookie: a=b", "customer_id": "1"}
    for path in (
        "embeddings/export",
        "billing/invoice.pdf",
        "exports.csv",
        "customers.csv",
        "embeddings/documents.csv",
    ):
        reply = http.get(f"/gateway/{path}", params=northwind, headers=owner.cookie)
        assert reply.status_code < 500, path
        assert "set-cookie" not in reply.headers, path
    # The `host` is repeated only to whoever sent it, is never kept, and is never more than a name.
    for host in ("evil.example", 'evil.example"><script>', "evil.example/path", "user@evil.example", "x" * 300):
        reply = http.get("/gateway/customers", headers={**owner.cookie, "host": host})
        if reply.status_code == 200:
            assert reply.headers["cache-control"] == "no-store"
            assert "<script>" not in reply.text.partition("<main")[2]
        assert http.get("/gateway", headers={"host": host}).headers.get("location", "/gateway").startswith("/gateway")
    assert "evil.example" not in owner.get("/gateway/customers").text


def test_every_page_with_a_session_is_kept_by_nobody_and_framed_by_nobody(owner: Pages, customer: Pages) -> None:
    policy = "default-src 'none'; script-src 'self' 'nonce-"
    nonces = []
    for pages, paths in (
        (owner, ("/gateway", "/gateway/customers", "/gateway/none", "/gateway/customer?customer_id=0", "/gateway/customers.json", "/gateway/customers.csv")),
        (customer, ("/gateway/dashboard.html", "/gateway/dashboard/calls", "/gateway/dashboard.json", "/gateway/dashboard/calls.csv")),
    ):  # fmt: skip
        for path in paths:
            for more in ({}, {"origin": "https://evil.example"}):
                reply = pages.get(path, **more)
                kind = reply.headers.get("content-type", "")
                assert "access-control-allow-credentials" not in reply.headers
                assert "etag" not in reply.headers
                assert reply.headers["x-content-type-options"] == "nosniff"
                if reply.status_code != 404:
                    assert reply.headers["cache-control"] == "no-store", path
                if kind.startswith("text/html"):
                    headers = reply.headers
                    assert headers["content-security-policy"].startswith(policy)
                    assert "frame-ancestors 'none'" in headers["content-security-policy"]
                    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "same-origin")
                    nonces.append(headers["content-security-policy"].partition("'nonce-")[2].partition("'")[0])
    assert len(nonces) == len(set(nonces)) > 6  # another one for each reply


def test_form_tokens_are_never_twice_the_same_and_pages_do_not_hold_the_session(owner: Pages) -> None:
    """The BREACH attack: nothing secret and constant may stand in a compressed page beside text that others choose."""
    tokens = {
        re.findall(r'name="form_token" value="([0-9a-f]+)"', owner.get("/gateway/customers").text)[0] for _ in range(5)
    }
    assert len(tokens) == 5
    assert len({token[-40:] for token in tokens}) == 5
    session = owner.cookie["cookie"].partition("=")[2]
    assert session not in owner.get("/gateway/account").text
