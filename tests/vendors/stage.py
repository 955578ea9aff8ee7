"""The stage of vendors' and clients' tests: one gateway before one aimock, with a lane for each protocol it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg

from tests.conftest import with_database
from tests.support.aimock import Aimock, Fixture
from tests.support.process import Process

INPUT_TOKENS = 14
OUTPUT_TOKENS = 7
#: What an answer costs at 1 USD a million tokens in, 2 out; in nano-dollars.
COST_NUSD = INPUT_TOKENS * 1000 + OUTPUT_TOKENS * 2000
CAPITAL = "The capital of Italy is Rome."
THOUGHT = "Italy is in Europe."
#: What vendors write into their errors; no client may read it.
SECRET = "vendor secret"
LONG = "One morning, when Gregor Samsa woke from troubled dreams, he found himself transformed. " * 4
#: How many pieces an answer comes in before the vendor breaks off, and how long those of its text are.
PIECES, PIECE = 8, 20

#: The public name of each lane's model, which no other lane has; and of each lane's embeddings.
MODELS = {"openai": "gpt", "anthropic": "claude", "gemini": "flash"}
EMBEDDERS = {"openai": "openai-vectors", "gemini": "gemini-vectors"}
DIMENSIONS = 8
GEMINI = "gemini-2.5-flash"
CONFIG = """
lanes:
  openai:
    plugin: openai
    base_url: {aimock}/v1
    api_key: sk-vendor
    retries: 1
    models:
      gpt: {{type: chat, upstream: gpt-4.1-mini, price: {{input: 1, output: 2}}}}
      openai-vectors: {{type: embed, upstream: text-embedding-3-small, dimensions: 8, price: {{input: 1}}}}
  anthropic:
    plugin: anthropic
    base_url: {aimock}
    api_key: sk-vendor
    retries: 1
    models:
      claude: {{type: chat, upstream: claude-sonnet-4-5, price: {{input: 1, output: 2}}}}
  gemini:
    plugin: gemini
    base_url: {aimock}/v1beta
    api_key: sk-vendor
    retries: 1
    models:
      flash: {{type: chat, upstream: gemini-2.5-flash, price: {{input: 1, output: 2}}}}
      gemini-vectors: {{type: embed, upstream: gemini-embedding-001, dimensions: 8, price: {{input: 1}}}}
"""


def says(words: str, response: dict[str, Any], *, match: dict[str, Any] | None = None, **how: Any) -> Fixture:
    """A fixture for what the user says last. `response` without usage costs `COST_NUSD`."""
    usage = {"usage": {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}}
    return {"match": {"userMessage": words, **(match or {})}, "response": usage | response, "chunkSize": PIECE, **how}


def fails(status: int, **how: Any) -> dict[str, Any]:
    """A vendor's error."""
    return {"error": {"message": SECRET, "type": "error"}, "status": status, **how}


def calls(words: str, *cities: str) -> list[Fixture]:
    """Fixtures for what is answered with a tool call for each city, until there are results.

    Google ends such an answer with `STOP`; left alone, aimock makes up a word of its own.
    """
    wanted = [{"id": f"call_{city}", "name": "weather", "arguments": {"city": city}} for city in cities]
    first = {"hasToolResult": False}
    as_google = {"toolCalls": wanted, "finishReason": "stop"}
    return [
        says(words, as_google, match=first | {"model": GEMINI}),
        says(words, {"toolCalls": wanted}, match=first),
    ]


FIXTURES = [
    says("capital of Italy", {"content": CAPITAL}),
    says("think about Italy", {"content": CAPITAL, "reasoning": THOUGHT, "reasoningSignature": "c2lnbmVk"}),
    *calls("weather in Rome and Oslo", "Rome", "Oslo"),
    says("weather in Rome and Oslo", {"content": "22 and 5 degrees."}, match={"hasToolResult": True}),
    says("as JSON", {"content": '{"city": "Rome", "country": "Italy"}'}),
    says("too long", {"content": "The capital of", "finishReason": "length"}),
    says("break off", {"content": LONG}, truncateAfterChunks=PIECES, latency=5),
    says("slowly", {"content": LONG}, latency=20),
    says("reject", fails(400)),
    says("credential", fails(401)),
    says("fail", fails(500)),
    says("overloaded", fails(503)),
    says("come back in a second", fails(429, retryAfter=1)),
    says("come back in an hour", fails(429, retryAfter=3600)),
]


class Stage(NamedTuple):
    """What stands on it: the vendor, the gateway's address, and its database."""

    aimock: Aimock
    gateway: Process
    dsn: str


@contextmanager
def database(server_dsn: str, pristine: str) -> Iterator[str]:
    """A migrated database for more than one test."""
    name = f"kaixu_{uuid4().hex[:12]}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(server_dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run(f"create database {name} template {pristine}"))
    try:
        yield with_database(server_dsn, name)
    finally:
        asyncio.run(run(f"drop database {name} with (force)"))


@contextmanager
def gateway(home: Path, dsn: str, config: str) -> Iterator[Process]:
    """A gateway for more than one test."""
    process = Process(home, dsn, config)
    try:
        yield asyncio.run(process.start())
    finally:
        asyncio.run(process.stop())


@contextmanager
def stage(server_dsn: str, pristine: str, home: Path) -> Iterator[Stage]:
    """Set it up, and clear it away."""
    with (
        database(server_dsn, pristine) as dsn,
        Aimock(FIXTURES) as aimock,
        gateway(home, dsn, CONFIG.format(aimock=aimock.url)) as process,
    ):
        yield Stage(aimock, process, dsn)
