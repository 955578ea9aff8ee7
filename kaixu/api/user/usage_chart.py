"""`user-usage-chart`: usage over time of a key, or of its account for the roles admin and owner."""

from __future__ import annotations

from kaixu.accounts.fields import identifier
from kaixu.api.report_reply import read_format, report_reply
from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.own_choice import find_chain
from kaixu.reports.own_key import own_view, read_scope
from kaixu.reports.usage_chart import USER_CHART, read_question, usage_chart

from .credential import credential_of, own_route


def user_chart_routes(services: Services) -> list[Route]:
    """The route of the chart for customers."""

    async def chart(request: IncomingRequest) -> Reply:
        read_format(Fields(request.args))
        async with own_view(services.reports, credential_of(services, request)) as (db, own):
            chain_id = None if read_scope(request.args, own) == "customer" else own.chain_id
            if request.args.get("api_key_id"):
                chain_id = await find_chain(db, identifier(request.args["api_key_id"], "api_key_id"), own)
        question = read_question(request.args, customer_id=own.customer_id, chain_id=chain_id)
        if question.by in ("deployment", "customer"):
            raise Unprocessable("`by` must be one of total, provider, model, key, book", field="by")
        return report_reply(request, await usage_chart(services.reports, request.args, question, USER_CHART))

    return [own_route("GET", "user-usage-chart", chart)]
