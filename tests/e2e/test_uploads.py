"""Uploads through operations of integrations: read when the handler wants it, bounded, kept or gone, nobody else's."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from kaixu.accounts.customer_deletion import finish_deletions
from kaixu.config.gateway_section import BlobsSection
from kaixu.ops.frames import FRAME_BYTES
from kaixu.store import customer_deletion
from kaixu.store.blob_files import BlobFiles
from kaixu.store.blob_sweep import BlobSweep
from kaixu.store.blobs import open_blobs
from kaixu.store.pool import open_pool
from tests.support.files_plugin import SECTIONS, written
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.operators import admin_headers
from tests.support.process import Process
from tests.vendors.stage import database, gateway

QUOTA = 12 * FRAME_BYTES
CONFIG = (
    f"gateway: {{{{blob_bytes_per_customer: {QUOTA}, stall_s: 1, jobs: {{{{workers: 2, lease_s: 2}}}}}}}}{SECTIONS}"
)
INTEGRATIONS = ("parcels", "boxes")


def content(size: int, seed: int = 1) -> bytes:
    """Bytes that differ from frame to frame."""
    block = hashlib.sha512(str(seed).encode()).digest()
    return b"".join(block + number.to_bytes(8, "big") for number in range(size // 72 + 1))[:size]


class FileVendor:
    """A vendor that takes files, after `failures` answers of 503."""

    def __init__(self) -> None:
        self.failures = 0
        self.received: list[tuple[int, str, str | None]] = []
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def put(self, request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for piece in request.content.iter_any():
            digest.update(piece)
            size += len(piece)
        self.received.append((size, digest.hexdigest(), request.headers.get("content-length")))
        if self.failures:
            self.failures -= 1
            return web.Response(status=503)
        return web.Response(text=digest.hexdigest())


@pytest.fixture(scope="module")
def vendor() -> Iterator[FileVendor]:
    made = FileVendor()
    loop = asyncio.new_event_loop()

    async def start() -> None:
        app = web.Application()
        app.router.add_put("/", made.put)
        made.runner = web.AppRunner(app)
        await made.runner.setup()
        await web.TCPSite(made.runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{made.runner.addresses[0][1]}"

    import threading

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield made
    assert made.runner is not None
    asyncio.run_coroutine_threadsafe(made.runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def process(
    server_dsn: str, pristine: str, vendor: FileVendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("files")
    written(home)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG.format(vendor=vendor.url)) as made:
        yield made


class Customer:
    """A customer, and what is stored of it."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool
        self.id = 0
        self.key = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    async def put(
        self, data: Any, *, to: str = "parcels/put", headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, Any]:
        method = "PUT" if to.endswith("put") else "POST"
        url = f"{self.process.url}/v1/{to}"
        more = {"content-length": "0"} if data == b"" else {}
        data = io.BytesIO(data) if data and isinstance(data, bytes) else data
        async with self.http.request(
            method, url, data=data, params=query, headers=self.headers | more | (headers or {})
        ) as answer:
            return answer.status, await answer.json()

    async def call(self, what: str, **body: Any) -> tuple[int, Any]:
        url = f"{self.process.url}/v1/{what}"
        async with self.http.post(url, json=body, headers=self.headers) as answer:
            return answer.status, await answer.json()

    async def get(self, name: str, *, of: str = "parcels", **query: str) -> tuple[int, bytes]:
        url = f"{self.process.url}/v1/{of}/get"
        async with self.http.get(url, params={"name": name, **query}, headers=self.headers) as answer:
            return answer.status, await answer.read()

    async def rows(self) -> int:
        count: int = await self.pool.fetchval("select count(*) from kaixu.blob where customer_id = $1", self.id)
        return count


def files_of(process: Process) -> list[Path]:
    """All files of blobs in the store."""
    # `os.walk` passes over folders that are removed meanwhile.
    walked = os.walk(process.home / "blobs" / "uploads")
    return [Path(folder) / name for folder, _, names in walked for name in names if name != "store"]


@pytest.fixture
async def pool(process: Process) -> AsyncIterator[asyncpg.Pool]:
    made = await open_pool(process.environment["DATABASE_URL"])
    yield made
    await made.close()


@pytest.fixture
async def guest(process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> Customer:
    made = Customer(process, http, pool)
    made.id = await customer(pool)
    made.key = (await virtual_key(pool, made.id))[1]
    return made


@pytest.fixture
async def other(process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> Customer:
    made = Customer(process, http, pool)
    made.id = await customer(pool)
    made.key = (await virtual_key(pool, made.id))[1]
    return made


def sweep_of(process: Process, pool: asyncpg.Pool) -> BlobSweep:
    """A sweep of the gateway's store."""
    return BlobSweep(BlobFiles(open_blobs(BlobsSection(), process.home), lambda: pool), lambda: pool)


async def billed(guest: Customer) -> tuple[int, dict[str, int]]:
    """The cost of the customer's one call that cost something, and its units."""
    [row] = await guest.pool.fetch(
        "select cost_nusd, units from kaixu.usage_event where customer_id = $1 and cost_nusd > 0", guest.id
    )
    return row["cost_nusd"], row["units"]


async def until_gone(process: Process, ids: list[str]) -> None:
    """Wait until the gateway has removed the files of blobs."""
    async with asyncio.timeout(20):
        while any(path for path in files_of(process) if path.parent.name in ids):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("of", INTEGRATIONS)
@pytest.mark.parametrize(
    "size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 7], ids=lambda size: f"{size}-bytes"
)
async def test_a_kept_file_is_read_as_it_was_sent(guest: Customer, of: str, size: int) -> None:
    data = content(size)
    status, reply = await guest.put(data, to=f"{of}/put", name="a/1", hash="sha1")
    assert status == 200, reply
    assert reply["blob"]["size"] == size
    assert reply["blob"]["digest"] == hashlib.sha1(data, usedforsecurity=False).hexdigest()
    assert await guest.get("a/1", of=of) == (200, data)
    assert await guest.call(f"{of}/names", name="a/") == (200, {"names": ["a/1"], "bytes": [size]})
    stored = [path.read_bytes() for path in files_of(guest.process) if path.parent.name == reply["blob"]["id"]]
    assert len(stored) == max(1, -(-size // FRAME_BYTES))
    assert size < 16 or not any(data[:16] in one for one in stored)  # encrypted


async def test_a_part_is_read(guest: Customer) -> None:
    data = content(2 * FRAME_BYTES + 100)
    await guest.put(data, name="whole")
    for start, end in ((0, 0), (5, 10), (FRAME_BYTES - 3, FRAME_BYTES + 3), (FRAME_BYTES, 2 * FRAME_BYTES), (7, None)):
        query = {"start": str(start)} | ({} if end is None else {"end": str(end)})
        assert await guest.get("whole", **query) == (200, data[start:end])
    assert (await guest.get("whole", start="5", end="3"))[0] == 502


@pytest.mark.parametrize("of", INTEGRATIONS)
async def test_a_file_that_is_not_kept_is_gone_after_its_call(guest: Customer, of: str) -> None:
    status, reply = await guest.put(content(FRAME_BYTES + 5), to=f"{of}/put")
    assert status == 200
    assert await guest.rows() == 0
    status, answer = await guest.call(f"{of}/steal", id=reply["blob"]["id"], size=reply["blob"]["size"])
    assert (status, answer["code"]) == (404, "NOT_FOUND")
    await until_gone(guest.process, [reply["blob"]["id"]])


@pytest.mark.parametrize("of", INTEGRATIONS)
async def test_keeping_a_name_again_replaces_and_dropping_removes(guest: Customer, of: str) -> None:
    ids = []
    for seed, name in ((1, "p/1"), (2, "p/1"), (3, "p/2"), (4, "q")):
        ids.append((await guest.put(content(100, seed), to=f"{of}/put", name=name))[1]["blob"]["id"])
    assert await guest.get("p/1", of=of) == (200, content(100, 2))
    assert (await guest.call(f"{of}/names"))[1]["names"] == ["p/1", "p/2", "q"]
    await until_gone(guest.process, ids[:1])
    assert await guest.call(f"{of}/drop", name="p/") == (200, {"said": "2"})
    assert (await guest.call(f"{of}/names"))[1]["names"] == ["q"]
    await until_gone(guest.process, ids[:3])


@pytest.mark.parametrize("of", INTEGRATIONS)
async def test_what_a_transaction_keeps_is_not_kept_if_it_is_rolled_back(guest: Customer, of: str) -> None:
    await guest.put(content(10), to=f"{of}/put", name="mine")
    assert (await guest.put(content(20), to=f"{of}/put", name="mine", then="change mind"))[1]["code"] == "CHANGED"
    assert await guest.get("mine", of=of) == (200, content(10))
    assert await guest.rows() == 1


@pytest.mark.parametrize("of", INTEGRATIONS)
async def test_a_file_in_a_job_s_payload_lives_as_long_as_the_job(guest: Customer, of: str) -> None:
    await guest.put(b"go", to=f"{of}/put", name="go")
    blob = (await guest.put(content(FRAME_BYTES), to=f"{of}/put", then="poll"))[1]["blob"]
    assert await guest.rows() == 2
    await sweep_of(guest.process, guest.pool).round()
    assert await guest.rows() == 2  # its lease may be over: the job has it
    await guest.call(f"{of}/drop", name="go")
    async with asyncio.timeout(20):
        while (
            await guest.pool.fetchval("select status from kaixu.job where customer_id = $1", guest.id)
        ) != "succeeded":
            await asyncio.sleep(0.05)
    await guest.pool.execute("update kaixu.blob set expires_at = now() where id = $1", UUID(blob["id"]))
    await until_gone(guest.process, [blob["id"]])
    assert await guest.rows() == 0


async def test_a_job_that_fails_can_still_keep_the_file(guest: Customer) -> None:
    await guest.put(content(33), then="fail")
    async with asyncio.timeout(20):
        while (await guest.call("parcels/names"))[1]["names"] != ["saved by on_failed"]:
            await asyncio.sleep(0.05)
    assert await guest.get("saved") == (200, content(33))


@pytest.mark.parametrize(
    ("data", "headers", "query", "status", "code"),
    [
        (content(100), {}, {"most": "99"}, 413, "TOO_LARGE"),
        (content(QUOTA + 1), {}, {}, 413, "BLOB_QUOTA"),
        (content(100), {"content-encoding": "gzip"}, {}, 415, "UNSUPPORTED_ENCODING"),
        (content(100), {}, {"digest": "0" * 64}, 400, "DIGEST_MISMATCH"),
        (content(100), {}, {"hash": "rot13"}, 502, "INTEGRATION_FAILED"),
        (content(100), {}, {"then": "again"}, 502, "INTEGRATION_FAILED"),
        (content(100), {}, {"then": "refuse"}, 409, "NOT_REQUIRED"),
        (content(20 * FRAME_BYTES), {}, {"then": "refuse"}, 409, "NOT_REQUIRED"),
        (content(100), {"authorization": "Bearer kx_live_" + "x" * 43}, {}, 401, "UNAUTHENTICATED"),
    ],
    ids=["too-large", "quota", "encoded", "digest", "hash", "read-twice", "refused", "long-refused", "no-such-key"],
)
async def test_what_is_refused_leaves_nothing_behind(
    guest: Customer, data: bytes, headers: dict[str, str], query: dict[str, str], status: int, code: str
) -> None:
    before = len(files_of(guest.process))
    got, reply = await guest.put(data, headers=headers, **query)
    assert (got, reply["code"]) == (status, code)
    assert {"error", "request_id"} <= reply.keys()
    if code == "DIGEST_MISMATCH":
        assert (reply["expected"], reply["got"]) == ("0" * 64, hashlib.sha256(data).hexdigest())
    if code == "BLOB_QUOTA":
        assert (reply["announced_bytes"], reply["used_bytes"], reply["quota_bytes"]) == (len(data), 0, QUOTA)
    assert await guest.rows() == 0
    async with asyncio.timeout(20):
        while len(files_of(guest.process)) > before:
            await asyncio.sleep(0.05)
    assert (await guest.put(b"still served"))[0] == 200


async def test_the_right_digest_is_accepted_in_capital_letters_too(guest: Customer) -> None:
    digest = hashlib.md5(b"abc", usedforsecurity=False).hexdigest().upper()
    assert (await guest.put(b"abc", hash="md5", digest=digest))[0] == 200


async def test_an_upload_without_a_length_is_refused(guest: Customer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 100

    status, reply = await guest.put(pieces())
    assert (status, reply["code"]) == (411, "LENGTH_REQUIRED")


async def test_uploads_at_once_cannot_pass_the_quota(guest: Customer) -> None:
    data = content(5 * FRAME_BYTES)
    done = await asyncio.gather(*(guest.put(data, name=f"part/{number}") for number in range(5)))
    assert sorted(status for status, _ in done) == [200, 200, 413, 413, 413]
    assert (await guest.call("parcels/drop", name="part/"))[0] == 200
    assert (await guest.put(data, name="part/9"))[0] == 200  # at once, although the files may still be there


async def test_bytes_are_billed_and_bounded_before_they_are_read(guest: Customer) -> None:
    assert (await guest.put(content(1000), to="parcels/paid"))[0] == 200
    assert (await guest.put(content((1 << 20) + 1), to="parcels/paid"))[1]["code"] == "TOO_LARGE"
    cost, units = await billed(guest)
    assert (cost, units["bytes_in"]) == (1_000_000, 1000)
    await assert_books_balance(guest.pool)


async def raw(guest: Customer, head: str, path: str = "/v1/parcels/put", method: str = "PUT") -> Any:
    """A connection on which a request has begun."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guest.process.port)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nhost: kaixu\r\nauthorization: Bearer {guest.key}\r\n{head}\r\n\r\n".encode()
    )
    await writer.drain()
    return reader, writer


async def test_a_client_that_hangs_up_leaves_nothing_behind(guest: Customer) -> None:
    before = {path.parent.name for path in files_of(guest.process)}
    _, writer = await raw(guest, f"content-length: {5 * FRAME_BYTES}")
    writer.write(content(2 * FRAME_BYTES))
    await writer.drain()
    async with asyncio.timeout(20):
        while await guest.rows() == 0:
            await asyncio.sleep(0.02)
        writer.transport.abort()
        while await guest.rows() or {path.parent.name for path in files_of(guest.process)} - before:
            await asyncio.sleep(0.05)
        while await guest.pool.fetchval("select count(*) from kaixu.reservation where customer_id = $1", guest.id):
            await asyncio.sleep(0.05)


async def test_a_client_that_stalls_gets_408_and_leaves_nothing_behind(guest: Customer) -> None:
    reader, writer = await raw(guest, "content-length: 300000")
    writer.write(b"x" * 100)
    await writer.drain()
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).lower()
    assert head.startswith(b"http/1.1 408")
    assert b"connection: close" in head
    assert await guest.rows() == 0
    writer.close()


async def test_a_client_that_sends_a_byte_now_and_then_stalls_too(guest: Customer) -> None:
    reader, writer = await raw(guest, "content-length: 300000")

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    dripping = asyncio.ensure_future(drip())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    dripping.cancel()
    assert head.startswith(b"HTTP/1.1 408")
    writer.close()


async def test_the_handler_s_time_does_not_run_while_the_body_arrives(guest: Customer) -> None:
    reader, writer = await raw(guest, f"content-length: {5 * 65536}", "/v1/parcels/quick?name=slow", "POST")
    for _ in range(5):
        await asyncio.sleep(0.5)  # 2.5 seconds in all; the handler has two
        writer.write(b"x" * 65536)
        await writer.drain()
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 200")
    writer.close()
    _, reply = await guest.put(b"x", to="parcels/quick", then="wait")
    assert reply["code"] == "OPERATION_TIMEOUT"


async def test_nothing_is_read_before_the_handler_wants_it(guest: Customer) -> None:
    """The handler refuses, or answers, although no byte of the body has been sent."""
    for then, status in (("refuse", b"409"), ("ignore", b"200")):
        reader, writer = await raw(guest, "content-length: 70000", f"/v1/parcels/put?then={then}")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 " + status)
        writer.close()


async def test_too_much_is_not_read(guest: Customer) -> None:
    """What comes after the announced length is no part of the file."""
    reader, writer = await raw(guest, "content-length: 5", "/v1/parcels/put?name=five")
    writer.write(b"12345GET /nonsense HTTP/1.1\r\nhost: x\r\n\r\n")
    await writer.drain()
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 200")
    assert await guest.get("five") == (200, b"12345")
    writer.close()


async def test_operators_upload_for_a_customer(guest: Customer) -> None:
    url = f"{guest.process.url}/v1/parcels/operators"
    query = {"customer_id": str(guest.id), "name": "from operators"}
    async with guest.http.post(url, params=query, data=content(50), headers=admin_headers()) as answer:
        assert answer.status == 200, await answer.text()
    assert await guest.get("from operators") == (200, content(50))
    async with guest.http.post(url, params={"customer_id": "999999"}, data=b"x", headers=admin_headers()) as answer:
        assert answer.status == 404


# Vendors.


@pytest.mark.parametrize("of", INTEGRATIONS)
async def test_files_are_sent_to_a_vendor_with_their_length_and_again_for_each_try(
    guest: Customer, vendor: FileVendor, of: str
) -> None:
    parts = [content(FRAME_BYTES + 3, 1), content(10, 2)]
    for number, part in enumerate(parts):
        await guest.put(part, to=f"{of}/put", name=f"part/{number}")
    digest = hashlib.sha256(b"".join(parts)).hexdigest()
    size = len(b"".join(parts))
    vendor.received.clear()
    vendor.failures = 2
    assert await guest.call(f"{of}/send", name="part/") == (200, {"said": digest})
    assert vendor.received == [(size, digest, str(size))] * 3
    cost, units = await billed(guest)
    assert (cost, units["bytes_sent"]) == (size * 1000, size)  # once, however often it was tried
    assert await guest.call(f"{of}/save", name="part/") == (200, {"said": f"{size} {size}"})


async def test_a_library_that_blocks_sends_files_too(guest: Customer) -> None:
    await guest.put(content(FRAME_BYTES + 3), name="one")
    digest = hashlib.sha256(content(FRAME_BYTES + 3)).hexdigest()
    assert await guest.call("parcels/send-blocking", name="one") == (200, {"said": digest})


async def test_files_are_sent_to_declared_hosts_only(guest: Customer) -> None:
    await guest.put(b"secret", name="one")
    for url in ("http://127.0.0.1:1/", "https://elsewhere.example.com/", "http://169.254.169.254/"):
        status, reply = await guest.call("parcels/send", name="one", to=url)
        assert (status, reply["code"]) == (502, "HOST_NOT_DECLARED")


# What is not the caller's.


@pytest.mark.parametrize("how", ["", "keep", "job", "send"], ids=["read", "keep", "job", "send"])
@pytest.mark.parametrize("of", INTEGRATIONS)
async def test_no_other_customer_s_file_can_be_used_by_guessing_its_id(
    guest: Customer, other: Customer, vendor: FileVendor, how: str, of: str
) -> None:
    blob = (await guest.put(content(40), to=f"{of}/put", name="mine"))[1]["blob"]
    vendor.received.clear()
    [elsewhere] = {*INTEGRATIONS} - {of}
    for thief, integration in ((other, of), (guest, elsewhere)):
        status, reply = await thief.call(f"{integration}/steal", id=blob["id"], size=blob["size"], name=how)
        assert (status, reply["code"]) == (404, "NOT_FOUND")
    assert (await other.call(f"{of}/steal", id=str(uuid4()), size=40, name=how))[0] == 404
    assert vendor.received == []
    assert await guest.get("mine", of=of) == (200, content(40))
    assert await other.rows() == 0


async def test_names_are_of_one_customer_and_integration(guest: Customer, other: Customer) -> None:
    for who, to, seed in ((guest, "parcels", 1), (other, "parcels", 2), (guest, "boxes", 3)):
        await who.put(content(30, seed), to=f"{to}/put", name="same")
    assert await guest.get("same") == (200, content(30, 1))
    assert await other.get("same") == (200, content(30, 2))
    assert await guest.get("same", of="boxes") == (200, content(30, 3))
    await other.call("parcels/drop", name="")
    assert (await guest.call("parcels/names"))[1]["names"] == ["same"]
    assert (await guest.call("boxes/names"))[1]["names"] == ["same"]


async def test_a_plugin_s_role_cannot_reach_the_rows(guest: Customer, process: Process) -> None:
    """Its functions need a note of the gateway, and its role has no rights on the tables."""
    from kaixu.store.plugin_login import derived_login
    from tests.support.process import SECRETS

    login = derived_login("parcels", process.environment["DATABASE_URL"], SECRETS["DB_ENCRYPTION_KEY"])
    connection = await login.connect(pooler=False)
    try:
        for sql in (
            "select * from kaixu.blob",
            "select * from kaixu.plugin_blob_access",
            "delete from kaixu.blob_removal",
            f"select kaixu__plugin.keep_blob('{uuid4()}')",
            f"select kaixu__plugin.drop_blobs('{uuid4()}')",
            f"select * from kaixu__plugin.kept_blobs('{uuid4()}')",
            "select kaixu.keep_blob('parcels', 1, gen_random_uuid(), 'x', 1)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()


async def test_nothing_works_any_more_when_the_call_was_settled(guest: Customer, vendor: FileVendor) -> None:
    assert (await guest.put(content(10), name="old", then="remember"))[0] == 200
    vendor.received.clear()
    assert await guest.call("parcels/use-old") == (200, {"names": ["TicketClosed"] * 6, "bytes": []})
    assert not [size for size, *_ in vendor.received if size]
    assert await guest.get("old") == (200, content(10))


async def test_a_task_that_the_handler_leaves_behind_stores_nothing(guest: Customer, process: Process) -> None:
    before = {path.parent.name for path in files_of(process)}
    status, reply = await guest.put(content(4 * FRAME_BYTES), then="stray")
    assert (status, reply) == (200, {"said": "it goes on"})
    async with asyncio.timeout(20):
        while await guest.rows() or {path.parent.name for path in files_of(process)} - before:
            await asyncio.sleep(0.05)
    assert (await guest.put(b"still served"))[0] == 200


# Frames that were changed in the store.


@pytest.mark.parametrize("how", ["swapped", "changed", "shortened", "of another file", "gone"])
async def test_a_file_that_was_changed_in_the_store_is_not_read(guest: Customer, how: str) -> None:
    first = (await guest.put(content(2 * FRAME_BYTES, 1), name="first"))[1]["blob"]["id"]
    second = (await guest.put(content(2 * FRAME_BYTES, 2), name="second"))[1]["blob"]["id"]
    frames = sorted(path for path in files_of(guest.process) if path.parent.name == first)
    others = sorted(path for path in files_of(guest.process) if path.parent.name == second)
    match how:
        case "swapped":
            frames[0].rename(frames[0].with_name("x"))
            frames[1].rename(frames[0])
            frames[0].with_name("x").rename(frames[1])
        case "changed":
            data = bytearray(frames[0].read_bytes())
            data[100] ^= 1
            frames[0].write_bytes(data)
        case "shortened":
            frames[1].write_bytes(frames[1].read_bytes()[:-1])
        case "of another file":
            frames[0].write_bytes(others[0].read_bytes())
        case "gone":
            frames[1].unlink()
    status, _ = await guest.get("first")
    assert status == (404 if how == "gone" else 503)
    assert await guest.get("second") == (200, content(2 * FRAME_BYTES, 2))


# The sweep.


async def test_the_sweep_removes_files_without_rows_and_rows_without_files(guest: Customer, process: Process) -> None:
    kept = (await guest.put(content(FRAME_BYTES + 1), name="kept"))[1]["blob"]["id"]
    lost = (await guest.put(content(FRAME_BYTES + 1), name="lost"))[1]["blob"]["id"]
    root = next(path.parent.parent.parent for path in files_of(process))
    orphan, unfinished = uuid4(), uuid4()
    for blob_id, name in ((orphan, "00000000"), (unfinished, "00000000#1")):
        folder = root / blob_id.hex[:2] / str(blob_id)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"x")
    sorted(path for path in files_of(process) if path.parent.name == lost)[-1].unlink()
    await guest.pool.execute("update kaixu.blob set created_at = now() - interval '1 hour'")
    swept = await sweep_of(process, guest.pool).search()
    assert swept.without_row >= 2  # other tests have left some
    assert swept.without_files >= 1
    await sweep_of(process, guest.pool).search()
    names = {path.parent.name for path in files_of(process)}
    assert kept in names
    assert not names & {lost, str(orphan), str(unfinished)}
    assert (await guest.call("parcels/names"))[1]["names"] == ["kept"]


async def test_the_sweep_leaves_files_of_a_live_upload_alone(guest: Customer, process: Process) -> None:
    reader, writer = await raw(guest, f"content-length: {3 * FRAME_BYTES}", "/v1/parcels/put?name=live")
    data = content(3 * FRAME_BYTES)
    sweep = sweep_of(process, guest.pool)
    sent = 0

    async def sweep_again_and_again() -> None:
        while sent < len(data):
            await sweep.search()
            await sweep.round()

    # Beside it: one search may take longer than a client may pause.
    sweeping = asyncio.ensure_future(sweep_again_and_again())
    while sent < len(data):
        writer.write(data[sent : sent + FRAME_BYTES // 8])
        await writer.drain()
        sent += FRAME_BYTES // 8
        await asyncio.sleep(0.1)
    await sweeping
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 200")
    writer.close()
    assert await guest.get("live") == (200, data)


async def test_files_expire(guest: Customer, process: Process) -> None:
    blob = (await guest.put(content(10), name="short"))[1]["blob"]["id"]
    await guest.pool.execute("update kaixu.blob set expires_at = now() where id = $1", UUID(blob))
    assert (await guest.call("parcels/names"))[1]["names"] == []
    await until_gone(process, [blob])
    assert await guest.rows() == 0


async def test_the_deletion_of_a_customer_removes_its_files(guest: Customer, other: Customer, process: Process) -> None:
    blob = (await guest.put(content(FRAME_BYTES + 1), name="mine"))[1]["blob"]["id"]
    await other.put(content(5), name="theirs")
    assert (await customer_deletion.begin_deletion(guest.pool, guest.id, "admin")).began
    await finish_deletions(guest.pool)
    assert await guest.rows() == 0
    await until_gone(process, [blob])
    assert await other.get("theirs") == (200, content(5))


# The other server.


async def test_uploads_work_on_granian_too(
    tmp_path: Path, dsn: str, http: aiohttp.ClientSession, vendor: FileVendor
) -> None:
    home = tmp_path / "granian"
    written(home)
    process = Process(home, dsn, CONFIG.format(vendor=vendor.url).replace("gateway: {", "gateway: {server: granian, "))
    await process.start()
    pool = await open_pool(dsn)
    try:
        guest = Customer(process, http, pool)
        guest.id = await customer(pool)
        guest.key = (await virtual_key(pool, guest.id))[1]
        data = content(3 * FRAME_BYTES + 5)
        assert (await guest.put(data, name="whole"))[0] == 200
        assert await guest.get("whole") == (200, data)
        assert (await guest.put(content(20 * FRAME_BYTES), then="refuse"))[1]["code"] == "NOT_REQUIRED"
        assert (await guest.put(content(100), digest="0" * 64))[1]["code"] == "DIGEST_MISMATCH"
        before = len(files_of(process))
        _, writer = await raw(guest, f"content-length: {5 * FRAME_BYTES}")
        writer.write(content(2 * FRAME_BYTES))
        await writer.drain()
        async with asyncio.timeout(20):
            while await guest.rows() == 1:
                await asyncio.sleep(0.02)
            writer.transport.abort()
            while await guest.rows() != 1 or len(files_of(process)) > before:
                await asyncio.sleep(0.05)
        reader, writer = await raw(guest, "content-length: 300000")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).startswith(b"HTTP/1.1 408")
        writer.close()
    finally:
        await pool.close()
        assert await process.stop() == 0
