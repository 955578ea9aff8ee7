"""`admin-devices`: list, revoke, let in again."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from kaixu.accounts import fields
from kaixu.accounts.devices import change_device, list_devices
from kaixu.edge.json_body import object_of
from kaixu.edge.operators import ACTOR, OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid

from .paging import page_of
from .shape import device_reply

MOST_LISTED = 500

CHANGEABLE = ("api_key_id", "install_id", "revoked")


def device_routes(services: Services) -> Blueprint:
    """The routes, bound to one gateway."""
    routes = OperatorRoutes("admin_devices", services)

    @routes.at("admin-devices", methods=["GET"])
    async def listed() -> Response:
        customer_id = fields.identifier(request.args.get("customer_id"), "customer_id")
        named = request.args.get("api_key_id")
        key_id = fields.identifier(named, "api_key_id") if named else None
        rows = await list_devices(services.reports, customer_id, key_id=key_id, limit=page_of(MOST_LISTED).limit)
        return reply({"devices": [device_reply(row) for row in rows]})

    @routes.at("admin-devices", methods=["PATCH"])
    async def change() -> Response:
        given = await object_of(request)
        fields.require_known(given, CHANGEABLE)
        revoked = fields.flag(given.get("revoked"), "revoked")
        if revoked is None:
            raise Invalid("`revoked` is missing", field="revoked")
        await change_device(
            services.pool,
            fields.identifier(given.get("api_key_id"), "api_key_id"),
            fields.install_id(given.get("install_id"), "install_id"),
            revoked=revoked,
            actor=ACTOR,
            request_id=g.request_id,
        )
        return reply({"ok": True})

    return routes.blueprint
