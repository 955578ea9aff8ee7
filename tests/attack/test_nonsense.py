"""Nonsense in every parameter of every endpoint, for operators and customers: never a 500, always an error that says why.

The fields that an endpoint knows are learned from its answer to one that it does not know.

`make slow` makes 20,000 requests, `make test` 800 by the same seed.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg
import msgspec
import yarl

from kaixu.accounts.operator_identity import READ
from kaixu.edge.routes import Auth
from kaixu.gateway.app import Application
from kaixu.plugin.types import Usage
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture
from tests.support.calls import admit, billed
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import Process, config_for
from tests.support.size import size

REQUESTS = size(800, 20_000)
AT_ONCE = 8

PARAMETERS = (
    "customer_id", "api_key_id", "key_id", "rotate_key_id", "reveal_key_id", "id", "event", "event_id", "before_id", "after_id",
    "after", "cursor", "limit", "offset", "month", "from", "to", "since", "until", "interval", "by", "sort", "order", "q",
    "plan", "active", "revoked", "role", "scope", "type", "format", "columns", "count", "provider", "model", "app",
    "end_user", "user", "end", "book", "series", "level", "kind", "function", "fn", "request_id", "status", "code",
    "number", "invoice", "pdf", "prefix", "key", "days", "app_id", "history", "name", "collection", "doc_id", "install_id",
    "amount_cents", "lines", "reason", "email", "address", "tax_rate_percent", "label", "monthly_cap_cents", "rpm_limit",
    "allowed_models", "allowed_providers", "last4", "tables", "vectors", "documents", "idempotency_key", "group_id", "expires_at",
    "overlap_s", "limits", "tpm_limit", "day_cap_cents", "batch_id", "code_id", "email_domain", "plan_name", "note", "notes",
    "count", "scopes", "expires_in_days", "token", "state", "operator_id", "session_id", "all", "invite", "totp", "password",
    "current_password", "confirm", "dry_run", "url", "alert_thresholds", "alert_mail", "actor", "action", "target", "error",
    "health_status", "lifecycle_status", "onboarding_stage", "owner", "parent", "kick", "surface", "platform", "iss",
)  # fmt: skip

#: Kept apart by what they may do: numbers, times, cursors, text.
NONSENSE = (
    "0", "-1", "1", "2", "3", "00001", "+1", "1.0", "1e3", "1e400", "NaN", "-0", "0x10", "1_000", "٣", "²", "9" * 18, str(2**31),
    str(2**63 - 1), str(2**63), "9" * 19, "9" * 5000, "true", "null", "[]", "{}", "{\"a\":", "all", "*", "%", "_", "\\", "'", "\"",
    "';--", "$1", "%s", "{0}", "{{", "\x00", "a\x00b", "\x1b[2J", "\x7f", "\u202e", "\u200b", "\ud7ff", "\ufeff", "\U0001f4f1",
    "é", "e\u0301", "İ", "ß", "\r\nx-a: b", "\n", "\t", " ", "", "a" * 300, "ä" * 5000, "../../etc/passwd", "..%2f", "//", "a/b",
    "2026-11", "2026-13", "2026-00", "0000-01", "9999-12", "2099-12", "2000-01", "1999-12", "20٢٦-11", "2026-11-31", "2026-02-30",
    "2099-12-31", "2099-12-31T23:59:59Z", "2000-01-01T00:00:00+14:00", "2000-01-01T00:00:00-23:59", "2026-11-01T24:00:00Z",
    "2026-W48", "2026-W48-7T00:00", "20261101", "2026-11-01T00:00:00.123456789Z", "2026-11-01 00:00", "now", "now-0m", "now-1d",
    "now-999999w", "now-7d", "now+1d", "now-1y", "0001-01-01", "9999-12-31T23:59:59.999999-23:59",
    "id~1~1", "id~~1", "id~-1~1", "spent~1~1", f"spent~{2**63}~1", "email~a@b.c~1", "email~\x00~1", "last_seen~1~1", "~~", "~" * 400,
    "spent~NaN~1", "id~1~" + "9" * 30, "last_seen~1~~1", "customer", "key", "owner", "csv", "ndjson", "html", "json", "asc", "desc",
    "email", "spent", "last_seen", "quarter", "hour", "day", "events", "summary", "invoice", "INV-2026-00001", "r", "error",
    "created_at,created_at", "id," * 100, ",", "cost_usd", "deployment", "nobody@example.com", "00000000-0000-0000-0000-000000000000",
)  # fmt: skip

#: Values in bodies.
ODD: tuple[Any, ...] = (
    *NONSENSE[:60],
    None,
    True,
    [],
    {},
    [[]],
    {"a": {"b": []}},
    0,
    -1,
    1.5,
    1e308,
    2**63,
    -(2**63),
    [None],
    [1],
    ["x"] * 300,
)

#: Values that some field takes, so that the others beside it are read, too.
GOOD: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, 60, 500, "1", "2099-01-01", "a@example.com", "owner", "viewer", "x", "up", "all", "read", "none",
    "approve", "https://example.com/x", {"up/m": {"rpm": 1}}, {"up": ["m"]}, [50, 100], ["up"], ["keys"],
)  # fmt: skip

UNKNOWN_FIELD = {"no_such_field": 1}
KNOWN_FIELDS = re.compile(rb"The fields are ([a-z_0-9, ]+)")

#: An integration whose operations take something from everywhere.
PLUGIN = """
from typing import Annotated, Any
import msgspec
from kaixu.plugin import (
    Body, Clamped, Free, Header, Integration, Operation, Operator, Public, Query, Rate, RawBody, hookimpl,
)

class Input(msgspec.Struct):
    id: str
    limit: Annotated[int, Clamped(1, 500, default=200)]
    name: Annotated[str | None, Body("name", "label"), msgspec.Meta(max_length=20)] = None
    count: Annotated[int, Body("count", lax=True)] = 1
    month: Annotated[str, Query("month")] = ""
    since: Annotated[float | None, Query("since")] = None
    agent: Annotated[str, Header("user-agent")] = ""
    lines: Any = None

class Listing(msgspec.Struct):
    limit: Annotated[int, Clamped(1, 500, default=200)]
    after: int | None = None
    columns: list[str] = []

class Upload(msgspec.Struct):
    id: str
    data: Annotated[bytes, RawBody()]

class Change(msgspec.Struct, forbid_unknown_fields=True):
    amount_cents: int = 0
    note: str = ""

class Said(msgspec.Struct):
    said: Any

async def echo(call):
    return Said(msgspec.to_builtins(call.body))

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration("push", [
        Operation("push.make", echo, Input, free, path="/projects/{id}", rate=Rate(10**6, 60)),
        Operation("push.list", echo, Listing, free, method="GET", path="/projects"),
        Operation("push.upload", echo, Upload, free, method="PUT", path="/files/{id}"),
        Operation("push.change", echo, Change, free, method="PATCH", auth=Operator()),
        Operation("push.look", echo, Listing, free, method="GET", auth=Operator()),
        Operation("push.hello", echo, Listing, free, method="GET", path="/hello", auth=Public(100_000)),
    ]))
"""
OPERATIONS: tuple[tuple[str, str, Auth], ...] = (
    ("POST", "/v1/push/projects/<id>", "key"), ("GET", "/v1/push/projects", "key"), ("PUT", "/v1/push/files/<id>", "key"),
    ("PATCH", "/v1/push/change", "operator"), ("GET", "/v1/push/look", "operator"), ("GET", "/v1/push/hello", "public"),
)  # fmt: skip

#: Readers that never end, and what would change the account that the test looks with.
LEFT_OUT = ("admin-monitor-stream", "admin-login")


async def test_no_nonsense_breaks_an_endpoint(tmp_path: Path, dsn: str, pool: asyncpg.Pool, app: Application) -> None:
    draw = random.Random(16)
    config = config_for("http://127.0.0.1:1/v1", "ok") + "\nintegrations: {push: {plugin: ./push.py}}\n"
    gateway = Process(tmp_path / "gateway", dsn, config)
    (tmp_path / "gateway").mkdir(exist_ok=True)
    (tmp_path / "gateway" / "push.py").write_text(PLUGIN)
    await gateway.start()
    wrong: list[str] = []
    statuses: dict[int, int] = {}
    customer_id = await customer(pool)
    key_id, key = await virtual_key(pool, customer_id, role="owner")
    await admit(pool, key_id, install_id="one")
    await billed(pool, key_id, Usage(input_tokens=3))
    routes = [route for route in app.exchange.routes.all if not any(name in route.paths[0] for name in LEFT_OUT)]
    some = routes[0]
    routes += [
        replace(some, method=method, paths=(path,), auth=auth, access=READ if auth == "operator" else None)
        for method, path, auth in OPERATIONS
        for _ in range(5)
    ]
    credentials = {"operator": admin_token()}
    known: dict[int, list[str]] = {}  # of each route, as it says

    async def one(http: aiohttp.ClientSession) -> None:
        route = draw.choice(routes)
        path = draw.choice(route.paths)
        while "<" in path:
            before, _, rest = path.partition("<")
            path = before + quote(draw.choice(NONSENSE), safe="") + rest.partition(">")[2]
        query = {}
        if draw.random() < 0.7 or "customer" in path:
            query["customer_id"] = str(customer_id)
        for _ in range(draw.choice((0, 1, 1, 2, 3))):
            query[draw.choice(PARAMETERS)] = draw.choice(NONSENSE)
        text = "&".join(
            f"{quote(name)}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}" for name, value in query.items()
        )
        body = None
        if route.method in ("POST", "PUT", "PATCH", "DELETE"):
            fields = UNKNOWN_FIELD
            if id(route) in known:
                names = known[id(route)] if draw.random() < 0.7 else []
                names = names or [draw.choice(PARAMETERS) for _ in range(4)]
                fields = {
                    name: draw.choice(GOOD if draw.random() < 0.7 else ODD)
                    for name in draw.sample(names, draw.randrange(1 + min(6, len(names))))
                }
                if draw.random() < 0.5:
                    fields["customer_id"] = customer_id
            body = msgspec.json.encode(fields)
        headers = {"authorization": f"Bearer {credentials.get(route.auth, key)}", "content-type": "application/json"}
        url = yarl.URL(f"{gateway.url}{path}?{text}"[:60_000], encoded=True)
        async with http.request(route.method, url, data=body, headers=headers) as response:
            said = await response.read()
            if body is not None:
                told = KNOWN_FIELDS.search(said)
                known[id(route)] = known.get(id(route)) or (told[1].decode().strip().split(", ") if told else [])
            statuses[response.status] = statuses.get(response.status, 0) + 1
            is_set_up = b'"NOT_CONFIGURED"' not in said
            if (
                response.status == 500
                or (response.status == 501 and is_set_up)
                or (response.status >= 400 and response.status != 404 and not said)
            ):
                wrong.append(f"{response.status} {route.method} {path}?{text[:400]} {body!r:.400}: {said[:300]!r}")

    async def worker(http: aiohttp.ClientSession) -> None:
        for _ in range(REQUESTS // AT_ONCE):
            await one(http)
            # What an odd change has disabled or revoked is there again for the next one.
            if draw.random() < 0.05:
                await pool.execute(
                    "update kaixu.virtual_key set revoked_at = null, role = 'owner', rpm_limit = 1000000"
                )
                await pool.execute("update kaixu.customer set is_active = true")
                await pool.execute("update kaixu.operator_session set revoked_at = null")
                await pool.execute("truncate kaixu.reading_window")

    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as http:
            await asyncio.gather(*(worker(http) for _ in range(AT_ONCE)))
        assert wrong == []
        assert statuses[200] > REQUESTS // 20, statuses
        log = gateway.log.read_text()
        assert "Traceback" not in log, log[-4000:]
    finally:
        print(statuses)
        await gateway.stop()
