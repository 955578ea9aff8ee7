"""`admin-integration-secrets`: whether a customer's secrets at integrations are set; set and clear them."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.accounts.fields import identifier, require_known, text
from kaixu.accounts.integration_secrets import SecretName, ShownSecret, clear_secret, list_secrets, set_secret
from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import Invalid
from kaixu.reports.values import instant

NAMED = ("customer_id", "integration", "name")
SETTABLE = (*NAMED, "value", "meta")
MOST_NAME = 100


def integration_secret_routes(services: Services) -> list[Route]:
    """The routes of customers' secrets. No reply has a value."""
    sealer = sealer_of(services.secrets)

    async def show(request: IncomingRequest) -> Reply:
        customer_id = identifier(Fields(request.args).get("customer_id"), "customer_id")
        secrets = await list_secrets(services.reports, customer_id, services.catalog.declared)
        return json_reply({"ok": True, "customer_id": customer_id, "secrets": [secret_json(one) for one in secrets]})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, SETTABLE)
        secret = read_name(body)
        stored = await set_secret(
            services.pool,
            sealer,
            secret,
            body.get("value"),
            body.raw_object("meta"),
            integrations=services.catalog.declared,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "customer_id": secret.customer_id, "secret": secret_json(stored)})

    async def clear(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, NAMED)
        secret = read_name(body)
        cleared = await clear_secret(services.pool, secret, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "customer_id": secret.customer_id, "cleared": cleared})

    return [
        operator_route(services, "GET", "admin-integration-secrets", show),
        operator_route(services, "PUT", "admin-integration-secrets", change, access=CUSTOMERS),
        operator_route(services, "DELETE", "admin-integration-secrets", clear, access=CUSTOMERS),
    ]


def read_name(body: Fields) -> SecretName:
    """Which secret a request names. Raises `Invalid`, `Unprocessable`."""
    return SecretName(
        body.read("customer_id", identifier), required_name(body, "integration"), required_name(body, "name")
    )


def required_name(body: Fields, field: str) -> str:
    """A name. Raises `Invalid`, `Unprocessable`."""
    name = text(body.get(field), field, MOST_NAME)
    if name is None:
        raise Invalid(f"`{field}` is missing", field=field)
    return name


def secret_json(secret: ShownSecret) -> dict[str, Any]:
    """A secret, without its value."""
    return msgspec.structs.asdict(secret) | {"set_at": instant(secret.set_at)}
