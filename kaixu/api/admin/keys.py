"""`admin-keys`: list, create, change, rotate, revoke. A key is shown once, when it is made."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from quart import Blueprint, Response, g, request

from kaixu.accounts.fields import identifier
from kaixu.accounts.keys import MadeKey, change_key, create_key, find_key, list_keys, rotate_key
from kaixu.edge.json_body import object_of
from kaixu.edge.operators import ACTOR, OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.plugin.errors import Conflict, NotFound
from kaixu.reports.values import instant

from .paging import page_of
from .shape import key_reply, listed_key_reply

MOST_LISTED = 1000


def key_routes(services: Services) -> Blueprint:
    """The routes, bound to one gateway."""
    routes = OperatorRoutes("admin_keys", services)
    pepper = services.secrets.key_pepper

    @routes.at("admin-keys", methods=["GET"])
    async def listed() -> Response:
        if "reveal_key_id" in request.args:
            await refuse_to_reveal(services, identifier(request.args["reveal_key_id"], "reveal_key_id"))
        customer_id = identifier(request.args.get("customer_id"), "customer_id")
        page = page_of(MOST_LISTED)
        rows = await list_keys(services.reports, customer_id, limit=page.limit, before_id=page.before_id)
        return reply({"keys": [listed_key_reply(row) for row in rows]})

    @routes.at("admin-keys", methods=["POST"])
    async def create() -> Response:
        given = await object_of(request)
        customer_id = identifier(given.get("customer_id") or request.args.get("customer_id"), "customer_id")
        made = await create_key(services.pool, customer_id, given, pepper=pepper, actor=ACTOR, request_id=g.request_id)
        return reply({"api_key": made_reply(made)})

    @routes.at("admin-keys", methods=["PATCH"])
    async def change() -> Response:
        given = await object_of(request)
        key_id = identifier(request.args.get("key_id") or given.get("key_id"), "key_id")
        after = await change_key(services.pool, key_id, given, actor=ACTOR, request_id=g.request_id)
        return reply({"ok": True, "key": key_reply(after)})

    @routes.at("admin-keys", methods=["PUT"])
    async def rotate() -> Response:
        key_id = identifier(request.args.get("rotate_key_id"), "rotate_key_id")
        made = await rotate_key(services.pool, key_id, pepper=pepper, actor=ACTOR, request_id=g.request_id)
        return reply({"rotated": True, "old_key_id": key_id, "new_key": made_reply(made)})

    @routes.at("admin-keys", methods=["DELETE"])
    async def delete() -> Response:
        # Keys are never deleted, for their calls name them. One that is not there is as good as revoked.
        key_id = identifier(request.args.get("key_id"), "key_id")
        with suppress(NotFound):
            await change_key(services.pool, key_id, {"revoked": True}, actor=ACTOR, request_id=g.request_id)
        return reply({"ok": True})

    return routes.blueprint


async def refuse_to_reveal(services: Services, key_id: int) -> None:
    """Raise `Conflict`: only hashes are kept. `NotFound` where there is no such key."""
    found = await find_key(services.pool, key_id)
    raise Conflict(
        f"key …{found.key_last4} was shown once and is not kept",
        hint="Rotate it to get a new one in its place.",
        code="NOT_REVEALABLE",
    )


def made_reply(made: MadeKey) -> dict[str, Any]:
    """A new key, the only time that it is seen."""
    row = made.row
    return {
        "id": row.id,
        "customer_id": row.customer_id,
        "key_last4": row.key_last4,
        "label": row.label,
        "role": row.role,
        "created_at": instant(row.created_at),
        "key": made.key,
    }
