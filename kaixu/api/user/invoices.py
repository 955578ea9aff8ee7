"""`user-invoices`: the invoice or draft of a month, as far as the key may see it; the list of all; their PDFs."""

from __future__ import annotations

from kaixu.accounts.fields import MOST_ID, bounded, text
from kaixu.api.admin.invoices import pdf_reply
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.invoices.own import own_invoice, own_invoices, own_month, own_numbered
from kaixu.invoices.views import read_pdf, row_json, view_json
from kaixu.plugin.errors import Invalid
from kaixu.reports.own_key import find_own_key, named_month

from .credential import credential_of, own_route

#: The length of a page of the list, by default and at most.
LISTED, MOST_LISTED = 50, 200


def user_invoice_routes(services: Services) -> list[Route]:
    """The routes of a customer's own invoices."""

    async def show(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        view = await own_month(
            services.reports,
            services.invoices,
            own.customer_id,
            named_month(request.args),
            chain_id=own.chain_id,
            may_see_customer=own.may_see_customer,
            statements=services.statements,
        )
        return json_reply(view_json(view))

    async def listed(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        limit = bounded(request.args.get("limit"), "limit", MOST_LISTED, least=1) or LISTED
        before_id = bounded(request.args.get("before_id"), "before_id", MOST_ID, least=1)
        rows = await own_invoices(
            services.reports,
            own.customer_id,
            before_id=before_id,
            limit=limit + 1,
            may_see_customer=own.may_see_customer,
        )
        page = rows[:limit]
        following = page[-1].id if len(rows) > limit else None
        return json_reply({"invoices": [row_json(row) for row in page], "next_before_id": following})

    async def pdf(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        if number := text(request.args.get("number"), "number", 80):
            stored = await own_numbered(
                services.reports, own.customer_id, number, may_see_customer=own.may_see_customer
            )
            return pdf_reply(stored.name, await read_pdf(services.reports, stored))
        month = named_month(request.args)
        if month is None:
            raise Invalid("`month` is missing", field="month")
        stored = await own_invoice(services.reports, own.customer_id, month, may_see_customer=own.may_see_customer)
        return pdf_reply(stored.name, await read_pdf(services.reports, stored))

    return [
        own_route("GET", "user-invoices", show),
        own_route("GET", "user-invoice-list", listed),
        own_route("GET", "user-invoice-pdf", pdf),
    ]
