"""`admin-devices`: list, revoke, unrevoke."""

from __future__ import annotations

from kaixu.accounts.device_list import device_page
from kaixu.accounts.devices import change_device
from kaixu.accounts.fields import flag, identifier, install_id, require_known
from kaixu.accounts.operator_identity import KEYS
from kaixu.api.admin.replies import device_reply
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid

KNOWN = ("api_key_id", "install_id", "revoked")


def device_routes(services: Services) -> list[Route]:
    """The routes of devices."""

    async def list_all(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        customer_id = query.read("customer_id", identifier)
        key_id = query.read("api_key_id", identifier) if request.args.get("api_key_id") else None
        page = await device_page(services.reports, customer_id, key_id, request.args)
        return json_reply({"devices": [device_reply(row) for row in page.devices], "next_cursor": page.next_cursor})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        revoked = body.read("revoked", flag)
        if revoked is None:
            raise Invalid("`revoked` is missing", field="revoked")
        await change_device(
            services.pool,
            body.read("api_key_id", identifier),
            body.read("install_id", install_id),
            revoked=revoked,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True})

    return [
        operator_route(services, "GET", "admin-devices", list_all),
        operator_route(services, "PATCH", "admin-devices", change, access=KEYS),
    ]
