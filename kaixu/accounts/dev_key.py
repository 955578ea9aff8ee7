"""The key that `--dev` prints: created once, stored beside the generated secrets, replaced when it stops working."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from kaixu.plugin.errors import Conflict, KaixuError

from .customers import create_customer, find_customer
from .key_material import is_own_key_shaped
from .keys import create_key
from .sessions import session_owner

EMAIL = "dev@localhost.localdomain"
BY = {"actor": "system", "request_id": "serve-dev"}


async def dev_key(pool: asyncpg.Pool, *, peppers: Sequence[str], home: Path, cap_nusd: int) -> str:
    """A working key of the development customer."""
    path = home / "dev-key"
    key = path.read_text().strip() if path.exists() else ""
    if is_own_key_shaped(key):
        try:
            await session_owner(pool, key, peppers=peppers)
        except KaixuError:
            pass  # revoked, or of another database
        else:
            return key
    try:
        customer = await create_customer(pool, {"email": EMAIL, "plan_name": "dev"}, default_cap_nusd=cap_nusd, **BY)
    except Conflict:
        customer = await find_customer(pool, EMAIL)
    made = await create_key(pool, customer.id, {"label": "dev", "role": "owner"}, pepper=peppers[0], **BY)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(made.key)
    return made.key
