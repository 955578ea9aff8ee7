"""One rule for all paths, methods, headers and bodies, whichever stack serves them and whichever server reads them."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import Any

import aiohttp
import asyncpg
import brotli
import pytest

from kaixu.accounts.key_material import new_key
from tests.support.embedding import Account, House, house

ORIGIN = "https://app.example"
TALK: dict[str, Any] = {"model": "up/talk", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
OPTIONS = f"allow_origins: ['{ORIGIN}'], body_limit_bytes: 8388608, readings_per_minute: 120"


@pytest.fixture(scope="module", params=["hypercorn", "granian"])
def shared(
    request: pytest.FixtureRequest, server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A gateway for all tests here, with each server."""
    options = f"{OPTIONS}, server: {request.param}"
    with house(server_dsn, pristine, tmp_path_factory.mktemp("edge"), gateway=options) as made:
        yield made


@pytest.fixture
def dsn(shared: House) -> str:
    """Its database."""
    return shared.dsn


@pytest.fixture
async def account(shared: House, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> Account:
    """A new customer."""
    return await shared.account(http, pool)


async def raw(shared: House, *parts: bytes) -> bytes:
    """Whatever comes back for these bytes until the connection ends, or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.processes[0].port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    said = b""
    try:
        async with asyncio.timeout(20):
            while part := await reader.read(65536):
                said += part
    except TimeoutError:
        said += b"<still open>"
    writer.close()
    return said


async def status_of(shared: House, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """A request whose path is sent as it is written: its status, and the whole reply."""
    said = await raw(shared, f"{head}\r\nhost: x\r\nconnection: close\r\n\r\n".encode() + body)
    return int(said.split(b" ", 2)[1]), said


PATHS = ["/v1/models", "/v1/files", "/v1/batches", "/api/gateway-embed-collections", "/api/health"]


@pytest.mark.parametrize("shape", ["{}", "/{}", "{}/", "///{}//", "http://x{}"])
async def test_slashes_in_a_path_mean_the_same_for_every_method(shared: House, account: Account, shape: str) -> None:
    key = f"\r\nauthorization: Bearer {account.key}"
    for path in PATHS:
        path = shape.format(path)
        assert (await status_of(shared, f"GET {path} HTTP/1.1{key}"))[0] == 200, path
        status, said = await status_of(shared, f"HEAD {path} HTTP/1.1{key}")
        assert (status, said.partition(b"\r\n\r\n")[2]) == (200, b""), path
        assert (await status_of(shared, f"OPTIONS {path} HTTP/1.1{key}"))[0] == 204, path
        assert (await status_of(shared, f"PUT {path} HTTP/1.1{key}"))[0] == 405, path
    body = json.dumps(TALK).encode()
    length = f"\r\ncontent-length: {len(body)}"
    for path in ("/v1/chat/completions", "/v1/messages"):
        path = shape.format(path)
        assert (await status_of(shared, f"POST {path} HTTP/1.1{key}{length}", body))[0] == 200, path
        assert (await status_of(shared, f"GET {path} HTTP/1.1{key}"))[0] == 405, path


@pytest.mark.parametrize("path", ["/v1/models", "/api/gateway-chat", "/api/admin-topup"])
async def test_a_wrong_method_with_a_body_does_not_cost_the_connection(shared: House, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.processes[0].port)
    try:
        writer.write(f"DELETE {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n".encode() + b" " * 1000)
        writer.write(b" " * 1000 + b"GET /api/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            replies = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    assert replies.startswith(b"HTTP/1.1 405 ")
    assert b"HTTP/1.1 200 " in replies


async def test_requests_sent_together_are_answered_in_their_order(shared: House, account: Account) -> None:
    body = json.dumps(TALK).encode()
    key = f"host: x\r\nauthorization: Bearer {account.key}\r\n"
    whole = f"POST /v1/chat/completions HTTP/1.1\r\n{key}content-length: {len(body)}\r\n\r\n".encode() + body
    chunks = f"POST /v1/nothing HTTP/1.1\r\n{key}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode()
    models = f"HEAD /v1/models HTTP/1.1\r\n{key}\r\n".encode()
    last = f"OPTIONS /v1/models HTTP/1.1\r\n{key}connection: close\r\n\r\n".encode()
    said = await raw(shared, whole + models + whole[:-3], whole[-3:] + chunks + models + last)
    assert not said.endswith(b"<still open>")
    statuses = [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 200, 404, 200, 204]


async def test_a_body_may_come_later_than_its_head_and_in_pieces(shared: House, account: Account) -> None:
    body = json.dumps(TALK).encode()
    head = LENGTHS.format(key=account.key, more=f"content-length: {len(body)}\r\nconnection: close").encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", shared.processes[0].port)
    for part in (head, body[:7], body[7:20], body[20:]):
        writer.write(part)
        await writer.drain()
        async with account.http.get(f"{account.url}/api/health") as response:  # by now the server has read it
            assert response.status == 200
    async with asyncio.timeout(20):
        said = await reader.read()
    writer.close()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.count(b"HTTP/1.1 ") == 1


SENT_BY_SDKS = "Authorization,Content-Type,X-Stainless-Retry-Count,x-stainless-os,anthropic-beta,some-new-header"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/nothing/here"])
async def test_a_preflight_gives_allowed_origins_what_they_ask_for(
    shared: House, http: aiohttp.ClientSession, path: str
) -> None:
    async def asked(origin: str, names: str) -> set[str]:
        headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": names}
        async with http.options(shared.url + path, headers=headers) as response:
            assert response.status == 204
            assert response.headers.get("access-control-allow-origin") == (ORIGIN if origin == ORIGIN else None)
            return set(response.headers["access-control-allow-headers"].split(", "))

    given = await asked(ORIGIN, SENT_BY_SDKS)
    assert {name.lower() for name in SENT_BY_SDKS.split(",")} <= given
    assert {"idempotency-key", "anthropic-version", "anthropic-dangerous-direct-browser-access"} <= given
    assert "some-new-header" not in await asked("https://elsewhere.example", SENT_BY_SDKS)
    for odd in ("a b", "a,(b)", "x" * 101, ",".join(f"n{at}" for at in range(101))):
        assert await asked(ORIGIN, odd) == await asked("https://elsewhere.example", odd)


def packed(data: bytes, *encodings: str) -> bytes:
    """A body in these encodings, one over the other."""
    from backports import zstd

    by_name = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": brotli.compress,
        "zstd": zstd.compress,
        "identity": bytes,
    }
    for name in encodings:
        data = by_name[name](data)
    return data


async def post(
    account: Account, data: bytes, encoding: str, path: str = "/v1/chat/completions"
) -> tuple[int, Any, Any]:
    """A packed body: its reply's status, headers and JSON."""
    headers = {**account.headers, "content-encoding": encoding}
    async with account.http.post(account.url + path, data=data, headers=headers) as response:
        return response.status, response.headers, await response.json(content_type=None)


@pytest.mark.parametrize("encodings", [("gzip",), ("deflate",), ("br",), ("zstd",), ("gzip", "br"), ("identity",)])
async def test_a_packed_body_is_unpacked(account: Account, encodings: tuple[str, ...]) -> None:
    large = json.dumps(TALK | {"messages": [{"role": "user", "content": "hello " * 50_000}]}).encode()
    for body in (json.dumps(TALK).encode(), large):
        status, _, said = await post(account, packed(body, *encodings), ", ".join(encodings))
        assert status == 200, said


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_bomb_and_broken_data_are_refused(account: Account, encoding: str) -> None:
    bomb = packed(b" " * (64 * 1024 * 1024), encoding)
    status, _, said = await post(account, bomb, encoding)
    assert (status, said["error"]["code"]) == (413, "too_large")
    whole = packed(json.dumps(TALK).encode() * 50, encoding)
    for broken in (whole[:-5], b"\xff" + whole, whole + b"more", b"{}"):
        status, _, said = await post(account, broken, encoding)
        assert (status, encoding in said["error"]["message"]) == (400, True), said


@pytest.mark.parametrize("encoding", ["compress", "gzip, lzma", "gzip, gzip, gzip, gzip"])
async def test_another_encoding_is_refused_by_name(account: Account, encoding: str) -> None:
    for path in ("/v1/chat/completions", "/api/session-token"):
        status, headers, said = await post(account, b"{}", encoding, path)
        assert (status, headers["accept-encoding"]) == (415, "gzip, deflate, br, zstd"), said
        assert encoding.split(", ")[-1] in json.dumps(said) or "content-encodings" in json.dumps(said)


@pytest.mark.parametrize("real", ["authorization", "x-api-key"])
@pytest.mark.parametrize("placeholder", ["sk-placeholder", "dummy", "a.b.c"])
async def test_the_credential_of_a_key_s_form_counts(account: Account, real: str, placeholder: str) -> None:
    key, other = account.key, placeholder
    headers = {"authorization": f"Bearer {key}", "x-api-key": other}
    if real == "x-api-key":
        headers = {"authorization": f"Bearer {other}", "x-api-key": key}
    for path in ("/v1/models", "/v1/files"):
        async with account.http.get(account.url + path, headers=headers) as response:
            assert response.status == 200
    async with account.http.post(f"{account.url}/v1/messages", json=TALK, headers=headers) as response:
        assert response.status == 200


LENGTHS = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{more}\r\n\r\n"


async def test_a_length_and_chunks_together_end_the_connection(shared: House, account: Account) -> None:
    more = "content-length: 5\r\ntransfer-encoding: chunked"
    body = json.dumps(TALK).encode()
    head = LENGTHS.format(key=account.key, more=more).encode()
    smuggled = b"GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n"
    said = await raw(shared, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) + smuggled)
    assert said.count(b"HTTP/1.1 ") == 1
    assert not said.endswith(b"<still open>")


@pytest.mark.parametrize("extension", [b";a\rb", b";a=b\r", b"\r"], ids=["within", "at its end", "alone"])
async def test_a_bare_carriage_return_in_a_chunk_s_extension_is_refused(
    shared: House, account: Account, extension: bytes
) -> None:
    body = json.dumps(TALK).encode()
    head = LENGTHS.format(key=account.key, more="transfer-encoding: chunked").encode()
    said = await raw(shared, head + b"%x%s\r\n%s\r\n0\r\n\r\n" % (len(body), extension, body))
    assert b" 200 " not in said
    good = await raw(shared, head + b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert b" 200 " in good


@pytest.mark.parametrize(
    "chunks", [b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"-1\r\n", b"%s\r\nx\r\n" % (b"f" * 30)],
    ids=["no number", "no end", "negative", "huge"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/session-token", "/v1/files"])
async def test_chunks_that_cannot_be_read_are_a_bad_request(
    shared: House, account: Account, path: str, chunks: bytes
) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {account.key}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    said = await raw(shared, head.encode() + chunks)
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert not said.endswith(b"<still open>")


@pytest.mark.parametrize(
    "more",
    [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\nhost: y",
    ],
    ids=["two codings", "chunks in chunks", "two hosts"],
)
async def test_what_may_be_read_in_two_ways_ends_the_connection(shared: House, account: Account, more: str) -> None:
    body = json.dumps(TALK).encode()
    head = LENGTHS.format(key=account.key, more=more).encode()
    said = await raw(shared, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), said
    assert not said.endswith(b"<still open>")


async def test_nobody_changes_to_another_protocol_behind_a_proxy_s_back(shared: House, account: Account) -> None:
    more = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA"
    head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {account.key}\r\n{more}\r\n\r\n"
    assert (await raw(shared, head.encode())).startswith(b"HTTP/1.1 200 ")


async def test_strangers_do_not_hold_the_memory_of_bodies(shared: House, account: Account) -> None:
    """Sixteen made-up keys announce 8 MiB each, send some of it, and say nothing more."""
    opened = []
    for announced in (True, False):
        for _ in range(16):
            reader, writer = await asyncio.open_connection("127.0.0.1", shared.processes[0].port)
            how = "content-length: 8388608" if announced else "transfer-encoding: chunked"
            writer.write(LENGTHS.format(key=new_key(), more=how).encode())
            data = b"x" * 200_000
            writer.write(data if announced else b"%x\r\n%s\r\n" % (len(data), data))
            opened.append((reader, writer))
    large = TALK | {"messages": [{"role": "user", "content": "x" * 4_000_000}]}
    for _ in range(3):
        sent = io.BytesIO(json.dumps(large).encode())
        async with account.http.post(f"{account.url}/v1/chat/completions", data=sent, headers=account.headers) as told:
            assert told.status == 200, await told.text()
    for reader, writer in opened:
        assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()


async def test_a_large_body_does_not_hold_up_others(shared: House, account: Account) -> None:
    """Seven megabytes of small parts are read while others are answered."""
    part = {"type": "text", "text": "ab"}
    heavy = TALK | {"messages": [{"role": "user", "content": [part] * 200}] * 900 + TALK["messages"]}
    data = json.dumps(heavy).encode()
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    answered: list[Any] = []

    async def others() -> None:
        while True:
            began = loop.time()
            async with account.http.get(f"{account.url}/api/nothing") as response:
                assert response.status == 404
            waits.append(loop.time() - began)

    task = asyncio.ensure_future(others())
    await asyncio.sleep(0)
    headers = {**account.headers, "content-type": "application/json"}
    for path in ("/v1/messages/count_tokens", "/v1/chat/completions"):
        async with account.http.post(account.url + path, data=io.BytesIO(data), headers=headers) as response:
            answered.append(response.status if response.status == 200 else await response.text())
    task.cancel()
    assert answered == [200, 200]
    waits.sort()
    print(len(waits), waits[len(waits) // 2], waits[-1])
    assert waits[len(waits) // 2] < 0.2


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("GET", "/v1/files/file-nope", "file"),
        ("GET", "/v1/files/file-nope/content", "file"),
        ("DELETE", "/v1/files/file-nope", "file"),
        ("GET", "/v1/files?after=file-nope", "file"),
        ("GET", "/v1/batches/batch_nope", "batch"),
        ("POST", "/v1/batches/batch_nope/cancel", "batch"),
        ("GET", "/api/gateway-job-status?id=nope", "job"),
    ],
    ids=str,
)
async def test_what_is_not_there_is_called_by_its_own_name(account: Account, method: str, path: str, what: str) -> None:
    async with account.http.request(method, account.url + path, headers=account.headers) as response:
        assert response.status == 404
        assert f"there is no {what} `nope`" in await response.text()
