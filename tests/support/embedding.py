"""A gateway for embeddings, shared by a module's tests. Its vendor can be made to wait; each test has new customers."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import zlib
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from kaixu.reports.reconcile import reconcile
from kaixu.store.query import Connection
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Process
from tests.vendors.stage import database

DIMENSIONS = 32

CONFIG = """
gateway: {{{gateway}}}
lanes:
  up:
    plugin: openai
    base_url: {url}
    api_key: sk-vendor
    retries: 0
    models:
      words: {{type: embed, dimensions: 32, price: {{input: 1}}}}
      other: {{type: embed, dimensions: 32, price: {{input: 1}}}}
      unknown-length: {{type: embed, price: {{input: 1}}}}
      talk: {{type: chat, price: {{input: 1, output: 2}}}}
  thousands:
    plugin: voyage
    base_url: {url}
    api_key: sk-vendor
    retries: 0
    models:
      batched: {{type: embed, dimensions: 32, price: {{input: 1}}}}
  local:
    plugin: local
    chat: false
    models:
      here: {{type: embed, dimensions: 256, price: {{input: 0}}}}
"""


def vector_of(text: str, dimensions: int) -> list[float]:
    """A vector for a text: texts with the same words have similar vectors."""
    vector = [0.01] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % dimensions] += 1.0
    return vector


class Embedder:
    """A fake vendor in a thread of its own: one token a character, fails for a text with "boom", waits on demand."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.tokens = 0  # of all answers
        self.reached = threading.Event()
        self.held: str | None = None
        self.go_on = asyncio.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.runner: web.AppRunner | None = None
        self.url = ""

    def start(self) -> None:
        """Listen on a free port of the loopback."""
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.listen(), self.loop).result()

    async def listen(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/embeddings", self.embed)
        app.router.add_post("/v1/chat/completions", self.chat)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    def stop(self) -> None:
        """Stop listening."""
        assert self.runner is not None
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    @contextmanager
    def holding(self, text: str) -> Iterator[None]:
        """Calls with this text in their input get no answer before the end of the block."""
        self.held = text
        self.reached.clear()
        self.loop.call_soon_threadsafe(self.go_on.clear)
        try:
            yield
        finally:
            self.held = None
            self.loop.call_soon_threadsafe(self.go_on.set)

    async def is_reached(self) -> None:
        """Wait until a call is held back."""
        assert await asyncio.to_thread(self.reached.wait, 30)

    async def embed(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        if self.held is not None and any(self.held in text for text in body["input"]):
            self.reached.set()
            await self.go_on.wait()
        if any("boom" in text for text in body["input"]):
            return web.json_response({"error": {"message": "vendor secret"}}, status=500)
        dimensions = body.get("dimensions") or body.get("output_dimension") or DIMENSIONS
        data = [{"index": at, "embedding": vector_of(text, dimensions)} for at, text in enumerate(body["input"])]
        tokens = sum(map(len, body["input"]))
        answer = web.json_response({"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
        await answer.prepare(request)
        await answer.write_eof()
        self.tokens += tokens  # the answer is complete
        return answer

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Repeats the last message."""
        body = await request.json()
        self.requests.append(body)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for chunk in (
            {"choices": [{"index": 0, "delta": {"content": body["messages"][-1]["content"]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 1}},
        ):
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response


class Answer:
    """A reply."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def status_and_code(self) -> tuple[int, Any]:
        """The status, and the code of an error."""
        return self.status, self.json.get("code") if self.status >= 400 else None

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:500]!r}"


class Account:
    """A caller with a key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, customer_id: int, key_id: int, key: str) -> None:
        self.http = http
        self.url = url
        self.customer_id = customer_id
        self.key_id = key_id
        self.key = key
        self.headers = {"authorization": f"Bearer {key}"}

    def at(self, url: str) -> Account:
        """The same caller at another process."""
        return Account(self.http, url, self.customer_id, self.key_id, self.key)

    async def call(self, method: str, name: str, body: Any = None, /, **args: Any) -> Answer:
        """Call a function; a `body` of bytes is sent unchanged."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        params = {one: str(value) for one, value in args.items()}
        async with self.http.request(
            method,
            f"{self.url}/api/{name}",
            data=None if data is None else BytesIO(data),
            params=params,
            headers=self.headers,
        ) as response:
            return Answer(response.status, await response.read())

    async def embed(self, given: Any, **fields: Any) -> Answer:
        """`gateway-embed`."""
        body = {"provider": "up", "model": "words", "input": given, **fields}
        return await self.call("POST", "gateway-embed", body)

    async def store(self, collection: str, texts: dict[str, str], **fields: Any) -> Answer:
        """Store texts under their ids."""
        fields = {"collection": collection, "doc_ids": list(texts), **fields}
        return await self.embed(list(texts.values()), **fields)

    async def search(self, collection: str, query: str | None = None, **fields: Any) -> Answer:
        """`gateway-embed-search`."""
        body = {"collection": collection, **fields} | ({} if query is None else {"query": query})
        return await self.call("POST", "gateway-embed-search", body)

    async def show(self, **args: Any) -> Answer:
        """`GET gateway-embed-collections`."""
        return await self.call("GET", "gateway-embed-collections", **args)

    async def make(self, body: Any, **args: Any) -> Answer:
        """`POST gateway-embed-collections`."""
        return await self.call("POST", "gateway-embed-collections", body, **args)

    async def rename(self, name: str, new_name: str) -> Answer:
        """`PATCH gateway-embed-collections`."""
        return await self.call("PATCH", "gateway-embed-collections", {"name": name, "new_name": new_name})

    async def remove(self, **args: Any) -> Answer:
        """`DELETE gateway-embed-collections`."""
        return await self.call("DELETE", "gateway-embed-collections", **args)

    async def vectors(self, name: str) -> int:
        """How many vectors a collection holds."""
        answer = await self.show(name=name)
        assert answer.status == 200, answer
        found: int = answer.json["collection"]["vectors"]
        return found


class House:
    """Gateway processes, their vendor, their database."""

    def __init__(self, processes: list[Process], vendor: Embedder, dsn: str) -> None:
        self.processes = processes
        self.vendor = vendor
        self.dsn = dsn
        self.url = processes[0].url

    async def account(self, http: aiohttp.ClientSession, pool: Connection, **of_customer: Any) -> Account:
        """A new customer with a key."""
        return await self.another_key(http, pool, await customer(pool, **of_customer))

    async def another_key(
        self, http: aiohttp.ClientSession, pool: Connection, customer_id: int, **of_key: Any
    ) -> Account:
        """A key of a customer."""
        fields = {"role": "owner", **of_key}
        return Account(http, self.url, customer_id, *await virtual_key(pool, customer_id, **fields))


@contextmanager
def house(server_dsn: str, pristine: str, home: Path, *, count: int = 1, gateway: str = "") -> Iterator[House]:
    """`count` gateways in front of one fake vendor, with a database of their own."""
    vendor = Embedder()
    vendor.start()
    config = CONFIG.format(url=vendor.url, gateway=gateway)
    try:
        with database(server_dsn, pristine) as dsn:
            processes = [Process(home / f"gateway{at}", dsn, config) for at in range(count)]
            try:
                asyncio.run(all_of(process.start() for process in processes))
                yield House(processes, vendor, dsn)
            finally:
                asyncio.run(all_of(process.stop() for process in processes))
    finally:
        vendor.stop()


async def all_of(them: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all of them concurrently."""
    await asyncio.gather(*them)


async def assert_collections_balance(pool: asyncpg.Pool) -> None:
    """The money adds up, nothing is held, and collections have as many vectors as their rows say."""
    for _ in range(200):  # background work may still be ending
        if not await pool.fetchval("select count(*) from kaixu.reservation"):
            break
        await asyncio.sleep(0.05)
    await assert_books_balance(pool)
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    wrong = await pool.fetch(
        """
        select c.id, c.vectors, count(d.doc_id)
          from kaixu.collection c
          left join kaixu.document d on d.collection_id = c.id
         where c.deleted_at is null
         group by c.id having c.vectors <> count(d.doc_id)
        """
    )
    assert [tuple(row) for row in wrong] == []
