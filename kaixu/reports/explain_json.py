"""An explained charge as JSON: for operators whole, for customers without what the vendor takes."""

from __future__ import annotations

from typing import Any

from kaixu.config.price import cents_of_nusd, usd

from .explain import CostLine, Explanation
from .values import instant, month_name

#: Where the figures of a bill come from.
SOURCES = {
    "provider": "the vendor reported them",
    "counted": "the gateway counted them",
    "estimated": "the gateway estimated them",
    "plugin": "an integration counted them",
}


def charge_json(one: Explanation, *, is_operator: bool) -> dict[str, Any]:
    """One charge: its lines, their sum, what was billed, and where it is on the invoice."""
    event = one.event
    units = {name: value for name, value in (event.units or {}).items() if name not in ("call", "unbilled_nusd")}
    shown: dict[str, Any] = {
        "event_id": event.id,
        "ticket": str(event.ticket),
        "request_id": event.request_id,
        "api_key_id": event.key_id,
        "operation": event.operation,
        "provider": event.provider,
        "model": event.model,
        "admitted_at": instant(event.admitted_at),
        "settled_at": instant(event.created_at),
        "duration_ms": event.duration_ms,
        "app_id": event.app_id,
        "end_user": event.end_user,
        "install_id": event.install_id,
        "end": event.end_reason,
        "usage_source": event.usage_source,
        "usage_from": SOURCES[event.usage_source],
        "units": units or None,
        "price": {"id": event.price_id, "since": instant(event.priced_at), "rates_nusd": event.rates},
        "lines": [line_json(line) for line in one.lines],
        "priced_nusd": one.priced_nusd,
        "priced_usd": None if one.priced_nusd is None else usd(one.priced_nusd),
        "billed_nusd": event.cost_nusd,
        "billed_usd": usd(event.cost_nusd),
        "billed_cents": cents_of_nusd(event.cost_nusd),
        "unbilled_nusd": event.unbilled_nusd,
        "unbilled_usd": usd(event.unbilled_nusd),
        "adds_up": one.adds_up,
        "note": one.note,
        "invoice": {
            "month": month_name(event.month),
            "book": event.book,
            "provider": event.provider,
            "model": event.model,
            "number": event.invoice_number,
            "line": event.invoice_line,
        },
    }
    if not is_operator:
        return shown
    known = event.vendor_cost_known
    return shown | {
        "customer_id": event.customer_id,
        "call": (event.units or {}).get("call"),
        "granted_nusd": event.granted_nusd,
        "vendor_cost_nusd": event.vendor_cost_nusd if known else None,
        "vendor_cost_usd": usd(event.vendor_cost_nusd) if known else None,
        "vendor_rates_nusd": event.vendor,
        "margin_nusd": event.cost_nusd - event.vendor_cost_nusd if known else None,
        "margin_usd": usd(event.cost_nusd - event.vendor_cost_nusd) if known else None,
    }


def line_json(line: CostLine) -> dict[str, Any]:
    """One line: `count` tokens or units at a rate for a million of them, exact to a millionth of a nano-dollar."""
    exact = f"{line.cost_millionths // 10**6}.{line.cost_millionths % 10**6:06d}"
    return {"kind": line.kind, "count": line.tokens, "usd_per_million": usd(line.rate), "exact_nusd": exact}
