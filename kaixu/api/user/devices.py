"""`user-devices`: the seats of a key; list, revoke, give back."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.device_list import device_page
from kaixu.accounts.devices import change_own_device
from kaixu.accounts.fields import flag, identifier, install_id, require_known
from kaixu.api.admin.replies import device_reply
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid
from kaixu.reports.own_key import OwnKey, Scope, find_own_key, read_scope

from .credential import credential_of, own_route

MAX_LISTED = 200

KNOWN = ("api_key_id", "install_id", "revoked")


def own_device_routes(services: Services) -> list[Route]:
    """The routes of a key's devices."""

    async def listed(own: OwnKey, scope: Scope) -> list[dict[str, Any]]:
        key_id = own.key_id if scope == "key" else None
        page = await device_page(services.reports, own.customer_id, key_id, {"limit": MAX_LISTED})
        return [device_reply(row) for row in page.devices]

    async def show(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        devices = await listed(own, read_scope(request.args, own))
        return json_reply({"api_key_id": own.key_id, "devices": devices})

    async def change(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.pool, credential_of(services, request))
        body = read_stored_fields(request)
        require_known(body.value, KNOWN)
        revoked = body.read("revoked", flag)
        if revoked is None:
            raise Invalid("`revoked` is missing", field="revoked")
        key_id = own.key_id if body.get("api_key_id") is None else body.read("api_key_id", identifier)
        device = await change_own_device(
            services.pool,
            own.key_id,
            key_id,
            body.read("install_id", install_id),
            revoked=revoked,
            request_id=request.request_id,
        )
        scope: Scope = "key" if device.chain_id == own.chain_id else "customer"
        return json_reply({"ok": True, "devices": await listed(own, scope)})

    return [own_route("GET", "user-devices", show), own_route("PATCH", "user-devices", change)]
