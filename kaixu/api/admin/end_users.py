"""`admin-end-users`: the monthly cap of one end user of a customer."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.end_users import EndUser, end_user_name, set_end_user_cap
from kaixu.accounts.fields import cents, identifier, require_known
from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid
from kaixu.reports.values import cents_or_none

KNOWN = ("customer_id", "end_user", "monthly_cap_cents")


def end_user_routes(services: Services) -> list[Route]:
    """The route of end users' caps."""

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        if "monthly_cap_cents" not in body.value:
            raise Invalid("`monthly_cap_cents` is missing", hint="null removes the cap.", field="monthly_cap_cents")
        row = await set_end_user_cap(
            services.pool,
            body.read("customer_id", identifier),
            body.read("end_user", end_user_name),
            body.read("monthly_cap_cents", cents),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "end_user": end_user_reply(row)})

    return [operator_route(services, "PATCH", "admin-end-users", change, access=CUSTOMERS)]


def end_user_reply(row: EndUser) -> dict[str, Any]:
    """An end user with its own cap and this month's figures."""
    return {
        "customer_id": row.customer_id,
        "end_user": row.end_user,
        "monthly_cap_cents": cents_or_none(row.monthly_cap_nusd),
        "month": {
            "month": f"{row.month:%Y-%m}",
            "calls": row.calls,
            "spent_cents": cents_of_nusd(row.spent_nusd),
            "held_cents": cents_of_nusd(row.held_nusd),
            "spent_usd": usd(row.spent_nusd),
            "held_usd": usd(row.held_nusd),
        },
    }
