"""`admin-audit`: the audit log, by filters and pages, as JSON, CSV or HTML."""

from __future__ import annotations

from kaixu.api.report_reply import read_format, report_reply
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.audit import audit_page, audit_table, page_json


def audit_routes(services: Services) -> list[Route]:
    """The route of the audit log."""

    async def show(request: IncomingRequest) -> Reply:
        form = read_format(Fields(request.args))
        page = await audit_page(services.reports, request.args)
        return json_reply(page_json(page)) if form == "json" else report_reply(request, audit_table(page))

    return [operator_route(services, "GET", "admin-audit", show)]
