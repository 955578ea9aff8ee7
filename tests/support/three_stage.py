"""One gateway in front of the three fake vendors, with a lane for each, and the lanes azure and echo."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.three_vendors import ThreeVendors, three_vendors
from tests.vendors.stage import database, gateway

#: Each lane's model, which no other lane has, and the vendor whose protocol it speaks.
MODELS = {"openai": "gpt", "azure": "azure-gpt", "anthropic": "claude", "gemini": "flash"}
VENDORS = {"openai": "openai", "azure": "openai", "anthropic": "anthropic", "gemini": "gemini"}
PRICED = "type: chat, price: {{input: 1, output: 2}}, max_output_tokens: 64000"
CONFIG = f"""
lanes:
  openai:
    plugin: openai
    base_url: {{vendor}}/v1
    api_key: sk-vendor
    models: {{{{gpt: {{{{{PRICED}, upstream: gpt-4.1-mini}}}}}}}}
  azure:
    plugin: azure
    endpoint: {{vendor}}
    api_key: sk-vendor
    models: {{{{azure-gpt: {{{{{PRICED}, upstream: gpt-4.1-mini}}}}}}}}
  anthropic:
    plugin: anthropic
    base_url: {{vendor}}
    api_key: sk-vendor
    models: {{{{claude: {{{{{PRICED}, upstream: claude-sonnet-4-5, allow: [web_search]}}}}}}}}
  gemini:
    plugin: gemini
    base_url: {{vendor}}/v1beta
    api_key: sk-vendor
    models: {{{{flash: {{{{{PRICED}, upstream: gemini-2.5-flash}}}}}}}}
  echo:
    plugin: echo
    models: {{{{echo: {{{{{PRICED}}}}}}}}}
"""


class ThreeStage(NamedTuple):
    """The fake vendors, the gateway's address, its database, and a customer's key."""

    vendors: ThreeVendors
    url: str
    dsn: str
    key: str

    def check_books(self) -> None:
        """Check that all money adds up and nothing is held."""
        asyncio.run(check_books(self.dsn))


async def check_books(dsn: str) -> None:
    """See `ThreeStage.check_books`."""
    connection = await asyncpg.connect(dsn)
    try:
        await assert_books_balance(connection)
    finally:
        await connection.close()


async def key_in(dsn: str) -> str:
    """A key of a new customer's."""
    connection = await asyncpg.connect(dsn)
    try:
        return (await virtual_key(connection, await customer(connection)))[1]
    finally:
        await connection.close()


@contextmanager
def three_stage(server_dsn: str, pristine: str, home: Path, calls: dict[str, dict[str, Any]]) -> Iterator[ThreeStage]:
    """Start everything, and stop it at the end. `calls`: see `ThreeVendors`."""
    with database(server_dsn, pristine) as dsn, three_vendors(calls) as vendors:
        key = asyncio.run(key_in(dsn))
        with gateway(home, dsn, CONFIG.format(vendor=vendors.url)) as process:
            yield ThreeStage(vendors, process.url, dsn, key)
