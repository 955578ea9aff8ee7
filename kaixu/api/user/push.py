"""`push-whoami` and `user-push-charges`: who a key is, and what its account paid for pushes."""

from __future__ import annotations

from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.own_key import find_own_key
from kaixu.reports.push_charges import push_charges, push_charges_json

from .credential import credential_of, own_route


def push_routes(services: Services) -> list[Route]:
    """The routes of both."""

    async def whoami(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        return json_reply(
            {
                "ok": True,
                "api_key_id": own.key_id,
                "customer_id": own.customer_id,
                "customer_email": own.email,
                "role": own.role,
                "key_last4": own.key_last4,
            }
        )

    async def charges(request: IncomingRequest) -> Reply:
        month = await push_charges(services.reports, credential_of(services, request), request.args)
        return json_reply(push_charges_json(month, services.statements))

    return [
        own_route("GET", "push-whoami", whoami),
        own_route("GET", "user-push-charges", charges),
    ]
