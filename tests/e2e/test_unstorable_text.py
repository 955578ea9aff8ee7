"""Text that no database takes, in every text of every endpoint: refused with the field named, never a failure of ours."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.edge.characters import FREE_TEXT
from tests.support.embedding import Account, House, house
from tests.support.process import SECRETS

CHAT = {"model": "up/talk", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
NATIVE = {"provider": "up", "model": "talk", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
EMBED = {"provider": "up", "model": "words", "input": ["a"], "collection": "docs", "doc_ids": ["a"]}

#: Every endpoint that takes a body, with all its fields of text; and who asks.
BODIES: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/api/gateway-chat", NATIVE | {"stop": ["x"], "tool_choice": "auto", "user": "u"}, "key"),
    ("POST", "/api/gateway-stream", NATIVE, "key"),
    ("POST", "/api/gateway-chat", NATIVE | {"retrieve": {"collection": "docs", "query": "q", "where": {"a": "b"}}}, "key"),
    ("POST", "/v1/chat/completions", CHAT | {"stop": "x", "user": "u", "metadata": {"a": "b"}}, "key"),
    ("POST", "/v1/responses", {"model": "up/talk", "input": "hello", "instructions": "x", "metadata": {"a": "b"}}, "key"),
    ("POST", "/v1/messages", CHAT | {"system": "x", "metadata": {"user_id": "u"}, "stop_sequences": ["x"]}, "key"),
    ("POST", "/v1/messages/count_tokens", {"model": "up/talk", "messages": CHAT["messages"]}, "key"),
    ("POST", "/v1/embeddings", {"model": "up/words", "input": "a", "user": "u", "encoding_format": "float"}, "key"),
    ("POST", "/api/gateway-embed", EMBED | {"metadata": [{"a": "b"}], "language": "english", "task": "query"}, "key"),
    ("POST", "/api/gateway-embed-search", {"collection": "docs", "query": "q", "where": {"a": {"$in": ["b"]}}}, "key"),
    ("POST", "/api/gateway-embed-collections", {"name": "n", "provider": "up", "model": "words", "language": "english"}, "key"),
    ("POST", "/api/gateway-embed-collections", {"name": "docs", "reembed": {"provider": "up", "model": "other"}}, "key"),
    ("PATCH", "/api/gateway-embed-collections", {"name": "docs", "new_name": "more"}, "key"),
    ("POST", "/api/gateway-job-submit", NATIVE | {"webhook": {"url": "https://a.example/x"}}, "key"),
    ("POST", "/api/gateway-job-cancel", {"id": "x"}, "key"),
    ("POST", "/v1/batches", {"input_file_id": "file-x", "endpoint": "/v1/embeddings", "completion_window": "24h", "metadata": {"a": "b"}}, "key"),
    ("POST", "/api/session-token", {"ttl_seconds": 60, "note": "x"}, "key"),
    ("POST", "/api/client-error-report", {"error": {"name": "n", "message": "m", "stack": "s"}, "client": {"a": "b"}, "context": ["c"]}, "key"),
    ("POST", "/api/admin-login", {"password": "x"}, "nobody"),
    ("POST", "/api/admin-customers", {"email": "a@example.com", "plan_name": "p", "stripe_customer_id": "s", "allowed_providers": ["up"], "allowed_models": {"up": ["m"]}}, "operator"),
    ("PATCH", "/api/admin-customers", {"customer_id": 1, "email": "a@example.com", "plan_name": "p"}, "operator"),
    ("POST", "/api/admin-keys", {"customer_id": 1, "label": "l", "role": "viewer", "allowed_providers": ["up"], "allowed_collections": ["c"]}, "operator"),
    ("PATCH", "/api/admin-keys", {"key_id": 1, "label": "l"}, "operator"),
    ("POST", "/api/admin-topup", {"customer_id": 1, "amount_cents": 1, "reason": "r", "note": "n", "month": "2030-01"}, "operator"),
    ("PATCH", "/api/admin-devices", {"key_id": 1, "api_key_id": 1, "install_id": "i", "action": "revoke", "device_label": "l", "actor": "a"}, "operator"),
]  # fmt: skip

#: Paths with a variable or a query, and every name that one of them knows.
QUERIES: list[tuple[str, str, str]] = [
    *(("GET", f"/api/gateway-embed-collections?name=docs&{name}=@", "key") for name in ("doc_id", "after", "where")),
    ("GET", "/api/gateway-embed-collections?name=@", "key"),
    ("GET", "/api/gateway-embed-collections?after=@", "key"),
    ("DELETE", "/api/gateway-embed-collections?name=@", "key"),
    ("POST", "/api/gateway-embed-collections?import=1&name=@", "key"),
    ("GET", "/api/gateway-job-status?id=@", "key"),
    ("GET", "/api/gateway-job-result?id=@", "key"),
    ("GET", "/v1/models/@", "key"),
    ("GET", "/v1/files/@", "key"),
    ("GET", "/v1/files?after=@", "key"),
    ("GET", "/v1/files?purpose=@", "key"),
    ("GET", "/v1/batches/batch_@", "key"),
    ("GET", "/v1/batches?after=@", "key"),
    ("GET", "/api/admin-customers?limit=@", "operator"),
    ("GET", "/api/admin-usage?customer_id=1&month=@", "operator"),
    ("GET", "/api/admin-usage?customer_id=@", "operator"),
    ("GET", "/api/admin-keys?customer_id=@", "operator"),
    ("GET", "/api/admin-devices?customer_id=@", "operator"),
    ("GET", "/@", "nobody"),
]


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway for all tests here."""
    with house(server_dsn, pristine, tmp_path_factory.mktemp("text")) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


@pytest.fixture
async def callers(shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> dict[str, Account]:
    """A customer with a collection, an operator, and nobody."""
    account = await shared.account(http, pool)
    assert (await account.store("docs", {"a": "one"})).status == 200
    operator, nobody = copy.copy(account), copy.copy(account)
    async with http.post(f"{shared.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        operator.headers = {"authorization": f"Bearer {(await response.json())['token']}"}
    nobody.headers = {}
    return {"key": account, "operator": operator, "nobody": nobody}


async def ask(account: Account, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    """A reply's status, and its error."""
    from yarl import URL

    data = None if body is None else BytesIO(json.dumps(body).encode())
    url = URL(account.url + path, encoded=True)
    async with account.http.request(method, url, data=data, headers=account.headers) as response:
        said = await response.read()
        try:
            told = json.loads(said)
        except ValueError:
            told = {}
        return response.status, told if isinstance(told, dict) else {}


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is a text."""
    if isinstance(value, str):
        yield place
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*place, name))


def with_text(body: dict[str, Any], place: tuple[Any, ...], text: str) -> dict[str, Any]:
    """The body with this within that text."""
    made = copy.deepcopy(body)
    inner: Any = made
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = f"{inner[place[-1]]}{text}b"
    return made


@pytest.mark.parametrize("text", ["\0", "\ud800"], ids=["NUL", "half a pair"])
async def test_in_every_text_of_every_body(callers: dict[str, Account], shared: House, text: str) -> None:
    wrong = []
    for method, path, body, who in BODIES:
        for place in places(body):
            status, told = await ask(callers[who], method, path, with_text(body, place, text))
            is_free = text == "\0" and place[0] in FREE_TEXT
            named = str(place[0]) in json.dumps(told)
            if status >= 500 or (not is_free and (status != 400 or not named)):
                wrong.append((method, path, place, status, told))
    assert wrong == [], "\n".join(map(str, wrong))
    assert "Traceback" not in shared.processes[0].log.read_text()


async def test_as_a_name_in_every_body(callers: dict[str, Account]) -> None:
    for method, path, body, who in BODIES:
        for name in ("a\0b", "a\ud800b"):
            status, _ = await ask(callers[who], method, path, {**body, name: "x"})
            assert status == 400, (method, path)


async def test_in_every_path_and_query(callers: dict[str, Account], shared: House) -> None:
    for method, path, who in QUERIES:
        for text in ("a%00b", "%ED%A0%80"):
            status, told = await ask(callers[who], method, path.replace("@", text))
            assert status < 500, (method, path, told)
            if "00" in text:
                assert status == 400, (method, path, told)
                name = path.partition("=@")[0].rpartition("?")[2].rpartition("&")[2]
                assert "=@" not in path or name in json.dumps(told), (path, told)
    assert "Traceback" not in shared.processes[0].log.read_text()


async def test_in_a_batch_s_lines_and_in_a_form(callers: dict[str, Account], pool: asyncpg.Pool) -> None:
    account = callers["key"]
    line = {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": CHAT | {"user": "u"}}
    texts = [with_text(line, place, "\0") for place in places(line)]
    lines = [json.dumps(one | {"custom_id": f"{one['custom_id']}{at}"}) for at, one in enumerate(texts)]
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", "\n".join(lines).encode(), filename="a.jsonl")
    async with account.http.post(f"{account.url}/v1/files", data=form, headers=account.headers) as response:
        assert response.status == 200
        file_id = (await response.json())["id"]
    status, told = await ask(
        account, "POST", "/v1/batches", {"input_file_id": file_id, "endpoint": line["url"], "completion_window": "24h"}
    )
    assert status == 200, told
    wrong = {row[0] for row in await pool.fetch("select error_message from kaixu.job where error_code = 'BAD_REQUEST'")}
    assert {"`model` contains a NUL character", "`user` contains a NUL character"} <= wrong
    raw = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\0\r\n--x--\r\n'
    headers = {**account.headers, "content-type": "multipart/form-data; boundary=x"}
    async with account.http.post(f"{account.url}/v1/files", data=raw, headers=headers) as response:
        assert response.status in (400, 422)
