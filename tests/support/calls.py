"""Calls without a gateway: admitted and settled directly with the two SQL functions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from kaixu.config.price import Price
from kaixu.metering.identity import new_ticket
from kaixu.metering.pricing import cost_nusd
from kaixu.plugin.types import Usage
from kaixu.store import admission
from kaixu.store.admission import Ask, Settled, Settlement, Verdict
from kaixu.store.prices import price_version

OWNER = uuid4()
PRICE = Price(
    input=196_500_000,
    output=786_000_000,
    cached_input=98_250_000,
    cache_write=196_500_000,
    reasoning=786_000_000,
)
COST = Price(
    input=150_000_000,
    output=600_000_000,
    cached_input=75_000_000,
    cache_write=150_000_000,
    reasoning=600_000_000,
)


async def admit(
    pool: asyncpg.Pool,
    key_id: int | None,
    *,
    most: int = 10**9,
    least: int | None = None,
    install_id: str | None = None,
    provider: str = "up",
    model: str = "m",
    key_hash: bytes | None = None,
    legacy_hash: bytes | None = None,
    request_id: str = "r",
    operation: str = "chat",
    price_id: int = 1,
    ticket: UUID | None = None,
    default_rpm: int = 10**6,
    app_id: str | None = None,
    build_id: str | None = None,
    end_user: str | None = None,
    book: str = "ai",
    most_tokens: int = 0,
    least_tokens: int | None = None,
    names: str = "",
) -> tuple[Ask, Verdict]:
    """Admit one call."""
    ask = asking(
        key_id, most=most, least=least, install_id=install_id, provider=provider, model=model, key_hash=key_hash,
        legacy_hash=legacy_hash, request_id=request_id, operation=operation, price_id=price_id, ticket=ticket,
        app_id=app_id, build_id=build_id, end_user=end_user, book=book, most_tokens=most_tokens,
        least_tokens=least_tokens, names=names,
    )  # fmt: skip
    [verdict] = await admission.admit(pool, [ask], owner=OWNER, lifetime_s=60, default_rpm=default_rpm)
    return ask, verdict


def asking(
    key_id: int | None,
    *,
    most: int = 10**9,
    least: int | None = None,
    install_id: str | None = None,
    provider: str = "up",
    model: str = "m",
    key_hash: bytes | None = None,
    legacy_hash: bytes | None = None,
    request_id: str = "r",
    operation: str = "chat",
    price_id: int = 1,
    ticket: UUID | None = None,
    app_id: str | None = None,
    build_id: str | None = None,
    end_user: str | None = None,
    book: str = "ai",
    most_tokens: int = 0,
    least_tokens: int | None = None,
    names: str = "",
) -> Ask:
    """What `admit` asks."""
    return Ask(
        ticket or new_ticket(), key_hash, legacy_hash, key_id, install_id, "agent", 0, operation, provider, provider, model, book,
        price_id, most, most if least is None else least, request_id, app_id, build_id, end_user,
        most_tokens, most_tokens if least_tokens is None else least_tokens, names,
    )  # fmt: skip


async def settle(
    pool: asyncpg.Pool,
    ask: Ask,
    verdict: Verdict,
    usage: Usage,
    *,
    cost: int,
    vendor_cost: int = 0,
    end_reason: str = "complete",
    usage_source: str = "provider",
    units: dict[str, Any] | None = None,
    admitted_at: datetime | None = None,
    duration_ms: int = 12,
) -> Settled:
    """Settle a call."""
    settlement = settling(
        ask, verdict, usage, cost=cost, vendor_cost=vendor_cost, end_reason=end_reason, usage_source=usage_source,
        units=units, admitted_at=admitted_at, duration_ms=duration_ms,
    )  # fmt: skip
    [settled] = await admission.settle(pool, [settlement])
    return settled


def settling(
    ask: Ask,
    verdict: Verdict,
    usage: Usage,
    *,
    cost: int,
    vendor_cost: int = 0,
    end_reason: str = "complete",
    usage_source: str = "provider",
    units: dict[str, Any] | None = None,
    admitted_at: datetime | None = None,
    duration_ms: int = 12,
) -> Settlement:
    """What `settle` writes."""
    assert verdict.customer_id is not None
    assert verdict.key_id is not None
    assert verdict.chain_id is not None
    return Settlement(
        ask.ticket, verdict.customer_id, verdict.key_id, verdict.chain_id, verdict.month, ask.book, ask.operation,
        ask.provider, ask.model, ask.price_id, ask.install_id, ask.request_id, admitted_at or verdict.admitted_at or datetime.now(UTC),
        duration_ms, end_reason,
        usage_source, cost, vendor_cost, usage.input_tokens, usage.output_tokens, usage.cached_input_tokens,
        usage.cache_write_tokens, usage.reasoning_tokens, units,
        app_id=ask.app_id, build_id=ask.build_id, end_user=ask.end_user,
    )  # fmt: skip


async def billed(
    pool: asyncpg.Pool,
    key_id: int,
    usage: Usage,
    *,
    cost: int | None = None,
    end_reason: str = "complete",
    usage_source: str = "provider",
    request_id: str = "r",
    install_id: str | None = None,
    operation: str = "chat",
    units: dict[str, Any] | None = None,
    most: int = 10**9,
) -> Ask:
    """One complete call at `PRICE`, billed as metering does, or for `cost`; `most` is reserved."""
    price_id = await price_version(pool, provider="up", model="m", price=PRICE, cost=COST)
    ask, verdict = await admit(
        pool,
        key_id,
        request_id=request_id,
        install_id=install_id,
        operation=operation,
        price_id=price_id,
        most=most,
    )
    assert verdict.refused is None, verdict.refused
    await settle(
        pool,
        ask,
        verdict,
        usage,
        cost=cost_nusd(usage, PRICE) if cost is None else cost,
        vendor_cost=cost_nusd(usage, COST),
        end_reason=end_reason,
        usage_source=usage_source,
        units=units,
    )
    return ask
