"""`admin-explain`: how a call's cost came about."""

from __future__ import annotations

from kaixu.accounts.fields import text
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid
from kaixu.reports.explain import explain
from kaixu.reports.explain_json import charge_json

#: The longest id of an event, a ticket or a request.
MAX_ID = 200


def explain_routes(services: Services) -> list[Route]:
    """The route for operators."""

    async def show(request: IncomingRequest) -> Reply:
        charges = await explain(services.reports, read_event(request))
        return json_reply({"charges": [charge_json(one, is_operator=True) for one in charges]})

    return [operator_route(services, "GET", "admin-explain", show)]


def read_event(request: IncomingRequest) -> str:
    """`event`: an event's id, a ticket or a request id. Raises `Invalid`, `Unprocessable`."""
    named = text(Fields(request.args).get("event"), "event", MAX_ID)
    if not named:
        raise Invalid("`event` is missing", hint="Send an event's id, a ticket or a request id.", field="event")
    return named
