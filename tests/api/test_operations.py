"""Operations of integrations over HTTP: addresses, inputs, replies, callers, and their own limits."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kaixu.catalog.build import build
from kaixu.config.load import load
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream
from kaixu.edge.tokens import make_session_token
from kaixu.gateway.app import Application
from kaixu.gateway.price_ids import price_ids
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture
from tests.support.money import customer, spent_and_held, virtual_key
from tests.support.operators import admin_token
from tests.support.process import SECRETS

PLUGIN = """
import asyncio
from typing import Annotated, Any
import msgspec
from kaixu.plugin import (
    Body, Bytes, Clamped, Events, Failure, Free, Header, Integration, Key, Operation, Operator, Page, PageLink, Path,
    PerCall, PerUnit, Public, Query, Rate, RawBody, Redirect, Reply, Text, hookimpl,
)

class Nothing(msgspec.Struct):
    pass

class Said(msgspec.Struct):
    said: Any = None

class Listing(msgspec.Struct):
    limit: Annotated[int, Clamped(1, 500, default=200)]
    month: str | None = None
    tags: list[str] = []
    since: Annotated[int | None, Query("since", "from")] = None

class Project(msgspec.Struct, forbid_unknown_fields=True):
    project_id: Annotated[str, Path("project_id", "projectId")]
    name: Annotated[str, msgspec.Meta(max_length=20)]
    site_id: Annotated[str, Body("netlifySiteId", "netlify_site_id")]
    parts: Annotated[int, Body("parts", lax=True)] = 1
    sha1: Annotated[str | None, Header("X-Content-Sha1")] = None

class Upload(msgspec.Struct):
    path: Annotated[str, Query()]
    data: Annotated[bytes, RawBody(most_bytes=1000)]

class Words(msgspec.Struct):
    words: str = ""

class About(msgspec.Struct, forbid_unknown_fields=True):
    words: str = ""

async def echo(call):
    return Said(msgspec.to_builtins(call.body))

async def who(call):
    return Said([msgspec.to_builtins(call.caller), call.customer_id])

async def answer(call):
    match call.body.words:
        case "accepted":
            return Reply(Said("later"), 202, {"X-Job": "7"})
        case "empty":
            return Reply(None, 202)
        case "text":
            return Text("plain")
        case "file":
            return Bytes(b"<script>", "text/html", "a \\"b\\" ü.html")
        case "redirect":
            return Redirect("/gateway/dashboard.html")
        case "page":
            return Page("Done <b>", "It works.\\n\\nGo on.", PageLink("Back", "/"), 404)
        case "failure":
            raise Failure(409, "NOT_REQUIRED", "this file is not needed", hint="Leave it.", retry_after_s=7,
                          fields={"sha1": "abc", "expected": [1]})
        case "cookie":
            return Reply(Said(), headers={"Set-Cookie": "a=b"})
        case "split":
            return Reply(Said(), headers={"X-A": "a\\r\\nset-cookie: b"})
        case "elsewhere":
            return Redirect("//evil.example")
        case "dict":
            return {"a": 1}
        case "bad failure":
            raise Failure(200, "FINE", "no error")

async def stream(call):
    async def go():
        if call.body.words == "early":
            raise Failure(409, "NOT_YET", "not yet")
        yield Said(1)
        yield "step", Said(2)
        if call.body.words == "late":
            raise Failure(409, "NOT_YET", "not yet")
        if call.body.words == "nonsense":
            yield 5
        if call.body.words == "hang":
            await asyncio.sleep(3600)
    return Events(go())

async def again(call):
    return Said("again")

GATE = asyncio.Event()

async def wait(call):
    await GATE.wait()
    return Said("waited")

@hookimpl
def register_integrations(register):
    free = Free("a test")
    register(Integration("push", operations=[
        Operation("push.say", echo, Words, free),
        Operation("push.list", echo, Listing, free, method="GET", path="/projects", aliases=["push-projects"]),
        Operation("push.make", echo, Project, free, path="/projects/{project_id}", auth=Key("admin"),
                  aliases=["push-project"]),
        Operation("push.new", again, Nothing, free, path="/projects/new"),
        Operation("push.add", again, Words, free, aliases=["push-projects", "admin-push-projects"]),
        Operation("push.upload", echo, Upload, free, method="PUT"),
        Operation("push.answer", answer, Words, PerCall("say")),
        Operation("push.stream", stream, Words, PerCall("say"), timeout_s=30),
        Operation("push.who", who, Nothing, free, method="GET"),
        Operation("push.about", who, About, free, method="DELETE", auth=Operator(), aliases=["admin-push-about"]),
        Operation("push.look", who, About, free, method="GET", auth=Operator("customer"), rate=Rate(2, 3600)),
        Operation("push.all", who, Nothing, free, auth=Operator(None)),
        Operation("push.hello", who, Nothing, free, method="GET", auth=Public(per_minute=2)),
        Operation("push.slowly", again, Nothing, free, rate=(Rate(2, 3600), Rate(3, 86400))),
        Operation("push.each", again, Nothing, free, rate=Rate(1, 3600, by="key")),
        Operation("push.one", wait, Nothing, free, at_once=1),
    ]))
"""
CONFIG = "integrations: {push: {plugin: ./push.py, price: {say: 0.001}}}\n"
SAY = 1_000_000


class House:
    """The application with the integration, and a customer with an owner's key."""

    def __init__(self, app: Application, services: Services, pool: asyncpg.Pool) -> None:
        self.client: Any = app.test_client()
        self.services = services
        self.pool = pool
        self.customer_id = 0
        self.key_id = 0
        self.key = ""

    async def raw(self, method: str, path: str, data: Any = None, key: str | None = None, **headers: str) -> Any:
        """A reply."""
        if data is not None and not isinstance(data, bytes):
            data = json.dumps(data).encode()
        credential = {"authorization": f"Bearer {key or self.key}"}
        return await self.client.open(
            path, method=method, data=data, headers=credential | {k.replace("_", "-"): v for k, v in headers.items()}
        )

    async def ask(self, method: str, path: str, data: Any = None, **more: str) -> tuple[int, Any]:
        """The status and the JSON of a reply."""
        response = await self.raw(method, path, data, **more)
        return response.status_code, json.loads(await response.get_data())


@pytest.fixture
async def house(tmp_path: Path, app: Application, services: Services, pool: asyncpg.Pool) -> House:
    """The integration is on."""
    (tmp_path / "push.py").write_text(PLUGIN)
    made = House(app, services, pool)
    await configure(made, tmp_path, CONFIG)
    made.customer_id = await customer(pool)
    await pool.execute("update kaixu.customer set email = 'one@example.com' where id = $1", made.customer_id)
    made.key_id, made.key = await virtual_key(pool, made.customer_id, role="owner")
    return made


async def configure(house: House, folder: Path, text: str) -> None:
    """Load a kaixu.yaml, as a reload does."""
    (folder / "kaixu.yaml").write_text(text)
    catalog = build(load(folder / "kaixu.yaml", {}), folder)
    house.services.current.catalog = catalog
    house.services.gate.price_ids |= await price_ids(house.pool, catalog)


async def test_method_and_address_together_pick_the_operation(house: House) -> None:
    assert await house.ask("POST", "/v1/push/say", {"words": "a"}) == (200, {"said": {"words": "a"}})
    for path in ("/v1/push/projects", "/api/push-projects", "/.netlify/functions/push-projects"):
        assert (await house.ask("GET", path))[1] == {
            "said": {"limit": 200, "month": None, "tags": [], "since": None}
        }, path
    assert await house.ask("POST", "/api/push-projects", {}) == (200, {"said": "again"})
    # An alias takes the place of what only says that the integration is missing, for all methods.
    assert await house.ask("POST", "/api/admin-push-projects", {}) == (200, {"said": "again"})
    response = await house.raw("DELETE", "/api/push-projects")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, POST")
    assert (await house.raw("GET", "/api/admin-push-projects")).status_code == 405
    assert (await house.raw("HEAD", "/v1/push/projects")).status_code == 200
    # A word comes before a parameter.
    assert await house.ask("POST", "/v1/push/projects/new", {}) == (200, {"said": "again"})
    status, body = await house.ask("POST", "/v1/push/projects/none/here", {})
    assert (status, body["code"]) == (404, "NOT_FOUND")
    assert (await house.ask("GET", "/v1/push/sya"))[1]["error"].endswith("did you mean `say`?")
    assert (await house.ask("POST", "/v1/push/say", key="nonsense"))[0] == 401


async def test_a_reload_adds_and_removes_addresses(house: House, tmp_path: Path) -> None:
    await configure(house, tmp_path, "integrations: {}\n")
    assert (await house.ask("POST", "/v1/push/say", {}))[0] == 404
    assert (await house.ask("GET", "/api/push-projects"))[0] == 404
    operator = admin_token()
    assert (await house.ask("GET", "/api/admin-push-projects", key=operator))[1]["code"] == "NOT_CONFIGURED"
    await configure(house, tmp_path, CONFIG)
    assert (await house.ask("GET", "/api/push-projects"))[0] == 200


async def test_an_integration_that_is_off_says_so_at_all_its_addresses(house: House) -> None:
    catalog = house.services.catalog
    catalog.integrations["push"] = replace(catalog.integrations["push"], state="off", reason="TOKEN is not set")
    catalog.operations = {}
    for path in ("/v1/push/say", "/v1/push/none", "/api/push-projects"):
        assert (await house.ask("POST", path, {}))[1]["code"] == "LANE_OFF", path
    assert (await house.ask("POST", "/api/push-projects", {}, key="none"))[0] == 401
    catalog.fail("push", "a test")
    for path in ("/v1/push/say", "/v1/push/none"):
        assert (await house.ask("POST", path, {}))[1]["code"] == "PLUGIN_FAILED", path
    assert (await house.ask("POST", "/v1/push/say", {}, key="none"))[0] == 401


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=9999&since=5", {"limit": 500, "month": None, "tags": [], "since": 5}),
        ("limit=-1&month=2026-11&month=2026-12", {"limit": 1, "month": "2026-11", "tags": [], "since": None}),
        ("limit=&tags=a&tags=b&since=&from=3", {"limit": 200, "month": None, "tags": ["a", "b"], "since": None}),
    ],
    ids=["above", "below", "empty"],
)
async def test_the_query_is_an_input(house: House, query: str, said: Any) -> None:
    assert (await house.ask("GET", f"/v1/push/projects?{query}")) == (200, {"said": said})


async def test_fields_come_from_where_they_say(house: House) -> None:
    body = {"name": "n", "netlify_site_id": "s", "parts": "3"}
    expected = {"project_id": "p-1", "name": "n", "site_id": "s", "parts": 3, "sha1": "ff"}
    for sent in (body, json.dumps(body)):  # older pages encode it twice
        status, reply = await house.ask("POST", "/v1/push/projects/p-1", sent, x_content_sha1="ff")
        assert (status, reply) == (200, {"said": expected})
    # An alias has no parameters.
    for path, more in (("push-project", {"projectId": "p-1"}), ("push-project?project_id=p-1", {})):
        status, reply = await house.ask("POST", f"/api/{path}", body | more, x_content_sha1="ff")
        assert (status, reply) == (200, {"said": expected})
    assert (await house.ask("POST", "/api/push-project", body))[1]["field"] == "project_id"
    packed = gzip.compress(json.dumps(body).encode())
    assert (await house.ask("POST", "/v1/push/projects/p-1", packed, content_encoding="gzip"))[0] == 200
    both = {"name": "n", "netlifySiteId": None, "netlify_site_id": "s"}
    assert (await house.ask("POST", "/v1/push/projects/p-1", both))[1]["said"]["site_id"] == "s"
    status, reply = await house.ask("PUT", "/v1/push/upload?path=/a", b"\x00\xff")
    assert (status, reply["said"]) == (200, {"path": "/a", "data": "AP8="})


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "field"),
    [
        ("POST", "projects/p", {"name": "n"}, 422, "netlifySiteId"),
        ("POST", "projects/p", {"name": 3, "netlifySiteId": "s"}, 422, "name"),
        ("POST", "projects/p", {"name": "n" * 21, "netlifySiteId": "s"}, 422, "name"),
        ("POST", "projects/p", {"name": "n", "netlifySiteId": "s", "other": 1}, 422, "other"),
        ("POST", "projects/p", {"name": "n", "netlifySiteId": "s", "parts": "x"}, 422, "parts"),
        ("POST", "projects/p", {"name": "n\0", "netlifySiteId": "s"}, 400, "name"),
        ("POST", "projects/p", [1], 400, None),
        ("POST", "projects/p", b"{", 400, None),
        ("GET", "projects?limit=many", None, 422, "limit"),
        ("GET", "projects?limit=2.5", None, 422, "limit"),
        ("GET", "projects?since=x", None, 422, "since"),
        ("PUT", "upload?path=/a", b"x" * 1001, 413, None),
        ("PUT", "upload", b"x", 422, "path"),
        ("POST", "say", json.dumps({"words": 3}), 422, "words"),
    ],
    ids=[
        "missing", "wrong-type", "too-long", "unknown", "no-number", "nul", "no-object", "no-json", "no-limit",
        "half-a-limit", "no-query-number", "too-large", "no-query", "doubly-encoded",
    ],
)  # fmt: skip
async def test_a_wrong_input_is_refused_with_the_name_of_its_field(
    house: House, method: str, path: str, data: Any, status: int, field: str | None
) -> None:
    answered, body = await house.ask(method, f"/v1/push/{path}", data)
    assert (answered, body.get("field")) == (status, field), body


async def test_bounds_count_after_decoding(house: House) -> None:
    packed = gzip.compress(b"x" * 1001)
    status, body = await house.ask("PUT", "/v1/push/upload?path=/a", packed, content_encoding="gzip")
    assert (status, body["code"]) == (413, "TOO_LARGE")
    assert len(packed) < 100


async def test_replies_are_sent_as_they_are_made(house: House) -> None:
    async def answer(words: str) -> Any:
        return await house.raw("POST", "/v1/push/answer", {"words": words})

    accepted = await answer("accepted")
    assert (accepted.status_code, accepted.headers["x-job"], await accepted.get_json()) == (202, "7", {"said": "later"})
    empty = await answer("empty")
    assert (empty.status_code, await empty.get_data()) == (202, b"")
    text = await answer("text")
    assert (text.headers["content-type"], await text.get_data()) == ("text/plain; charset=utf-8", b"plain")
    file = await answer("file")
    assert file.headers["content-disposition"] == (
        "attachment; filename=\"a _b_ _.html\"; filename*=UTF-8''a%20%22b%22%20%C3%BC.html"
    )
    assert file.headers["content-security-policy"].startswith("sandbox")
    moved = await answer("redirect")
    assert (moved.status_code, moved.headers["location"]) == (303, "/gateway/dashboard.html")
    page = await answer("page")
    html = (await page.get_data()).decode()
    assert page.status_code == 404
    for part in ("Done &lt;b&gt;", "<p>Go on.</p>", 'href="/"'):
        assert part in html
    assert await spent_and_held(house.pool, house.customer_id) == (6 * SAY, 0)
    failed = await answer("failure")
    body = await failed.get_json()
    assert (failed.status_code, failed.headers["retry-after"]) == (409, "7")
    assert body == {
        "error": "this file is not needed", "code": "NOT_REQUIRED", "hint": "Leave it.", "sha1": "abc",
        "expected": [1], "request_id": body["request_id"],
    }  # fmt: skip
    for wrong in ("cookie", "split", "elsewhere", "dict", "bad failure"):
        assert (await (await answer(wrong)).get_json())["code"] == "INTEGRATION_FAILED", wrong
    assert await spent_and_held(house.pool, house.customer_id) == (6 * SAY, 0)


async def test_a_stream_is_settled_at_its_end(house: House) -> None:
    response = await house.raw("POST", "/v1/push/stream", {"words": ""})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert await response.get_data() == b'data: {"said":1}\n\nevent: step\ndata: {"said":2}\n\n'
    assert await spent_and_held(house.pool, house.customer_id) == (SAY, 0)
    status, early = await house.ask("POST", "/v1/push/stream", {"words": "early"})
    assert (status, early["code"]) == (409, "NOT_YET")
    late = (await (await house.raw("POST", "/v1/push/stream", {"words": "late"})).get_data()).decode()
    assert '"code":"NOT_YET"' in late.split("event: error")[1]
    broken = (await (await house.raw("POST", "/v1/push/stream", {"words": "nonsense"})).get_data()).decode()
    assert '"code":"INTEGRATION_FAILED"' in broken
    assert await spent_and_held(house.pool, house.customer_id) == (SAY, 0)


async def test_a_client_that_leaves_a_stream_pays_for_what_it_got(house: House) -> None:
    route, parameters = house.client.app.exchange.routes.find("POST", "/v1/push/stream")
    request = IncomingRequest(
        "POST", "/v1/push/stream", {"authorization": f"Bearer {house.key}"}, b'{"words": "hang"}', "id", "127.0.0.1",
        parameters=parameters,
    )  # fmt: skip
    body = (await route.handler(request)).body
    assert isinstance(body, EventStream)
    assert (await anext(body)).startswith(b'data: {"said":1}')
    await body.aclose()
    assert await spent_and_held(house.pool, house.customer_id) == (SAY, 0)
    assert await house.pool.fetchval("select end_reason from kaixu.usage_event") == "client_gone"


async def test_a_handler_knows_who_calls(house: House) -> None:
    session = make_session_token(
        SECRETS["JWT_SECRET"], key_id=house.key_id, customer_id=house.customer_id, key_last4="abcd", ttl_s=60
    )
    for kind, credential in (("key", house.key), ("session", session)):
        _, body = await house.ask("GET", "/v1/push/who", key=credential)
        assert body["said"] == [
            {"kind": kind, "role": "owner", "key_last4": house.key[-4:], "email": "one@example.com"}, house.customer_id,
        ]  # fmt: skip
    _, viewer = await virtual_key(house.pool, house.customer_id, role="viewer")
    body = {"name": "n", "netlifySiteId": "s"}
    assert (await house.ask("POST", "/v1/push/projects/p", body, key=viewer))[1]["code"] == "ROLE_TOO_LOW"


async def test_operators_name_the_customer_and_their_changes_are_audited(house: House) -> None:
    operator = admin_token()
    for body, query in (({"customer_id": house.customer_id}, ""), ({}, f"?customer_id={house.customer_id}")):
        status, reply = await house.ask("DELETE", f"/api/admin-push-about{query}", body, key=operator)
        assert (status, reply["said"][1], reply["said"][0]["kind"]) == (200, house.customer_id, "operator"), reply
    as_text = {"customer_id": str(house.customer_id)}
    assert (await house.ask("DELETE", "/v1/push/about", as_text, key=operator))[0] == 200
    rows = await house.pool.fetch("select action, target, meta from kaixu.audit_event where action like 'INTEGRATION%'")
    assert [tuple(row) for row in rows] == [
        ("INTEGRATION_OPERATION", f"customer:{house.customer_id}", {"operation": "push.about", "method": "DELETE"})
    ] * 3
    assert (await house.ask("POST", "/v1/push/all", {}, key=operator))[1]["said"][1] is None
    for sent, status, field in (({}, 400, "customer_id"), ({"customer_id": "x"}, 422, "customer_id"),
                                ({"customer_id": house.customer_id, "more": 1}, 422, "more")):  # fmt: skip
        answered, reply = await house.ask("DELETE", "/v1/push/about", sent, key=operator)
        assert (answered, reply.get("field")) == (status, field), reply
    assert (await house.ask("DELETE", "/v1/push/about", {"customer_id": 999_999}, key=operator))[0] == 404
    assert (await house.ask("DELETE", "/v1/push/about", {"customer_id": house.customer_id}))[0] == 401
    path = f"/v1/push/look?customer={house.customer_id}"
    assert [(await house.ask("GET", path, key=operator))[0] for _ in range(3)] == [200, 200, 429]


async def test_everybody_is_limited_by_address(house: House) -> None:
    answers = [await house.ask("GET", "/v1/push/hello", key="none") for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[0][1]["said"] == [{"kind": "public", "role": None, "key_last4": None, "email": None}, None]


async def test_rates_hold_all_or_nothing_is_counted(house: House) -> None:
    _, second = await virtual_key(house.pool, house.customer_id)
    assert [(await house.ask("POST", "/v1/push/slowly", {}, key=key))[0] for key in (house.key, second)] == [200, 200]
    for _ in range(3):
        response = await house.raw("POST", "/v1/push/slowly", {}, key=second)
        assert (response.status_code, int(response.headers["retry-after"]) > 1) == (429, True)
        assert "2 calls of `push.slowly` in 3600 s" in (await response.get_json())["error"]
    counts = await house.pool.fetch(
        "select per_s, (select sum(s) from unnest(counts) s) from kaixu.operation_window where operation = 'push.slowly'"
    )
    assert {tuple(row) for row in counts} == {(3600, 2), (86400, 2)}
    each = [(await house.ask("POST", "/v1/push/each", {}, key=key))[0] for key in (house.key, second, second)]
    assert each == [200, 200, 429]
    # An hour later there is room again.
    await house.pool.execute("update kaixu.operation_window set slot = slot - 61 where per_s = 3600")
    assert (await house.ask("POST", "/v1/push/slowly", {}))[0] == 200


async def test_at_once_counts_what_has_a_reservation(house: House) -> None:
    assert house.services.catalog.integrations["push"].integration is not None
    operations = house.services.catalog.integrations["push"].integration.operations
    gate = next(one.handler.__globals__["GATE"] for one in operations if one.name == "push.one")
    first = asyncio.create_task(house.ask("POST", "/v1/push/one", {}))
    async with asyncio.timeout(10):
        while not await house.pool.fetchval("select count(*) from kaixu.operation_call"):
            await asyncio.sleep(0.01)
    status, body = await house.ask("POST", "/v1/push/one", {})
    assert (status, body["code"]) == (429, "TOO_MANY_AT_ONCE")
    gate.set()
    assert await first == (200, {"said": "waited"})
    assert (await house.ask("POST", "/v1/push/one", {}))[0] == 200
