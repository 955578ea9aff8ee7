"""`admin-integration-settings`: a customer's settings of integrations."""

from __future__ import annotations

import msgspec

from kaixu.accounts.fields import identifier, require_known
from kaixu.accounts.integration_settings import change_settings, list_settings
from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .integration_secrets import required_name

CHANGEABLE = ("customer_id", "integration", "settings", "reset")
MOST_RESET = 100


def integration_setting_routes(services: Services) -> list[Route]:
    """The routes of customers' settings of integrations."""

    async def show(request: IncomingRequest) -> Reply:
        customer_id = identifier(Fields(request.args).get("customer_id"), "customer_id")
        shown = await list_settings(services.reports, customer_id, services.catalog.declared)
        return json_reply(
            {"ok": True, "customer_id": customer_id, "integrations": [msgspec.structs.asdict(one) for one in shown]}
        )

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, CHANGEABLE)
        customer_id = body.read("customer_id", identifier)
        reset = body.items("reset", most=MOST_RESET) or []
        if not all(isinstance(one, str) for one in reset):
            raise body.invalid("reset", "must be a list of names")
        changed = await change_settings(
            services.pool,
            customer_id,
            required_name(body, "integration"),
            body.raw_object("settings") or {},
            reset,
            integrations=services.catalog.declared,
            off=[state.name for state in services.catalog.integrations.values() if state.state != "on"],
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "customer_id": customer_id, **msgspec.structs.asdict(changed)})

    return [
        operator_route(services, "GET", "admin-integration-settings", show),
        operator_route(services, "PATCH", "admin-integration-settings", change, access=CUSTOMERS),
    ]
