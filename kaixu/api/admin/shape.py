"""Rows → the fields of replies: cents for display, exact dollars beside them, times in ISO 8601."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from kaixu.accounts.customers import Customer, ListedCustomer
from kaixu.accounts.devices import ListedDevice
from kaixu.accounts.keys import Key, ListedKey
from kaixu.accounts.usage import BookUsage, CustomerUsage, KeyUsage, UsageEvent
from kaixu.config.price import NUSD_PER_CENT, cents_of_nusd, usd


def instant(moment: datetime | None) -> str | None:
    """A moment in UTC, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def month_name(month: date) -> str:
    """YYYY-MM."""
    return f"{month.year:04d}-{month.month:02d}"


def cents_or_none(nusd: int | None) -> int | None:
    """Cents, where there is an amount."""
    return None if nusd is None else cents_of_nusd(nusd)


def room(spent_nusd: int, held_nusd: int, available_nusd: int | None) -> dict[str, Any]:
    """What is spent, held and left; `available` is never shown larger than it is."""
    shown: dict[str, Any] = {
        "spent_cents": cents_of_nusd(spent_nusd),
        "held_cents": cents_of_nusd(held_nusd),
        "spent_usd": usd(spent_nusd),
        "held_usd": usd(held_nusd),
    }
    if available_nusd is not None:
        shown["available_cents"] = available_nusd // NUSD_PER_CENT
        shown["available_usd"] = usd(available_nusd)
    return shown


def customer_reply(row: Customer) -> dict[str, Any]:
    """A customer's settings."""
    return {
        "id": row.id,
        "email": row.email,
        "plan_name": row.plan_name,
        "monthly_cap_cents": cents_of_nusd(row.monthly_cap_nusd),
        "is_active": row.is_active,
        "max_devices_per_key": row.max_devices_per_key,
        "require_install_id": row.require_install_id,
        "allowed_providers": row.allowed_providers,
        "allowed_models": row.allowed_models,
        "stripe_customer_id": row.stripe_customer_id,
        "stripe_subscription_id": row.stripe_subscription_id,
        "stripe_current_period_end": instant(row.stripe_current_period_end),
        "auto_topup_enabled": row.auto_topup_enabled,
        "auto_topup_threshold_cents": cents_or_none(row.auto_topup_threshold_nusd),
        "auto_topup_amount_cents": cents_or_none(row.auto_topup_amount_nusd),
        "max_vectors": row.max_vectors,
        "created_at": instant(row.created_at),
    }


def listed_customer_reply(row: ListedCustomer) -> dict[str, Any]:
    """A customer in the list, with this month's figures."""
    available = max(0, row.monthly_cap_nusd + row.extra_nusd - row.spent_nusd - row.held_nusd)
    return customer_reply(row) | {
        "active_keys": row.active_keys,
        "has_netlify_token": False,
        "extra_cents": cents_of_nusd(row.extra_nusd),
        **room(row.spent_nusd, row.held_nusd, available),
    }


def key_reply(row: Key) -> dict[str, Any]:
    """A key's settings; of the key itself only the last four characters are known."""
    return {
        "id": row.id,
        "customer_id": row.customer_id,
        "key_last4": row.key_last4,
        "label": row.label,
        "role": row.role,
        "monthly_cap_cents": cents_or_none(row.monthly_cap_nusd),
        "rpm_limit": row.rpm_limit,
        "rpd_limit": row.rpd_limit,
        "max_devices": row.max_devices,
        "require_install_id": row.require_install_id,
        "allowed_providers": row.allowed_providers,
        "allowed_models": row.allowed_models,
        "allowed_collections": row.allowed_collections,
        "created_at": instant(row.created_at),
        "revoked_at": instant(row.revoked_at),
    }


def listed_key_reply(row: ListedKey) -> dict[str, Any]:
    """A key in the list, with what its chain spent this month."""
    available = None
    if row.monthly_cap_nusd is not None:
        available = max(0, row.monthly_cap_nusd - row.spent_nusd - row.held_nusd)
    return key_reply(row) | {"can_reveal": False, **room(row.spent_nusd, row.held_nusd, available)}


def device_reply(row: ListedDevice) -> dict[str, Any]:
    """A device in the list."""
    return {
        "api_key_id": row.key_id,
        "key_last4": row.key_last4,
        "key_label": row.key_label,
        "install_id": row.install_id,
        "device_label": row.device_label,
        "first_seen_at": instant(row.first_seen_at),
        "last_seen_at": instant(row.last_seen_at),
        "revoked_at": instant(row.revoked_at),
        "revoked_by": row.revoked_by,
        "last_seen_ua": row.last_seen_agent,
    }


def customer_usage_reply(usage: CustomerUsage) -> dict[str, Any]:
    """A customer's month: total, keys, newest calls."""
    total = usage.total
    return {
        "customer": {
            "id": usage.customer.id,
            "monthly_cap_cents": cents_of_nusd(usage.customer.monthly_cap_nusd),
            "email": usage.customer.email,
            "plan_name": usage.customer.plan_name,
        },
        "month": month_name(usage.month),
        "rollup": {
            **room(total.spent_nusd, total.held_nusd, usage.available_nusd),
            "cap_cents": cents_of_nusd(usage.cap_nusd),
            "cap_usd": usd(usage.cap_nusd),
            "extra_cents": cents_of_nusd(total.extra_nusd),
            "extra_usd": usd(total.extra_nusd),
            "vendor_cost_usd": usd(total.vendor_cost_nusd),
            "uncosted_usd": usd(total.uncosted_nusd),
            "margin_usd": usd(total.spent_nusd - total.uncosted_nusd - total.vendor_cost_nusd),
            "calls": total.calls,
            "input_tokens": total.input_tokens,
            "output_tokens": total.output_tokens,
            "updated_at": instant(total.updated_at),
        },
        "books": [book_usage_reply(row) for row in usage.books],
        "per_key": [key_usage_reply(row) for row in usage.keys],
        "events": [event_reply(row) for row in usage.events],
    }


def book_usage_reply(row: BookUsage) -> dict[str, Any]:
    """What one book has of the month; the cap holds for all books together."""
    return {
        "book": row.book,
        **room(row.spent_nusd, row.held_nusd, None),
        "vendor_cost_usd": usd(row.vendor_cost_nusd),
        "uncosted_usd": usd(row.uncosted_nusd),
        "calls": row.calls,
    }


def key_usage_reply(row: KeyUsage) -> dict[str, Any]:
    """What a key and those it replaced used."""
    available = None if row.cap_nusd is None else max(0, row.cap_nusd - row.spent_nusd - row.held_nusd)
    return {
        "id": row.key_id,
        "key_last4": row.key_last4,
        "label": row.label,
        **room(row.spent_nusd, row.held_nusd, available),
        "spent_usd_by_book": {book: usd(spent) for book, spent in sorted(row.books.items())},
        "vendor_cost_usd": usd(row.vendor_cost_nusd),
        "uncosted_usd": usd(row.uncosted_nusd),
        "margin_usd": usd(row.spent_nusd - row.uncosted_nusd - row.vendor_cost_nusd),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "updated_at": instant(row.updated_at),
    }


def event_reply(row: UsageEvent) -> dict[str, Any]:
    """One call as it was billed; `call` tells which deployment served it, and how many tries that took."""
    units = dict(row.units or {})
    course = units.pop("call", None)
    return {
        "id": row.id,
        "api_key_id": row.key_id,
        "book": row.book,
        "provider": row.provider,
        "model": row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_input_tokens": row.cached_input_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "units": units or None,
        "call": course,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
        "vendor_cost_usd": usd(row.vendor_cost_nusd) if row.vendor_cost_known else None,
        "price_id": row.price_id,
        "usage_source": row.usage_source,
        "end": row.end_reason,
        "install_id": row.install_id,
        "request_id": row.request_id,
        "duration_ms": row.duration_ms,
        "created_at": instant(row.created_at),
    }
