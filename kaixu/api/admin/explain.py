"""`admin-explain`: how a call's cost came about. `admin-trace`: what happened to it, step by step."""

from __future__ import annotations

from kaixu.accounts.fields import bounded, text
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Invalid
from kaixu.reports.explain import explain
from kaixu.reports.explain_json import charge_json
from kaixu.reports.trace import trace_json
from kaixu.reports.trace_named import trace_named

#: The longest id of an event, a ticket or a request.
MAX_ID = 200

#: How many months a request id is searched in, and at most.
MONTHS, MOST_MONTHS = 2, 120


def explain_routes(services: Services) -> list[Route]:
    """The route for operators."""

    async def show(request: IncomingRequest) -> Reply:
        charges = await explain(services.reports, read_event(request))
        return json_reply({"charges": [charge_json(one, is_operator=True) for one in charges]})

    async def life(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        months = query.read("months", lambda value, name: bounded(value, name, MOST_MONTHS, least=1)) or MONTHS
        found = await trace_named(services.reports, read_event(request), months=months)
        return json_reply({"request_id": found.request_id, "steps": trace_json(found.steps)})

    return [
        operator_route(services, "GET", "admin-explain", show),
        operator_route(services, "GET", "admin-trace", life),
    ]


def read_event(request: IncomingRequest) -> str:
    """`event`: an event's id, a ticket or a request id. Raises `Invalid`, `Unprocessable`."""
    named = text(Fields(request.args).get("event"), "event", MAX_ID)
    if not named:
        raise Invalid("`event` is missing", hint="Send an event's id, a ticket or a request id.", field="event")
    return named
