"""Customers, keys and devices as JSON."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.customers import Customer, ListedCustomer
from kaixu.accounts.devices import ListedDevice
from kaixu.accounts.keys import Key, ListedKey
from kaixu.config.price import cents_of_nusd
from kaixu.reports.values import budget_fields, cents_or_none, instant


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
        "end_user_cap_cents": cents_or_none(row.end_user_cap_nusd),
        "created_at": instant(row.created_at),
    }


def listed_customer_reply(row: ListedCustomer) -> dict[str, Any]:
    """A customer in the list, with this month's figures."""
    available = max(0, row.monthly_cap_nusd + row.extra_nusd - row.spent_nusd - row.held_nusd)
    return customer_reply(row) | {
        "active_keys": row.active_keys,
        "has_netlify_token": False,
        "extra_cents": cents_of_nusd(row.extra_nusd),
        **budget_fields(row.spent_nusd, row.held_nusd, available),
    }


def key_reply(row: Key) -> dict[str, Any]:
    """A key's settings; only the last four characters of the key are known."""
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
    """A key in the list, with its chain's spending this month."""
    available = None
    if row.monthly_cap_nusd is not None:
        available = max(0, row.monthly_cap_nusd - row.spent_nusd - row.held_nusd)
    seen = {"last_seen_at": instant(row.last_seen_at)}
    return key_reply(row) | seen | {"can_reveal": False, **budget_fields(row.spent_nusd, row.held_nusd, available)}


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
