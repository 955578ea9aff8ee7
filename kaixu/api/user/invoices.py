"""`user-invoices`: the invoice or draft of a month, as far as the key may see it; and its PDF."""

from __future__ import annotations

from kaixu.accounts import fields
from kaixu.api.admin.invoices import pdf_reply
from kaixu.edge.fields import Fields
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.invoices.own import own_invoice, own_month
from kaixu.invoices.views import read_pdf, view_json
from kaixu.plugin.errors import Invalid
from kaixu.reports.own_key import find_own_key

from .credential import credential_of, own_route


def user_invoice_routes(services: Services) -> list[Route]:
    """The routes of a customer's own invoices."""

    async def show(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        view = await own_month(
            services.reports,
            services.invoices,
            own.customer_id,
            Fields(request.args).read("month", fields.month),
            chain_id=own.chain_id,
            may_see_customer=own.may_see_customer,
        )
        return json_reply(view_json(view))

    async def pdf(request: IncomingRequest) -> Reply:
        own = await find_own_key(services.reports, credential_of(services, request))
        month = Fields(request.args).read("month", fields.month)
        if month is None:
            raise Invalid("`month` is missing", field="month")
        stored = await own_invoice(services.reports, own.customer_id, month, may_see_customer=own.may_see_customer)
        return pdf_reply(stored.name, await read_pdf(services.reports, stored))

    return [own_route("GET", "user-invoices", show), own_route("GET", "user-invoice-pdf", pdf)]
