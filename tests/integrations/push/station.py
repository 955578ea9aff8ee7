"""A gateway with KaixuPush before the stand-in of Netlify, as its customers and operators use it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from itertools import count
from typing import Any, NamedTuple

import aiohttp

from tests.support.process import SECRETS, Process

from .stand_in import Netlify

#: Customers of one database have addresses of their own.
NUMBERS = count(1)

#: Pauses are short, so that nobody waits for them in tests.
CONFIG = """
gateway: {{jobs: {{workers: 4, lease_s: 2}}, database: {{general: 5, searches: 2, integration: 5}}, stall_s: 5}}
integrations:
  push:
    api_url: {url}
    netlify_token: {token}
    grants: [customers]
    price: {{deploy: 0.10, gib: 0.25, base: 0}}
    price_versions:
      "2": {{deploy: 0.20, gib: 1, base: 5}}
    deploys_per_minute: 1000
    deploys_per_day: 10000
    first_look_s: 0.1
    most_look_s: 0.5
    first_wait_s: 0.05
    most_wait_s: 0.2
    claim_s: 2
    attempts: 3
    {more}
"""


class Said(NamedTuple):
    """A reply."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def sha1(data: bytes) -> str:
    """A digest as manifests have it."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class Station:
    """A customer with a key, a site at Netlify and a project. `files`: of the pushes that it begins."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Process, netlify: Netlify) -> None:
        self.http = http
        self.gateway = gateway
        self.netlify = netlify
        self.number = next(NUMBERS)
        self.email = f"ada-{self.number}@example.com"
        self.site = f"site-{self.number}"
        self.token = f"nfp_token_of_customer_{self.number}"
        self.customer_id = 0
        self.key = ""

    async def open(self, *, has_token: bool = True, has_project: bool = True) -> Station:
        """Make the customer, its site, and its project `blog`."""
        self.customer_id, self.key = await self.customer(self.email)
        self.netlify.site(self.site, self.token)
        if has_token:
            stored = await self.call("POST", "netlify-token", {"token": self.token})
            assert (stored.status, stored.json) == (200, {"ok": True}), stored
        if has_project:
            made = await self.call("POST", "push-projects", {"projectId": "blog", "netlifySiteId": self.site})
            assert made.status == 200, made
        return self

    async def customer(self, email: str, role: str = "owner") -> tuple[int, str]:
        """A customer and a key."""
        made = (await self.operator("POST", "admin-customers", {"email": email})).json
        customer_id: int = made["customer"]["id"]
        return customer_id, await self.key_of(customer_id, role)

    async def key_of(self, customer_id: int, role: str) -> str:
        """Another key of a customer."""
        body = {"customer_id": customer_id, "label": role, "role": role, "rpm_limit": 100_000}
        return str((await self.operator("POST", "admin-keys", body)).json["api_key"]["key"])

    async def call(
        self,
        method: str,
        name: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **query: object,
    ) -> Said:
        """A request of the customer, or of the holder of `key`, to one of the functions."""
        given = dict(headers or {})
        if (key := self.key if key is None else key) != "":
            given["authorization"] = f"Bearer {key}"
        return await self.send(method, f"/.netlify/functions/{name}", body, given, query)

    async def operator(self, method: str, name: str, body: object = None, **query: object) -> Said:
        """A request of the operator that succeeds."""
        said = await self.asked(method, name, body, **query)
        assert said.status < 300, said
        return said

    async def asked(self, method: str, name: str, body: object = None, **query: object) -> Said:
        """A request of the operator."""
        headers = {"x-admin-password": SECRETS["ADMIN_PASSWORD"]}
        return await self.send(method, f"/.netlify/functions/{name}", body, headers, query)

    async def set(self, **settings: object) -> None:
        """Change settings of the customer, as an operator does."""
        body = {"customer_id": self.customer_id, "integration": "push", "settings": settings}
        await self.operator("PATCH", "admin-integration-settings", body)

    async def send(
        self, method: str, path: str, body: object, headers: Mapping[str, str], query: Mapping[str, object]
    ) -> Said:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        data = None if content is None else BytesIO(content)
        params = {name: str(value) for name, value in query.items()}
        async with self.http.request(
            method, self.gateway.url + path, data=data, headers=dict(headers), params=params, allow_redirects=False
        ) as reply:
            return Said(
                reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.text()
            )

    # Pushes

    async def init(self, files: Mapping[str, bytes], **fields: object) -> Said:
        """Begin a push of these files."""
        manifest = {path: sha1(data) for path, data in files.items()}
        return await self.call("POST", "push-init", {"projectId": "blog", "files": manifest, **fields})

    async def begun(self, files: Mapping[str, bytes], **fields: object) -> dict[str, Any]:
        """A push that was begun."""
        said = await self.init(files, **fields)
        assert said.status == 200, said
        push: dict[str, Any] = said.json
        return push

    async def upload(self, push_id: str, path: str, data: bytes, **more: Any) -> Said:
        """Send a file in one request."""
        digest = more.pop("digest", sha1(data))
        return await self.call(
            "PUT", "push-upload", data, headers={"x-content-sha1": digest}, pushId=push_id, path=path, **more
        )

    async def chunk(self, push_id: str, path: str, whole: bytes, part: int, parts: int, **more: Any) -> Said:
        """Send a part of a file."""
        size = -(-len(whole) // parts)
        data = more.pop("data", whole[part * size : (part + 1) * size])
        return await self.call(
            "PUT",
            "push-upload-chunk",
            data,
            pushId=push_id,
            path=path,
            sha1=sha1(whole),
            part=part,
            parts=parts,
            **more,
        )

    async def assemble(self, push_id: str, path: str, whole: bytes, parts: int) -> Said:
        """Say that all parts are there."""
        return await self.call(
            "POST", "push-upload-complete", {"pushId": push_id, "path": path, "sha1": sha1(whole), "parts": parts}
        )

    async def file_in(self, push_id: str, data: bytes, *statuses: str) -> dict[str, Any]:
        """A file in parts, once it has one of these statuses."""
        async with asyncio.timeout(30):
            while True:
                said = await self.call("GET", "push-file-status", pushId=push_id, sha1=sha1(data))
                if said.status == 200 and said.json["job"]["status"] in statuses:
                    job: dict[str, Any] = said.json["job"]
                    return job
                await asyncio.sleep(0.05)

    async def push_in(self, push_id: str, *states: str) -> dict[str, Any]:
        """A push, once it is in one of these states."""
        async with asyncio.timeout(30):
            while True:
                push: dict[str, Any] = (await self.call("GET", "push-status", pushId=push_id)).json["push"]
                if push["state"] in states:
                    return push
                await asyncio.sleep(0.1)

    async def bill(self, **query: str) -> dict[str, Any]:
        """The breakdown of a month."""
        said = await self.call("GET", "push-billing", None, key=None, headers=None, **query)
        assert said.status == 200, said
        breakdown: dict[str, Any] = said.json["breakdown"]
        return breakdown

    async def published(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """A push of these files, published."""
        push = await self.begun(files)
        for path, data in files.items():
            if sha1(data) in push["required"]:
                assert (await self.upload(push["pushId"], path, data)).status == 200
        return await self.push_in(push["pushId"], "ready")
