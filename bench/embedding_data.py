"""What the measurements of embeddings work on: texts, vectors, the vendor's stand-in, and collections filled with them."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import numpy

from kaixu.store.documents import Piece, store_documents
from kaixu.store.vectors import packed
from tests.support.process import free_port

DIMENSIONS = 1536
BATCH = 100
AT_ONCE = 4

SUBJECTS = [
    "river",
    "engine",
    "violin",
    "glacier",
    "merchant",
    "spider",
    "compiler",
    "orchard",
    "satellite",
    "bridge",
    "teacher",
    "reactor",
]
VERBS = [
    "carries",
    "measures",
    "follows",
    "protects",
    "repairs",
    "describes",
    "replaces",
    "warms",
    "divides",
    "remembers",
    "crosses",
    "feeds",
]
OBJECTS = [
    "winter harvests",
    "old maps",
    "the northern harbour",
    "small payments",
    "a broken clock",
    "village schools",
    "copper wires",
    "rare seeds",
    "the evening train",
    "public gardens",
    "deep sea currents",
    "family letters",
]
PLACES = [
    "in Lisbon",
    "near the equator",
    "after the flood",
    "during the night shift",
    "on the upper floor",
    "before sunrise",
    "for the third time",
    "without any noise",
    "under heavy rain",
    "by order of the court",
    "at the edge of town",
    "beyond the mountains",
]


def config(vendor: str) -> str:
    """kaixu.yaml: the local lane, and a lane whose vendor is the stand-in."""
    return f"""
gateway: {{max_vectors: 10000000}}
lanes:
  up:
    plugin: openai
    base_url: {vendor}/v1
    api_key: vendor-key
    models:
      up-embed: {{type: embed, dimensions: {DIMENSIONS}, price: {{input: 0.0262}}, cost: {{input: 0.02}}}}
  local:
    plugin: local
    models:
      local-embed: {{type: embed, dimensions: 256, price: {{input: 0}}}}
"""


def sentence(number: int) -> str:
    """A sentence that is different for each number."""
    chosen = random.Random(number)
    words = [f"The {chosen.choice(SUBJECTS)} {chosen.choice(VERBS)} {chosen.choice(OBJECTS)} {chosen.choice(PLACES)}"]
    words.append(f"while a {chosen.choice(SUBJECTS)} {chosen.choice(VERBS)} {chosen.choice(OBJECTS)}")
    return f"{', '.join(words)}; note {number}."


def vectors_of(count: int, seed: int) -> numpy.ndarray:
    """Vectors like those of models: many numbers, but only 64 main directions."""
    source = numpy.random.default_rng(seed)
    directions = numpy.random.default_rng(1).standard_normal((64, DIMENSIONS)).astype(numpy.float32)
    vectors = source.standard_normal((count, 64)).astype(numpy.float32) @ directions
    vectors += 0.05 * source.standard_normal((count, DIMENSIONS)).astype(numpy.float32) * 8
    unit: numpy.ndarray = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def vendor(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the vendor's stand-in: nginx with one fixed answer of 100 vectors."""
    port = free_port()
    data = [
        {"object": "embedding", "index": at, "embedding": base64.b64encode(one.astype("<f4").tobytes()).decode()}
        for at, one in enumerate(vectors_of(BATCH, 3))
    ]
    answer = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 2500, "total_tokens": 2500}}
    (folder / "vectors.json").write_text(json.dumps(answer))
    temporary = "".join(f"{kind}_temp_path {kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"""worker_processes 1; daemon off; pid nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000; {temporary} client_max_body_size 20m; client_body_buffer_size 1m;
  server {{ listen 127.0.0.1:{port}; root {folder}; default_type application/json;
    location = /v1/embeddings {{ error_page 405 =200 /vectors.json; try_files /vectors.json =404; }}
    location = /vectors.json {{ error_page 405 =200 /vectors.json; }} }} }}"""
    )
    folder.chmod(0o777)
    started = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
    )
    return started, f"http://127.0.0.1:{port}"


class Client:
    """Calls with one key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str) -> None:
        self.http = http
        self.url = url
        self.headers = {"authorization": f"Bearer {key}"}

    async def post(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """The reply; an error ends the run."""
        async with self.http.post(f"{self.url}/api/{name}", json=body, headers=self.headers) as response:
            reply: dict[str, Any] = await response.json()
            if response.status != 200:
                raise SystemExit(f"{name}: {reply}")
            return reply


async def together(work: list[Callable[[], Awaitable[Any]]], at_once: int) -> None:
    """Run all of `work`, `at_once` at a time."""
    places = asyncio.Semaphore(at_once)

    async def one(make: Callable[[], Awaitable[Any]]) -> None:
        async with places:
            await make()

    await asyncio.gather(*(one(make) for make in work))


async def fill_local(client: Client, collection: str, count: int) -> float:
    """Embed texts with the local model and store them; returns texts per second."""

    def call(start: int) -> Callable[[], Awaitable[Any]]:
        numbers = range(start, min(start + 500, count))
        body = {
            "model": "local-embed",
            "collection": collection,
            "input": [sentence(number) for number in numbers],
            "doc_ids": [f"d{number}" for number in numbers],
            "metadata": [{"ten": number % 10, "hundred": number % 100} for number in numbers],
        }
        return lambda: client.post("gateway-embed", body)

    began = time.perf_counter()
    await together([call(start) for start in range(0, count, 500)], AT_ONCE)
    return count / (time.perf_counter() - began)


async def fill_long(pool: asyncpg.Pool, collection_id: int, customer_id: int, count: int) -> None:
    """Store long vectors directly in the database."""
    vectors = vectors_of(count, 11)
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        async with pool.acquire() as connection, connection.transaction():
            await store_documents(
                connection,
                collection_id=collection_id,
                customer_id=customer_id,
                ticket=uuid4(),
                pieces=[Piece(f"d{n}", 0, 0, sentence(n), {"ten": n % 10, "hundred": n % 100}) for n in numbers],
                vectors=[packed(vectors[number].tolist()) for number in numbers],
                most_vectors=10**9,
            )


async def fill_many(pool: asyncpg.Pool, customer_id: int, collections: int, vectors: int) -> None:
    """Store many small collections of one customer directly in the database."""
    source = numpy.random.default_rng(5)
    for number in range(collections):
        made = source.standard_normal((vectors, 256)).astype(numpy.float32)
        collection_id = await pool.fetchval(
            """
            insert into kaixu.collection (customer_id, name, provider, model, dimensions, language)
            values ($1, $2, 'local', 'local-embed', 256, 'english') returning id
            """,
            customer_id,
            f"small-{number}",
        )
        await store_documents(
            pool,
            collection_id=collection_id,
            customer_id=customer_id,
            ticket=uuid4(),
            pieces=[Piece(f"d{at}", 0, 0, sentence(at), {"ten": at % 10}) for at in range(vectors)],
            vectors=[packed(one.tolist()) for one in made],
            most_vectors=10**9,
        )
