"""A running gateway with parcels, as those who use it see it: customers, an operator, the carrier."""

from __future__ import annotations

import asyncio
import json
import time
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import aiohttp
import asyncpg

from .carrier import Carrier
from .kaixu_parcel.kaixu_parcel.tracking import signature

PASSWORD = "operator-password-for-tests"

#: Customers of one database have addresses of their own.
NUMBERS = count(1)


class Gateway(Protocol):
    """What is used of the process."""

    url: str
    log: Path
    environment: dict[str, str]
    python: Path

    async def kaixu(self, *words: str) -> str: ...


async def settled(pool: asyncpg.Pool) -> None:
    """Return when no call runs and no job waits any more."""
    busy = (
        "select (select count(*) from kaixu.reservation) + (select count(*) from kaixu.job where completed_at is null)"
    )
    async with asyncio.timeout(30):
        while await pool.fetchval(busy):
            await asyncio.sleep(0.05)


class Said(NamedTuple):
    """A reply."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Station:
    """`key` belongs to the first customer."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway, carrier: Carrier) -> None:
        self.http = http
        self.gateway = gateway
        self.carrier = carrier
        self.email = ""
        self.customer_id = 0
        self.key = ""

    async def open(self) -> Station:
        """Make the first customer."""
        self.email = f"ada-{next(NUMBERS)}@example.com"
        self.customer_id, self.key = await self.customer(self.email)
        return self

    async def customer(self, email: str, role: str = "owner") -> tuple[int, str]:
        """A customer and a key."""
        made = (await self.operator("POST", "/api/admin-customers", {"email": email})).json
        customer_id = made["customer"]["id"]
        return customer_id, await self.key_of(customer_id, role)

    async def key_of(self, customer_id: int, role: str) -> str:
        """Another key of a customer."""
        body = {"customer_id": customer_id, "label": role, "role": role}
        return str((await self.operator("POST", "/api/admin-keys", body)).json["api_key"]["key"])

    async def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> Said:
        """A request of the first customer, or of the holder of `key`; "" is nobody."""
        if (key := self.key if key is None else key) != "":
            headers["authorization"] = f"Bearer {key}"
        return await self.send(method, path, body, headers)

    async def operator(self, method: str, path: str, body: object = None) -> Said:
        """A request of the operator."""
        said = await self.send(method, path, body, {"x-admin-password": PASSWORD})
        assert said.status < 300, said
        return said

    async def set(self, **settings: object) -> None:
        """Change settings of the first customer, as an operator does."""
        body = {"customer_id": self.customer_id, "integration": "parcel", "settings": settings}
        await self.operator("PATCH", "/api/admin-integration-settings", body)

    async def event(self, secret: str, *, path: str = "/v1/parcel/webhooks/tracking", **fields: object) -> Said:
        """An event of the carrier."""
        body = json.dumps({"type": "parcel.moved", **fields}).encode()
        at = str(int(time.time()))
        return await self.send("POST", path, body, {"x-time": at, "x-signature": signature(secret, at, body)})

    async def send(self, method: str, path: str, body: object, headers: dict[str, str]) -> Said:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        data = None if content is None else BytesIO(content)
        async with self.http.request(
            method, self.gateway.url + path, data=data, headers=headers, allow_redirects=False
        ) as reply:
            return Said(
                reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.text()
            )

    async def state_of(self, number: int, state: str) -> dict[str, Any]:
        """A parcel, once it is in this state."""
        async with asyncio.timeout(30):
            while True:
                parcel: dict[str, Any] = (await self.call("GET", f"/v1/parcel/parcels/{number}")).json
                if str(parcel.get("state")).startswith(state):
                    return parcel
                await asyncio.sleep(0.05)
