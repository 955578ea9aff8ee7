"""`admin-keys`: list, create, change, rotate, revoke. A key is shown only when it is created."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from kaixu.accounts.fields import MOST_IDEMPOTENCY_KEY, identifier, overlap, text
from kaixu.accounts.key_list import key_page
from kaixu.accounts.keys import MadeKey, change_key, create_key, find_key, rotate_key
from kaixu.accounts.operator_identity import KEYS
from kaixu.api.admin.replies import key_reply, listed_key_reply
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Conflict, NotFound
from kaixu.reports.money_limits import limits_json, money_limits
from kaixu.reports.values import instant


def key_routes(services: Services) -> list[Route]:
    """The routes of keys."""
    pepper = services.secrets.key_pepper

    async def list_all(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        if "reveal_key_id" in request.args:
            await refuse_to_reveal(services, query.read("reveal_key_id", identifier))
        customer_id = query.read("customer_id", identifier)
        page = await key_page(services.reports, customer_id, request.args)
        limits = await money_limits(services.reports, customer_id, [row.id for row in page.keys])
        keys = [listed_key_reply(row, limits.of_key(row.id)) for row in page.keys]
        own = limits_json(limits.of_customer)
        of_customer = {"customer_binds": own["binds"], "customer_limits": own["money_limits"]}
        return json_reply({"keys": keys, "next_cursor": page.next_cursor, **of_customer})

    async def create(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        customer_id = identifier(body.get("customer_id") or request.args.get("customer_id"), "customer_id")
        made = await create_key(
            services.pool, customer_id, body, pepper=pepper, actor=ACTOR, request_id=request.request_id
        )
        return json_reply({"api_key": new_key_reply(made)})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        key_id = identifier(request.args.get("key_id") or body.get("key_id"), "key_id")
        key = await change_key(services.pool, key_id, body, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "key": key_reply(key)})

    async def rotate(request: IncomingRequest) -> Reply:
        key_id = Fields(request.args).read("rotate_key_id", identifier)
        query = Fields(request.args)
        again = request.args.get("idempotency_key") or request.headers.get("idempotency-key")
        made = await rotate_key(
            services.pool,
            key_id,
            pepper=pepper,
            actor=ACTOR,
            request_id=request.request_id,
            overlap_s=query.read("overlap_s", overlap) or 0,
            idempotency_key=text(again, "idempotency_key", MOST_IDEMPOTENCY_KEY),
        )
        return json_reply(
            {"rotated": True, "applied": made.applied, "old_key_id": key_id, "new_key": new_key_reply(made)}
        )

    async def delete(request: IncomingRequest) -> Reply:
        # Keys are revoked and never deleted, because usage refers to them. A missing key is no error.
        key_id = Fields(request.args).read("key_id", identifier)
        with suppress(NotFound):
            await change_key(services.pool, key_id, {"revoked": True}, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True})

    return [
        operator_route(services, "GET", "admin-keys", list_all),
        operator_route(services, "POST", "admin-keys", create, access=KEYS),
        operator_route(services, "PATCH", "admin-keys", change, access=KEYS),
        operator_route(services, "PUT", "admin-keys", rotate, access=KEYS),
        operator_route(services, "DELETE", "admin-keys", delete, access=KEYS),
    ]


async def refuse_to_reveal(services: Services, key_id: int) -> None:
    """Raises `Conflict`, because only hashes of keys are stored, or `NotFound` for an unknown key."""
    key = await find_key(services.pool, key_id)
    raise Conflict(
        f"key …{key.key_last4} was shown when it was created, and is not stored",
        hint="Rotate it to get a new key.",
        code="NOT_REVEALABLE",
    )


def new_key_reply(made: MadeKey) -> dict[str, Any]:
    """A new key; only the reply to the request that made it shows it."""
    row = made.row
    return {
        "id": row.id,
        "customer_id": row.customer_id,
        "key_last4": row.key_last4,
        "label": row.label,
        "role": row.role,
        "created_at": instant(row.created_at),
        **({"key": made.key} if made.applied else {}),
    }
