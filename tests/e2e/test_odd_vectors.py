"""What lanes make of texts, through the gateway's door: in batches, as arrays or numbers, and what is no vector."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process

PLUGIN = '''
"""What it makes of texts is in the model's name; a number that counts is the size of the batch."""
from array import array

from kaixu.plugin import Embeddings, Lane, Options, Usage, hookimpl

NAN = float("nan")


class Odd(Lane):
    max_batch = 4
    max_batch_tokens = 20
    shortens = True

    def __init__(self, options):
        pass

    async def embed(self, request, wire):
        size = len(request.inputs)
        vectors = [array("f", [size, 0.25, -2])] * size
        match request.model:
            case "numbers":
                vectors = [[size, 0.25, -2.0]] * size
            case "cut":
                vectors = [array("f", [3, 4, 12][: request.dimensions])] * size
            case "no-number":
                vectors = [array("f", [1, NAN, 0])] * size
            case "nowhere":
                vectors = [[0.0, 0.0]] * size
            case "empty":
                vectors = [array("f")] * size
            case "fewer":
                vectors = vectors[1:]
            case "uneven":
                vectors[-1] = vectors[-1][:2]
            case "batches-differ":
                vectors = [vector[:size] for vector in vectors]
        return Embeddings(tuple(vectors), Usage(sum(map(len, request.inputs))))


@hookimpl
def register_lanes(register):
    register("odd", Odd, Options)
'''

WRONG = {
    "no-number": "NaN or infinity",
    "nowhere": "vector of zeros",
    "empty": "an empty vector",
    "fewer": "wrong number of vectors",
    "uneven": "of different lengths",
    "batches-differ": "of different lengths",
}
MODELS = ("arrays", "numbers", "cut", *WRONG)


class Caller:
    """Somebody with a key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, customer_id: int, key: str) -> None:
        self.http, self.url, self.customer_id, self.key = http, url, customer_id, key

    async def embed(self, model: str, *texts: str, **fields: Any) -> tuple[int, Any]:
        """`/v1/embeddings`: the status and the reply."""
        body = {"model": model, "input": texts, **fields}
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.http.post(f"{self.url}/v1/embeddings", json=body, headers=headers) as response:
            return response.status, await response.json()


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway with the lane."""
    listed = "\n".join(f"      {model}: {{type: embed, price: {{input: 1}}}}" for model in MODELS)
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "odd.py").write_text(PLUGIN)
    config = f"plugins: [odd.py]\nlanes:\n  up:\n    plugin: odd\n    models:\n{listed}\n"
    process = Process(tmp_path / "gateway", dsn, config)
    await process.start()
    yield process
    assert await process.stop() == 0


@pytest.fixture
async def caller(gateway: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Caller:
    """A customer's key."""
    customer_id = await customer(pool)
    return Caller(http, gateway.url, customer_id, (await virtual_key(pool, customer_id))[1])


@pytest.mark.parametrize("model", ["arrays", "numbers"])
async def test_a_lane_s_arrays_look_to_clients_as_its_numbers_do(caller: Caller, model: str) -> None:
    for form in ("float", "base64"):
        status, reply = await caller.embed(model, "a", "b", encoding_format=form)
        vectors = [one["embedding"] for one in reply["data"]]
        if form == "base64":
            vectors = [list(struct.unpack("<3f", base64.b64decode(vector))) for vector in vectors]
        assert (status, vectors) == (200, [[2.0, 0.25, -2.0]] * 2)


async def test_a_call_is_cut_by_inputs_and_by_tokens_and_billed_as_one(caller: Caller, pool: asyncpg.Pool) -> None:
    texts = ["a"] * 5 + ["b" * 11] * 3 + ["c" * 9, "d" * 30, "e"]
    status, reply = await caller.embed("arrays", *texts)
    assert status == 200
    assert [one["embedding"][0] for one in reply["data"]] == [4, 4, 4, 4, 2, 2, 1, 2, 2, 1, 1]
    assert reply["usage"]["prompt_tokens"] == sum(map(len, texts))
    assert await spent_and_held(pool, caller.customer_id) == (1000 * sum(map(len, texts)), 0)
    await assert_books_balance(pool)


async def test_vectors_that_were_only_cut_are_of_unit_length_again(caller: Caller) -> None:
    _, cut = await caller.embed("cut", "a", dimensions=2)
    assert cut["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
    _, whole = await caller.embed("cut", "a")
    assert math.hypot(*whole["data"][0]["embedding"]) == 13


@pytest.mark.parametrize(("model", "why"), WRONG.items())
async def test_what_is_no_vector_is_refused_and_said(caller: Caller, pool: asyncpg.Pool, model: str, why: str) -> None:
    status, reply = await caller.embed(model, "a", "b", "c", "d", "e")
    assert (status, reply["error"]["code"]) == (502, "upstream_error")
    assert why in reply["error"]["message"]
    assert (await spent_and_held(pool, caller.customer_id))[1] == 0
    await assert_books_balance(pool)
