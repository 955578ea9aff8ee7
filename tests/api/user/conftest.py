"""An account with a key for each role, a stranger's, and a client for each."""

from __future__ import annotations

import asyncpg
import pytest
from quart import Quart

from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token
from kaixu.plugin.types import Usage
from tests.api.admin.conftest import Operator, app, operator, services
from tests.support.calls import billed
from tests.support.money import customer, virtual_key

__all__ = ["Account", "account", "app", "operator", "services"]

ROLES = ("viewer", "deployer", "admin", "owner")


class Account:
    """An account with a key for each role, and the key `stranger` of another one. Key number n used n input tokens."""

    def __init__(self, pool: asyncpg.Pool, app: Quart, services: Services) -> None:
        self.pool = pool
        self.app = app
        self.services = services
        self.ids: dict[str, int] = {}
        self.keys: dict[str, str] = {}

    async def make(self) -> Account:
        self.customer_id = await customer(self.pool, cap_nusd=2 * 10**10)
        self.stranger_id = await customer(self.pool)
        for at, name in enumerate((*ROLES, "stranger"), start=1):
            owner, role = (self.customer_id, name) if name in ROLES else (self.stranger_id, "owner")
            self.ids[name], self.keys[name] = await virtual_key(self.pool, owner, role=role, label=f"label-{name}")
            await billed(self.pool, self.ids[name], Usage(input_tokens=at), install_id=f"phone-{name}")
        return self

    def client(self, name: str) -> Operator:
        """A client with a key."""
        return Operator(self.app, authorization=f"Bearer {self.keys[name]}")

    def session(self, name: str) -> Operator:
        """A client with a session token of a key."""
        token = make_session_token(
            self.services.secrets.jwt_secret,
            key_id=self.ids[name],
            customer_id=self.customer_id if name in ROLES else self.stranger_id,
            key_last4=self.keys[name][-4:],
            ttl_s=600,
        )
        return Operator(self.app, authorization=f"Bearer {token}")


@pytest.fixture
async def account(pool: asyncpg.Pool, app: Quart, services: Services) -> Account:
    return await Account(pool, app, services).make()
