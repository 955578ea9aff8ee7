"""`user-integrations`, `user-integration-settings`, `…-secrets`: what integrations leave to customers."""

from __future__ import annotations

import msgspec

from kaixu.accounts.fields import require_known
from kaixu.accounts.integration_secrets import SecretName, clear_secret, declared_title, set_secret
from kaixu.accounts.integration_settings import change_settings
from kaixu.accounts.own_integrations import left_to_customers, own_integrations, own_messages, require_own_settings
from kaixu.api.admin.integration_secrets import required_name
from kaixu.api.admin.integration_settings import MOST_RESET
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import RoleTooLow
from kaixu.reports.own_key import OwnKey, find_own_key
from kaixu.reports.values import instant

from .credential import credential_of, own_route


def own_integration_routes(services: Services) -> list[Route]:
    """The routes, for keys of the roles admin and owner."""
    sealer = sealer_of(services.secrets)

    async def own_key(request: IncomingRequest) -> OwnKey:
        own = await find_own_key(services.pool, credential_of(services, request))
        if not own.may_see_customer:
            raise RoleTooLow(
                "what integrations store needs a key with the role admin or owner", hint="Use another key."
            )
        return own

    async def show(request: IncomingRequest) -> Reply:
        own = await own_key(request)
        shown = await own_integrations(services.reports, own.customer_id, services.catalog.declared)
        listed = [
            msgspec.structs.asdict(one)
            | {"secrets": [msgspec.structs.asdict(each) | {"set_at": instant(each.set_at)} for each in one.secrets]}
            for one in shown
        ]
        messages = [
            msgspec.structs.asdict(one) | {"created_at": instant(one.created_at)}
            for one in await own_messages(services.reports, own.customer_id)
        ]
        return json_reply({"ok": True, "customer_id": own.customer_id, "integrations": listed, "messages": messages})

    async def change(request: IncomingRequest) -> Reply:
        own = await own_key(request)
        body = read_stored_fields(request)
        require_known(body.value, ("integration", "settings", "reset"))
        name = required_name(body, "integration")
        changes = body.raw_object("settings") or {}
        reset = body.items("reset", most=MOST_RESET) or []
        if not all(isinstance(one, str) for one in reset):
            raise body.invalid("reset", "must be a list of names")
        left = left_to_customers(services.catalog.declared)
        require_own_settings(left, name, changes, reset)
        await change_settings(
            services.pool,
            own.customer_id,
            name,
            changes,
            reset,
            integrations=left,
            actor=actor_of(own),
            request_id=request.request_id,
        )
        return json_reply({"ok": True})

    async def store(request: IncomingRequest) -> Reply:
        own = await own_key(request)
        body = read_stored_fields(request)
        require_known(body.value, ("integration", "name", "value"))
        stored = await set_secret(
            services.pool,
            sealer,
            secret_of(own, body),
            body.get("value"),
            None,
            integrations=left_to_customers(services.catalog.declared),
            actor=actor_of(own),
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "set_at": instant(stored.set_at)})

    async def clear(request: IncomingRequest) -> Reply:
        own = await own_key(request)
        body = read_stored_fields(request)
        require_known(body.value, ("integration", "name"))
        secret = secret_of(own, body)
        declared_title(secret, left_to_customers(services.catalog.declared))
        cleared = await clear_secret(services.pool, secret, actor=actor_of(own), request_id=request.request_id)
        return json_reply({"ok": True, "cleared": cleared})

    return [
        own_route("GET", "user-integrations", show),
        own_route("PATCH", "user-integration-settings", change),
        own_route("PUT", "user-integration-secrets", store),
        own_route("DELETE", "user-integration-secrets", clear),
    ]


def secret_of(own: OwnKey, body: Fields) -> SecretName:
    """The secret that a request names, of the key's own customer. Raises `Invalid`, `Unprocessable`."""
    return SecretName(own.customer_id, required_name(body, "integration"), required_name(body, "name"))


def actor_of(own: OwnKey) -> str:
    """Who makes a change, in the audit log."""
    return f"key:{own.key_last4}"
