"""Somebody without a key, a gateway with mail, and its mail server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from quart import Quart

from kaixu.config.mail_section import MailSection
from kaixu.config.selfservice_section import SelfserviceSection
from kaixu.edge.services import Services
from kaixu.gateway.app import create_app
from kaixu.jobs.mail_sender import MailSender
from kaixu.ops.sealing import Sealer
from tests.api.admin.conftest import Operator
from tests.api.admin.conftest import operator as operator  # a fixture
from tests.api.admin.conftest import services as plain_services
from tests.support.smtp import Mailbox, smtp_server

GATEWAY = "https://ai.example.com"
LINK = re.compile(rf"{re.escape(GATEWAY)}/request-key/link\?token=([A-Za-z0-9_-]+)")

services_without_mail = plain_services


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """The mail server."""
    async with smtp_server() as server:
        yield server


@pytest.fixture
def services(services_without_mail: Services, mailbox: Mailbox) -> Services:
    """A gateway's parts, with mail."""
    services_without_mail.settings = services_without_mail.settings.model_copy(update={"gateway_url": GATEWAY})
    services_without_mail.current.mail = mailbox.section()
    return services_without_mail


class Visitor:
    """Somebody without a key."""

    def __init__(self, app: Quart, services: Services, mailbox: Mailbox) -> None:
        self.client = app.test_client()
        self.services = services
        self.mailbox = mailbox

    def mode(self, mode: str, **fields: Any) -> None:
        self.services.current.selfservice = SelfserviceSection.model_validate({"mode": mode, **fields})

    async def ask(self, email: object = "ada@example.com", *, address: str | None = None) -> tuple[int, Any]:
        """POST request-key."""
        scope = {"client": (address, 1234)} if address else None
        response = await self.client.post("/api/request-key", json={"email": email}, scope_base=scope)
        return response.status_code, await response.get_json(force=True)

    async def mailed(self) -> list[str]:
        """Send the outbox; the tokens of all links so far."""
        section = self.services.mail
        assert isinstance(section, MailSection)
        await MailSender(
            self.services.pool, Sealer(self.services.secrets.db_encryption_key), lambda: section, {}
        ).round()
        tokens = []
        for message in self.mailbox.messages:
            body = message.get_body(("plain",))
            assert body is not None
            match = LINK.search(body.get_content())
            assert match is not None
            tokens.append(match[1])
        return tokens

    async def open_link(self, token: str) -> tuple[int, str]:
        response = await self.client.get(f"/request-key/link?token={token}")
        return response.status_code, await response.get_data(as_text=True)

    async def press(self, token: str) -> tuple[int, str]:
        """The button of a link."""
        response = await self.client.post(
            "/request-key/link",
            data=f"token={token}".encode(),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        return response.status_code, await response.get_data(as_text=True)

    async def key_of(self, token: str) -> str:
        status, text = await self.press(token)
        assert status == 200, text
        match = re.search(r"kx_live_[A-Za-z0-9_-]{48}", text)
        assert match is not None
        return match[0]


@pytest.fixture
def visitor(services: Services, mailbox: Mailbox) -> Visitor:
    return Visitor(create_app(services), services, mailbox)


@pytest.fixture
def app(services: Services) -> Quart:
    return create_app(services)


async def live_keys(pool: asyncpg.Pool) -> list[tuple[int, str]]:
    rows = await pool.fetch("select customer_id, key_last4 from kaixu.virtual_key where revoked_at is null order by id")
    return [tuple(row) for row in rows]


async def a_customer(operator: Operator, email: str = "ada@example.com") -> dict[str, Any]:
    """A customer that an operator has made, with a key."""
    made = await operator.send("POST", "admin-customers", {"email": email})
    customer: dict[str, Any] = made["customer"]
    await operator.send("POST", "admin-keys", {"customer_id": customer["id"], "label": "master", "role": "owner"})
    return customer
