"""`admin-models`: the models that can be called: all of them, or those of a customer or a key."""

from __future__ import annotations

from kaixu.accounts.fields import identifier
from kaixu.accounts.keys import key_for_operator
from kaixu.api.openai.models import list_callable, model_replies, models_of_key
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Conflict, Unauthenticated


def model_list_routes(services: Services) -> list[Route]:
    """The route of models for operators."""

    async def show(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        key_id = query.read("key_id", identifier) if query.get("key_id") else None
        if key_id is None and query.get("customer_id"):
            key_id = (await key_for_operator(services.pool, query.read("customer_id", identifier))).id
        if key_id is None:
            return json_reply({"models": model_replies(list_callable(services.catalog)), "key_id": None})
        try:
            models = await models_of_key(services, key_id)
        except Unauthenticated as error:  # about the key, not about the operator who asks
            raise Conflict(f"key {key_id} cannot be used", hint="Choose another key.", code="NO_LIVE_KEY") from error
        return json_reply({"models": model_replies(models), "key_id": key_id})

    return [operator_route(services, "GET", "admin-models", show)]
