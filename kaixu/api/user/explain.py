"""`user-explain`: how the cost of a key's own call came about."""

from __future__ import annotations

from kaixu.api.admin.explain import read_event
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.explain import Owner, explain
from kaixu.reports.explain_json import charge_json
from kaixu.reports.own_key import own_view

from .credential import credential_of, own_route


def own_explain_routes(services: Services) -> list[Route]:
    """The route for customers: a key's own calls; those of the account for the roles admin and owner."""

    async def show(request: IncomingRequest) -> Reply:
        named = read_event(request)
        async with own_view(services.reports, credential_of(services, request)) as (db, own):
            owner = Owner(own.customer_id, None if own.may_see_customer else own.chain_id)
            charges = await explain(db, named, owner)
        return json_reply({"charges": [charge_json(one, is_operator=False) for one in charges]})

    return [own_route("GET", "user-explain", show)]
