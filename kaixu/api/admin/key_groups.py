"""`admin-key-groups`: list, create, change, delete the groups of a customer's keys."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.fields import identifier
from kaixu.accounts.key_groups import KeyGroup, change_group, create_group, customer_groups, delete_group
from kaixu.accounts.operator_identity import KEYS
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.values import budget_fields, cents_or_none, instant


def key_group_routes(services: Services) -> list[Route]:
    """The routes of groups."""

    async def list_all(request: IncomingRequest) -> Reply:
        customer_id = Fields(request.args).read("customer_id", identifier)
        groups = await customer_groups(services.reports, customer_id)
        return json_reply({"groups": [group_reply(row) for row in groups]})

    async def create(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        customer_id = identifier(body.get("customer_id") or request.args.get("customer_id"), "customer_id")
        made = await create_group(services.pool, customer_id, body, actor=ACTOR, request_id=request.request_id)
        return json_reply({"group": group_reply(made)})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        group_id = identifier(request.args.get("group_id") or body.get("group_id"), "group_id")
        group = await change_group(services.pool, group_id, body, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "group": group_reply(group)})

    async def delete(request: IncomingRequest) -> Reply:
        group_id = Fields(request.args).read("group_id", identifier)
        await delete_group(services.pool, group_id, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True})

    return [
        operator_route(services, "GET", "admin-key-groups", list_all),
        operator_route(services, "POST", "admin-key-groups", create, access=KEYS),
        operator_route(services, "PATCH", "admin-key-groups", change, access=KEYS),
        operator_route(services, "DELETE", "admin-key-groups", delete, access=KEYS),
    ]


def group_reply(row: KeyGroup) -> dict[str, Any]:
    """A group's settings, with this month's figures of the keys that are in it."""
    available = None
    if row.monthly_cap_nusd is not None:
        available = max(0, row.monthly_cap_nusd - row.spent_nusd - row.held_nusd)
    return {
        "id": row.id,
        "customer_id": row.customer_id,
        "name": row.name,
        "monthly_cap_cents": cents_or_none(row.monthly_cap_nusd),
        "day_cap_cents": cents_or_none(row.day_cap_nusd),
        "rpm_limit": row.rpm_limit,
        "tpm_limit": row.tpm_limit,
        "created_at": instant(row.created_at),
        "active_keys": row.active_keys,
        **budget_fields(row.spent_nusd, row.held_nusd, available),
    }
