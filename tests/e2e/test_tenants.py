"""No customer reaches another one's data: each endpoint of the route table, with the other's ids, each role, each credential.

The requests are made from the route table of a whole gateway. A path's or a query's parameter that is in neither of the
tables below fails the test: whoever adds one says here whether it names something that belongs to a customer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from pydantic import SecretStr

from kaixu.config.environment import Secrets, Settings
from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.routes import Route
from kaixu.edge.tokens import make_session_token
from kaixu.gateway.process import Gateway
from tests.support.embedding import CONFIG, Embedder
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import SECRETS

ROLES = ("viewer", "deployer", "admin", "owner")
CREDENTIALS = ("key", "session")

#: In every text of the victim that no attacker sends.
SECRET = "vsecret"

#: The victim's ids begin here, so that one in a reply cannot be a number of something else.
FIRST_ID = 7_770_001

#: Parameters of paths that name something that belongs to a customer, and what it is.
PATHS = {"batch_id": "batch", "file_id": "file", "rest": "batch"}

#: The same for queries and bodies. Each is sent to every endpoint, whether that has it or not.
OWNED = {
    "customer_id": "customer",
    "api_key_id": "key",
    "key_id": "key",
    "id": "job",
    "job_id": "job",
    "before_id": "event",
    "event": "event",
    "event_id": "event",
    "request_id": "request",
    "after": "file",
    "file_id": "file",
    "input_file_id": "file",
    "batch_id": "batch",
    "collection": "collection",
    "name": "collection",
    "doc_id": "document",
    "install_id": "device",
    "app": "app",
    "end_user": "end user",
    "user": "end user",
    "number": "invoice",
}

#: Parameters that name nothing of anybody's.
FREE_PATHS = {
    "name", "integration", "panel", "tab", "version", "webhook", "webhook_alias", "callback", "callback_alias",
}  # fmt: skip
FREE = {
    "month", "scope", "limit", "from", "to", "type", "format", "columns", "count", "provider", "model", "kick", "export",
    "import", "documents", "vectors", "reembed", "after_chunk", "order", "purpose", "history", "revoked", "ttl_seconds",
    "new_name", "endpoint", "completion_window", "metadata", "output_expires_after", "dimensions", "language", "interval",
    "by", "sort", "tables", "book", "series", "key", "last4", "integration",
    "code",  # of whoever has it; docs/operators/plans.md
}  # fmt: skip

TALK: dict[str, Any] = {"model": "up/talk", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
WORDS = {"provider": "up", "model": "words"}

#: What an endpoint needs besides, so that it gets as far as its parameters.
BODIES: dict[str, dict[str, Any]] = {
    "gateway-chat": TALK,
    "gateway-stream": TALK,
    "gateway-job-submit": TALK,
    "/v1/chat/completions": TALK,
    "/v1/messages": TALK,
    "/v1/messages/count_tokens": TALK,
    "/v1/responses": {"model": "up/talk", "input": "hello"},
    "/v1/embeddings": {"model": "up/words", "input": "a"},
    "/v1/batches": {"endpoint": "/v1/embeddings", "completion_window": "24h"},
    "gateway-embed": WORDS | {"input": "a"},
    "gateway-embed-search": {"query": "a"},
    "PATCH gateway-embed-collections": {"new_name": "stolen"},
    "PATCH user-devices": {"revoked": True},
    "session-token": {},
}

#: Where the victim sees its own data with its own ids: otherwise the attacks would prove nothing.
SEEN_BY_ITSELF = {
    "user-summary", "user-events", "user-devices", "user-export", "push-whoami", "gateway-embed-search",
    "gateway-embed-collections", "gateway-job-status", "gateway-job-result", "/v1/files", "/v1/files/<file_id>",
    "/v1/files/<file_id>/content", "/v1/batches", "/v1/batches/<batch_id>",
}  # fmt: skip

#: Tables whose rows move by themselves.
MOVING = {"usage_change", "usage_series", "rate_window", "reading_window"}


class Recorder(dict[str, str]):
    """The parameters of a query. Notes which of them a handler reads."""

    note: Callable[[str], None]

    def get(self, name: str, default: Any = None) -> Any:
        self.note(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.note(name)
        return super().__getitem__(name)


class Attempt:
    """One reply."""

    def __init__(self, what: str, status: int, text: str, sent: str) -> None:
        self.what = what
        self.status = status
        self.text = text
        self.sent = sent

    def __repr__(self) -> str:
        return f"{self.what} → {self.status} {self.text[:600]}"


class Tenants:
    """A whole gateway, a victim with one of everything, and an attacker's account with a key of each role."""

    def __init__(self, gateway: Gateway, pool: asyncpg.Pool) -> None:
        self.gateway = gateway
        self.pool = pool
        self.client = gateway.app.test_client()
        self.routes = gateway.app.exchange.routes.all
        self.ids: dict[str, Any] = {}
        self.tokens: dict[tuple[str, str], str] = {}
        self.read: dict[str, set[str]] = defaultdict(set)
        self.now_at = ""

    def note(self, name: str) -> None:
        """A handler reads a parameter."""
        self.read[self.now_at].add(name)

    def session_of(self, key_id: int, customer_id: int) -> str:
        """A session token."""
        return make_session_token(
            SECRETS["JWT_SECRET"], key_id=key_id, customer_id=customer_id, key_last4="abcd", ttl_s=3600
        )

    async def make(self) -> None:
        """Make the attacker's account, then the victim's, with one of everything."""
        attacker = await customer(self.pool)
        for role in ROLES:
            key_id, key = await virtual_key(self.pool, attacker, role=role, rpm_limit=1_000_000)
            self.tokens[role, "key"], self.tokens[role, "session"] = key, self.session_of(key_id, attacker)
        for table in ("customer", "virtual_key", "usage_event"):
            await self.pool.execute(
                "select setval(pg_get_serial_sequence($1, 'id'), $2, false)", f"kaixu.{table}", FIRST_ID
            )
        victim = await customer(self.pool, plan_name=f"{SECRET}-plan")
        await self.pool.execute("update kaixu.customer set email = $2 where id = $1", victim, f"{SECRET}@example.com")
        key_id, key = await virtual_key(self.pool, victim, role="owner", label=f"{SECRET}-label")
        self.tokens["victim", "key"], self.tokens["victim", "session"] = key, self.session_of(key_id, victim)
        self.ids = {
            "customer": victim,
            "key": key_id,
            "collection": "vdocs",
            "document": "vdocument",
            "device": "vphone",
        }
        self.ids |= {"app": "vapp", "end user": "vuser", "request": "vrequest"}
        store = WORDS | {"input": [f"{SECRET} text"], "collection": "vdocs", "store": True, "doc_ids": ["vdocument"]}
        await self.done("POST", "/api/gateway-embed", store)
        await self.done("POST", "/api/gateway-chat", TALK | {"user": "vuser"})
        job = TALK | {"messages": [{"role": "user", "content": f"{SECRET} question"}]}
        self.ids["job"] = (await self.done("POST", "/api/gateway-job-submit", job, status=202))["job_id"]
        line = {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "up/words", "input": SECRET},
        }
        self.ids["file"] = (await self.upload(json.dumps(line), f"{SECRET}.jsonl"))["id"]
        batch = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_file_id": self.ids["file"]}
        self.ids["batch"] = (await self.done("POST", "/v1/batches", batch | {"metadata": {"of": SECRET}}))["id"]
        async with asyncio.timeout(60):
            while (await self.done("GET", f"/v1/batches/{self.ids['batch']}"))["status"] != "completed":
                await asyncio.sleep(0.05)
            while (await self.done("GET", f"/api/gateway-job-status?id={self.ids['job']}"))["status"] != "succeeded":
                await asyncio.sleep(0.05)
            while await self.pool.fetchval("select count(*) from kaixu.reservation"):
                await asyncio.sleep(0.05)
        self.ids["event"] = await self.pool.fetchval(
            "select max(id) from kaixu.usage_event where customer_id = $1", victim
        )
        assert self.ids["event"] >= FIRST_ID
        self.ids["invoice"] = "INV-7770001"
        await self.pool.execute(
            """
            insert into kaixu.invoice (kind, customer_id, month, attempt, series, number, name, net_nusd, net_cents,
                                       tax_cents, total_cents, snapshot, sha256, pdf, pdf_sha256, actor, issued_at)
            values ('invoice', $1, '2026-01-01', 0, 'INV', 7770001, $2, 0, 0, 0, 0, $3, '', $4, '', 'operator', now())
            """,
            victim, self.ids["invoice"], SECRET, f"%PDF {SECRET}".encode(),
        )  # fmt: skip

    def headers(self, token: str) -> dict[str, str]:
        """The headers of a request."""
        return {"authorization": f"Bearer {token}"} if token else {}

    async def done(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """A request of the victim's that succeeds."""
        more = {"x-kaixu-install-id": "vphone", "x-kaixu-app": "vapp", "x-kaixu-request-id": "vrequest"}
        headers = self.headers(self.tokens["victim", "key"]) | more
        response = await self.client.open(path, method=method, headers=headers, json=body)
        text = await response.get_data(as_text=True)
        assert response.status_code == status, (method, path, response.status_code, text)
        return json.loads(text)

    async def upload(self, content: str, name: str) -> Any:
        """A file of the victim's."""
        part = 'content-disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
        data = "".join(
            f"--vedge\r\n{one}"
            for one in (
                part.format("purpose", "", "batch"),
                part.format("file", f'; filename="{name}"', content),
            )
        )
        headers = self.headers(self.tokens["victim", "key"]) | {"content-type": "multipart/form-data; boundary=vedge"}
        response = await self.client.post("/v1/files", headers=headers, data=f"{data}--vedge--\r\n".encode())
        text = await response.get_data(as_text=True)
        assert response.status_code == 200, text
        return json.loads(text)

    async def rows(self) -> dict[str, str]:
        """A hash of the victim's rows in every table that has a customer."""
        tables = await self.pool.fetch(
            """
            select c.table_name as name, c.column_name as owner
              from information_schema.columns c
              join information_schema.tables t using (table_schema, table_name)
             where c.table_schema = 'kaixu' and t.table_type = 'BASE TABLE'
               and (c.column_name = 'customer_id' or (c.table_name, c.column_name) = ('customer', 'id'))
            """
        )
        found = {}
        for table in tables:
            if table["name"] not in MOVING:
                found[table["name"]] = await self.pool.fetchval(
                    f"select md5(coalesce(string_agg(t::text, chr(10) order by t::text), '')) "
                    f'from kaixu."{table["name"]}" t where t."{table["owner"]}" = $1',
                    self.ids["customer"],
                )
        assert len(found) > 15
        return found

    async def attempt(self, route: Route, token: str, owned: dict[str, Any], *, scope: str | None = None) -> Attempt:
        """A request with these parameters: in the query, and, where there is a body, there too."""
        path = route.paths[0]
        self.now_at = name = f"{route.method} {path}"
        for parameter in re.findall(r"<(?:\w+:)?(\w+)>", path):
            if parameter in PATHS:
                path = re.sub(rf"<(?:\w+:)?{parameter}>", quote(str(self.ids[PATHS[parameter]])), path)
            else:
                assert parameter in FREE_PATHS, f"{name}: is `{parameter}` something that belongs to a customer?"
                path = re.sub(rf"<(?:\w+:)?{parameter}>", "up/talk", path)
        body = None
        function = route.paths[0].rpartition("/functions/")[2]
        if route.method not in ("GET", "HEAD", "DELETE"):
            body = BODIES.get(f"{route.method} {function}", BODIES.get(function, {})) | owned
        query = {one: str(value) for one, value in owned.items()} | ({"scope": scope} if scope else {})
        response = await self.client.open(
            path, method=route.method, headers=self.headers(token), query_string=query, json=body
        )
        text = await response.get_data(as_text=True)
        what = f"{route.method} {path} {query}"
        return Attempt(what, response.status_code, text, f"{path} {json.dumps(query)} {json.dumps(body)}")

    def assert_nothing_of_the_victim(self, attempt: Attempt) -> None:
        """A refused or an own thing: no failure, no secret, no id that was not in the request."""
        assert attempt.status < 500 or attempt.status == 501, attempt  # 501: of an integration that is not there
        assert SECRET not in attempt.text, attempt
        # Names of collections, documents, programs and end users are each account's own: an attacker may use the same.
        for what in ("customer", "key", "event", "job", "file", "batch", "device", "invoice"):
            identity = str(self.ids[what])
            assert identity in attempt.sent or identity not in attempt.text, (what, attempt)

    def function(self, route: Route) -> str:
        """The name of a route in the tables above."""
        return route.paths[0].rpartition("/functions/")[2]


@pytest.fixture
def vendor() -> Iterator[Embedder]:
    """A vendor's stand-in."""
    embedder = Embedder()
    embedder.start()
    yield embedder
    embedder.stop()


@pytest.fixture
async def tenants(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool, vendor: Embedder, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tenants]:
    """The gateway, in this process, so that it tells which parameters it reads."""
    config = tmp_path / "kaixu.yaml"
    config.write_text(
        CONFIG.format(url=vendor.url, gateway="readings_per_minute: 1000000, max_collections: 100").split("  local:")[0]
    )
    settings = Settings(kaixu_home=tmp_path, kaixu_config=config, database_url=SecretStr(dsn))
    secrets = Secrets(
        admin_password=SECRETS["ADMIN_PASSWORD"],
        jwt_secret=SECRETS["JWT_SECRET"],
        key_pepper=SECRETS["KEY_PEPPER"],
        db_encryption_key=SECRETS["DB_ENCRYPTION_KEY"],
    )
    gateway = Gateway(settings, secrets)
    await gateway.open()
    made = Tenants(gateway, pool)
    args, get = IncomingRequest.args.fget, Fields.get  # type: ignore[attr-defined]

    class Noted(Recorder):
        def note(self, name: str) -> None:
            made.note(name)

    def get_noted(fields: Fields, name: str) -> Any:
        if not made.now_at.endswith(
            ("chat", "stream", "submit", "completions", "messages", "count_tokens", "responses")
        ):
            made.note(name.partition(".")[0])
        return get(fields, name)

    monkeypatch.setattr(IncomingRequest, "args", property(lambda request: Noted(args(request))))
    monkeypatch.setattr(Fields, "get", get_noted)
    try:
        await made.make()
        yield made
    finally:
        gateway.stop_soon()
        await gateway.close()


async def test_no_customer_reaches_another_ones_data(tenants: Tenants) -> None:
    before = await tenants.rows()
    owned = {name: tenants.ids[kind] for name, kind in OWNED.items()}
    of_customers = [route for route in tenants.routes if route.auth in ("key", "key_only", "key_or_operator")]
    assert len(of_customers) > 30
    tenants.read.clear()

    # The owner sends every parameter to every endpoint: this tells which of them an endpoint reads.
    for route in of_customers:
        for credential in CREDENTIALS:
            token = tenants.tokens["owner", credential]
            tenants.assert_nothing_of_the_victim(await tenants.attempt(route, token, {}, scope="customer"))
            for name, value in owned.items():
                tenants.assert_nothing_of_the_victim(await tenants.attempt(route, token, {name: value}))
    unknown = {
        f"{at}: {name}" for at, names in tenants.read.items() for name in names if name not in OWNED.keys() | FREE
    }
    calls = {"gateway-embed", "/v1/embeddings", "gateway-embed-search", "gateway-embed-collections"}
    unknown = {one for one in unknown if not one.partition(": ")[0].endswith(tuple(calls))}
    assert not unknown, f"say in OWNED or FREE whether these belong to a customer: {sorted(unknown)}"

    # The other roles, and both scopes, with what it reads; one at a time, and together.
    read = {at: {name: owned[name] for name in names if name in owned} for at, names in tenants.read.items()}
    for route in of_customers:
        names = read.get(f"{route.method} {route.paths[0]}", {})
        combinations = [{}, names, *({name: value} for name, value in names.items() if len(names) > 1)]
        for role in ROLES:
            for credential in CREDENTIALS:
                for combination in combinations if role != "owner" else [names]:
                    scope = None if role == "viewer" else "customer"
                    attempt = await tenants.attempt(route, tenants.tokens[role, credential], combination, scope=scope)
                    tenants.assert_nothing_of_the_victim(attempt)
    assert await tenants.rows() == before


async def test_each_endpoint_takes_only_its_own_kind_of_credential(tenants: Tenants) -> None:
    before = await tenants.rows()
    owned = {name: tenants.ids[kind] for name, kind in OWNED.items()}
    operator = admin_token()
    for route in tenants.routes:
        if route.auth == "public":
            continue
        refused = [""]
        if route.auth == "operator":
            refused += tenants.tokens.values()
        elif route.auth != "key_or_operator":
            refused.append(operator)
        for token in refused:
            attempt = await tenants.attempt(route, token, owned)
            expected = {401} | ({400} if route.auth == "key_only" else set())
            expected |= {404} if not route.exists({"integration": "up"}) else set()  # no such integration is on
            assert attempt.status in expected, attempt
            tenants.assert_nothing_of_the_victim(attempt)
    assert await tenants.rows() == before


async def test_public_endpoints_tell_nothing_about_customers(tenants: Tenants) -> None:
    before = await tenants.rows()
    owned = {name: tenants.ids[kind] for name, kind in OWNED.items()}
    for route in tenants.routes:
        if route.auth == "public":
            for token in ("", tenants.tokens["owner", "key"], tenants.tokens["victim", "key"]):
                tenants.assert_nothing_of_the_victim(await tenants.attempt(route, token, owned))
    assert await tenants.rows() == before


async def test_the_victim_itself_sees_what_nobody_else_does(tenants: Tenants) -> None:
    seen = set()
    for route in tenants.routes:
        if route.auth not in ("key", "key_only", "key_or_operator") or route.method != "GET":
            continue
        for combination in (
            {}, {"id": tenants.ids["job"]}, {"name": tenants.ids["collection"]},
            {"name": tenants.ids["collection"], "doc_id": tenants.ids["document"]},
        ):  # fmt: skip
            attempt = await tenants.attempt(route, tenants.tokens["victim", "key"], combination)
            shown = (SECRET, str(tenants.ids["key"]), tenants.ids["device"])
            if attempt.status == 200 and any(one in attempt.text for one in shown):
                seen.add(tenants.function(route))
    [search] = [route for route in tenants.routes if tenants.function(route) == "gateway-embed-search"]
    attempt = await tenants.attempt(search, tenants.tokens["victim", "key"], {"collection": tenants.ids["collection"]})
    if SECRET in attempt.text:
        seen.add("gateway-embed-search")
    assert seen >= SEEN_BY_ITSELF, SEEN_BY_ITSELF - seen


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("update kaixu.customer set is_active = false where id < $1", 403),
        ("update kaixu.virtual_key set revoked_at = now() where id < $1", 401),
    ],
    ids=["disabled account", "revoked key"],
)
async def test_who_may_not_call_may_not_read_either(tenants: Tenants, statement: str, status: int) -> None:
    await tenants.pool.execute(statement, FIRST_ID)
    # What a call needs is read before the key is looked up; elsewhere the key comes first.
    readings = {"name": "own", "install_id": "a", "id": tenants.ids["job"]}
    calls = {"gateway-embed-search": {"collection": "own"}, "gateway-embed-collections": {"name": "own"} | WORDS}
    for route in tenants.routes:
        if route.auth not in ("key", "key_only", "key_or_operator"):
            continue
        own = readings if route.rate == "reading" else calls.get(tenants.function(route), {})
        for credential in CREDENTIALS:
            attempt = await tenants.attempt(route, tenants.tokens["owner", credential], own)
            expected = {status}
            expected |= {400} if (route.auth, credential) == ("key_only", "session") else set()
            expected |= {404} if not route.exists({"integration": "up"}) else set()
            assert attempt.status in expected, attempt
