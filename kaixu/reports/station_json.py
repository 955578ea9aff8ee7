"""The station as JSON: its offer for everybody, the month for operators, and what everybody may see of the month.

Everybody sees totals of the whole gateway (and not even those with `public_totals: false`), and nothing of a single
customer: no leaders, calls or top-ups, no shares of plans and providers, which may have one customer only, and nothing
that the brain answered (docs/decisions/0035).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from kaixu.config.price import NUSD_PER_CENT, cents_of_nusd
from kaixu.config.station import PUBLIC_PATH, Station, preview_of
from kaixu.store.remote_checks import RemoteCheck

from .station import NOTHING, RecentCall, StationMonth, Totals
from .values import instant, month_name


def number(amount: Decimal) -> int | float:
    """A decimal as a JSON number: clients calculate with these."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def cents(nusd: Decimal) -> int:
    """A sum in cents, rounded half up."""
    return cents_of_nusd(int(nusd))


def offer_json(station: Station, *, for_operators: bool = False) -> dict[str, Any]:
    """The station and an example of what a spend buys. The brain's own address is for operators."""
    return {"station": station_json(station, for_operators=for_operators), "preview": preview_json(station)}


def station_json(station: Station, *, for_operators: bool) -> dict[str, Any]:
    """The station's words, addresses, prices and products."""
    return {
        "name": station.name,
        "tagline": station.tagline,
        "public_path": PUBLIC_PATH,
        "public_url": station.public_url,
        "admin_url": station.admin_url,
        "dashboard_url": station.dashboard_url,
        "brain_gate": {
            "configured": station.brain.url is not None,
            "admin_url": station.brain.url if for_operators else None,
            "public_url": station.brain.public_url,
        },
        "pricing": {
            "service_asset_name": station.tokens.name,
            "fuel_asset_name": station.fuel.name,
            "coin_asset_name": station.coins.name,
            "access_asset_name": station.keys.name,
            "bonus_return_pct": number(station.bonus_return_pct),
            "discount_pct": number(station.discount_pct),
            "rates": {
                "fuel_unit_usd": number(station.fuel.unit_usd),
                "coin_unit_usd": number(station.coins.unit_usd),
                "token_unit_usd": number(station.tokens.unit_usd),
                "key_session_usd": number(station.keys.unit_usd),
            },
        },
        "assets": [
            {
                "id": one.id,
                "name": one.name,
                "role": one.role,
                "description": one.description,
                "unit_usd": number(one.unit_usd),
            }
            for one in station.products
        ],
    }


def preview_json(station: Station) -> dict[str, Any]:
    """What the example's spend buys, with two decimals."""
    preview = preview_of(station)
    return {
        "spend_usd": preview.spend_usd,
        "base_service_units": number(Decimal(preview.base_hundredths) / 100),
        "bonus_service_units": number(Decimal(preview.bonus_hundredths) / 100),
        "effective_service_units": number(Decimal(preview.effective_hundredths) / 100),
        "discount_usd": number(Decimal(preview.discount_hundredths) / 100),
    }


def snapshot_json(
    station: Station, month: StationMonth, brain: RemoteCheck | None, *, is_ready: bool
) -> dict[str, Any]:
    """A month for operators. `is_ready`: the database answered; without it all figures are 0."""
    return {
        **offer_json(station, for_operators=True),
        "overview": overview_json(month),
        "leaders": [
            {
                "id": one.id,
                "email": one.email,
                "plan_name": one.plan_name,
                "spent_cents": cents(one.spent_nusd),
                "extra_cents": cents(one.extra_nusd),
                "token_volume": int(one.tokens),
            }
            for one in month.leaders
        ],
        "recent_events": [call_json(one) for one in month.calls],
        "plan_mix": [
            {
                "plan_name": one.plan_name,
                "customer_count": one.customers,
                "active_customer_count": one.active_customers,
                "total_cap_cents": cents(one.total_cap_nusd),
                "spent_cents": cents(one.spent_nusd),
                "token_volume": int(one.tokens),
            }
            for one in month.plans
        ],
        "provider_mix": [
            {
                "provider": one.provider,
                "event_count": int(one.calls),
                "spent_cents": cents(one.spent_nusd),
                "token_volume": int(one.tokens),
            }
            for one in month.providers
        ],
        "topup_sources": [
            {"source": one.source, "event_count": one.topups, "amount_cents": cents(one.amount_nusd)}
            for one in month.sources
        ],
        "recent_topups": [
            {
                "created_at": instant(one.created_at),
                "month": month_name(one.month),
                "source": one.source,
                "status": one.status,
                "amount_cents": cents_of_nusd(one.amount_nusd),
            }
            for one in month.topups
        ],
        "brain_gate": brain_json(station, brain),
        "storage_ready": is_ready,
    }


def call_json(call: RecentCall) -> dict[str, Any]:
    """One call. Most cost less than a cent, so the exact amount is there, too."""
    return {
        "created_at": instant(call.created_at),
        "month": month_name(call.month),
        "email": call.email,
        "provider": call.provider,
        "model": call.model,
        "cost_cents": cents_of_nusd(call.cost_nusd),
        "cost_microusd": call.cost_nusd * 10_000 // NUSD_PER_CENT,
        "token_volume": call.tokens,
    }


def overview_json(month: StationMonth) -> dict[str, Any]:
    """The totals of a month."""
    totals = month.totals
    return {
        "month": month_name(month.month),
        "customers": {"total": totals.customers, "active": totals.active_customers},
        "keys": {"total": totals.keys, "active": totals.active_keys},
        "treasury": {
            "total_cap_cents": cents(totals.total_cap_nusd),
            "spent_cents": cents(totals.spent_nusd),
            "extra_cents": cents(totals.extra_nusd),
            "token_volume": int(totals.tokens),
            "topup_count": totals.topups,
            "topup_cents": cents(totals.topup_nusd),
        },
    }


def brain_json(station: Station, found: RemoteCheck | None) -> dict[str, Any]:
    """The brain as operators see it: what it answered is passed on as it was."""
    return {
        "configured": station.brain.url is not None,
        "connected": found is not None and found.ok,
        "url": station.brain.url,
        "endpoint": None if found is None else found.endpoint,
        "error": None if found is None else found.error,
        "remote": None if found is None or found.remote is None else msgspec.json.decode(found.remote),
        "checked_at": None if found is None else instant(found.checked_at),
    }


def public_overview_json(
    station: Station, month: StationMonth, brain: RemoteCheck | None, *, is_ready: bool
) -> dict[str, Any]:
    """A month for everybody: the fields of operators, without anything of a single customer."""
    totals = month.totals if station.public_totals else NOTHING
    shown = msgspec.structs.replace(
        month, totals=totals, leaders=[], calls=[], plans=[], providers=[], sources=[], topups=[]
    )
    return {
        "ok": True,
        **snapshot_json(station, shown, None, is_ready=is_ready),
        "station": station_json(station, for_operators=False),
        "brain_gate": {
            "configured": station.brain.url is not None,
            "connected": brain is not None and brain.ok,
            "url": station.brain.public_url,
            "endpoint": None,
            "error": None,
            "remote": None,
            "checked_at": None,
        },
        "digest": digest_json(station, month, totals, is_ready=is_ready),
    }


def digest_json(station: Station, month: StationMonth, totals: Totals, *, is_ready: bool) -> dict[str, Any]:
    """The overview in one line."""
    return {
        "month": month_name(month.month),
        "live_signal": "connected" if is_ready else "config-only",
        "active_customers": totals.active_customers,
        "active_keys": totals.active_keys,
        "monthly_spend_cents": cents(totals.spent_nusd),
        "monthly_topup_cents": cents(totals.topup_nusd),
        "monthly_token_volume": int(totals.tokens),
        "applied_topups": totals.topups,
        "plan_count": len(month.plans) if station.public_totals else 0,
        "provider_count": len(month.providers) if station.public_totals else 0,
    }
