"""`admin-usage-chart`, `admin-usage-margin`, `admin-usage-top`: usage over time, margins, the largest."""

from __future__ import annotations

from kaixu.accounts.fields import MOST_ID, bounded
from kaixu.api.report_reply import read_format, report_reply
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.margin import (
    MARGIN,
    MOST_ROWS,
    MOST_TOP,
    ROWS,
    TOP,
    TOP_REPORT,
    MarginQuestion,
    MarginRow,
    read_margin,
    usage_margin,
)
from kaixu.reports.own_choice import chain_of
from kaixu.reports.shared_reads import SharedReads
from kaixu.reports.table import Report
from kaixu.reports.usage_chart import CHART, read_question, usage_chart


def usage_report_routes(services: Services) -> list[Route]:
    """The routes of operators' reports."""
    shared = SharedReads()

    async def read_margin_table(request: IncomingRequest, question: MarginQuestion, report: Report[MarginRow]) -> Reply:
        args = request.args
        asked = report.name, tuple(sorted(args.items()))
        table = await shared.read(asked, lambda: usage_margin(services.reports, args, question, report))
        return report_reply(request, table)

    async def chart(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        read_format(query)
        customer_id, key_id = (
            query.read(name, lambda value, field: bounded(value, field, MOST_ID, least=1))
            for name in ("customer_id", "api_key_id")
        )
        chain_id = None
        if key_id is not None:
            if customer_id is None:
                raise Unprocessable("`api_key_id` needs `customer_id`", field="api_key_id")
            chain_id = await chain_of(services.reports, key_id, customer_id)
        args = request.args
        question = read_question(args, customer_id=customer_id, chain_id=chain_id)
        asked = CHART.name, tuple(sorted(args.items()))
        return report_reply(request, await shared.read(asked, lambda: usage_chart(services.reports, args, question)))

    async def margin(request: IncomingRequest) -> Reply:
        read_format(Fields(request.args))
        question = read_margin(request.args, default_by="customer", most=MOST_ROWS, default=ROWS)
        return await read_margin_table(request, question, MARGIN)

    async def top(request: IncomingRequest) -> Reply:
        read_format(Fields(request.args))
        question = read_margin(request.args, default_by="customer", most=MOST_TOP, default=TOP)
        return await read_margin_table(request, question, TOP_REPORT)

    return [
        operator_route(services, "GET", "admin-usage-chart", chart),
        operator_route(services, "GET", "admin-usage-margin", margin),
        operator_route(services, "GET", "admin-usage-top", top),
    ]
