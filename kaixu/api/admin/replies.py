"""Customers, keys and devices as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.accounts.customers import Customer, ListedCustomer, wire_names
from kaixu.accounts.device_list import ListedDevice
from kaixu.accounts.keys import Key, ListedKey
from kaixu.accounts.model_limits import shown_model_limits
from kaixu.config.price import cents_of_nusd, factor_text
from kaixu.reports.money_limits import MoneyLimit, limits_json
from kaixu.reports.values import budget_fields, cents_or_none, instant


def customer_reply(row: Customer, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A customer's settings. `shared`: its fields that are settings of integrations."""
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
        **shared,
        "max_vectors": row.max_vectors,
        "end_user_cap_cents": cents_or_none(row.end_user_cap_nusd),
        "tpm_limit": row.tpm_limit,
        "day_cap_cents": cents_or_none(row.day_cap_nusd),
        "from_plan": wire_names(row.from_plan),
        "plan_version": row.plan_version_id,
        "price_factor": factor_text(row.price_factor_millionths),
        "alert_thresholds": row.alert_thresholds,
        "alert_mail": row.alert_mail,
        "created_at": instant(row.created_at),
    }


def listed_customer_reply(row: ListedCustomer, shared: Mapping[str, Any]) -> dict[str, Any]:
    """A customer in the list, with this month's figures. `shared`: see `customer_reply`, and which secrets it has."""
    room = row.monthly_cap_nusd + row.extra_nusd - row.spent_nusd - row.held_nusd
    available = 0 if row.extra_nusd < 0 else max(0, room)  # who owes credit that was taken back has nothing
    return customer_reply(row, shared) | {
        "plan_deviations": wire_names(row.deviations),
        "active_keys": row.active_keys,
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
        "tpm_limit": row.tpm_limit,
        "day_cap_cents": cents_or_none(row.day_cap_nusd),
        "limits": shown_model_limits(row.limits),
        "expires_at": instant(row.expires_at),
        "group_id": row.group_id,
        "from_plan": row.from_plan,
        "alert_thresholds": row.alert_thresholds,
        "created_at": instant(row.created_at),
        "revoked_at": instant(row.revoked_at),
    }


def listed_key_reply(row: ListedKey, limits: Sequence[MoneyLimit]) -> dict[str, Any]:
    """A key in the list, with its chain's spending this month, and the caps that its calls must fit into."""
    available = None
    if row.monthly_cap_nusd is not None:
        available = max(0, row.monthly_cap_nusd - row.spent_nusd - row.held_nusd)
    return {
        **key_reply(row),
        "last_seen_at": instant(row.last_seen_at),
        "replaced_by": row.replaced_by,
        "can_reveal": False,
        **budget_fields(row.spent_nusd, row.held_nusd, available),
        **limits_json(limits),
    }


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
