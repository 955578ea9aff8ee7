"""Stripe's objects in the shapes of its own published fixtures: `fixtures.json`, from github.com/stripe/openapi (MIT)."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

#: What a fixture has of features that a plain payment does not use.
UNUSED: dict[str, dict[str, Any]] = {
    "checkout.session": {
        "adaptive_pricing": {"enabled": False}, "after_expiration": None, "collected_information": None, "consent": None,
        "consent_collection": None, "currency_conversion": None, "custom_text": {
            "after_submit": None, "shipping_address": None, "submit": None, "terms_of_service_acceptance": None},
        "customer_details": None, "invoice_creation": {"enabled": False, "invoice_data": None},
        "payment_intent": None, "permissions": None, "saved_payment_method_options": None, "shipping_cost": None,
        "shipping_address_collection": None, "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "payment_method_configuration_details": None, "managed_payments": {"enabled": False}, "ui_mode": "hosted_page",
    },
    "payment_intent": {
        "canceled_at": None, "last_payment_error": None, "next_action": None, "processing": None, "shipping": None,
        "transfer_data": None, "payment_method_configuration_details": None, "managed_payments": {"enabled": False},
    },
    "charge": {"shipping": None, "source": None, "transfer_data": None, "captured": True},
    "payment_method": {"metadata": {}},
    "customer": {"discount": None, "shipping": None},
}  # fmt: skip


@cache
def fixtures() -> dict[str, Any]:
    """All fixtures, by the name of the object."""
    read: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures.json").read_text())["resources"]
    return read


def made(kind: str, **values: Any) -> dict[str, Any]:
    """An object in the shape of its fixture, with other values. Raises `AssertionError` for a field that it has not."""
    one: dict[str, Any] = copy.deepcopy(fixtures()[kind])
    for name, value in (UNUSED.get(kind, {}) | values).items():
        assert name in one, f"a {kind} has no {name}"
        one[name] = value
    return one
