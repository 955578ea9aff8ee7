"""`admin-plans`: the plans of kaixu.yaml, their versions and their customers. They are changed in the file."""

from __future__ import annotations

from kaixu.accounts.fields import text
from kaixu.accounts.plans import find_plan, list_plans, plan_json, version_json
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

MAX_NAME = 40


def plan_routes(services: Services) -> list[Route]:
    """The route of plans."""

    async def show(request: IncomingRequest) -> Reply:
        name = Fields(request.args).read("name", lambda value, field: text(value, field, MAX_NAME))
        if name is None:
            return json_reply({"plans": [plan_json(plan) for plan in await list_plans(services.reports)]})
        shown = await find_plan(services.reports, name)
        return json_reply({"plan": plan_json(shown.plan), "history": [version_json(one) for one in shown.versions]})

    return [operator_route(services, "GET", "admin-plans", show)]
