"""`user-invoices`: the invoice or draft of a month, as far as the key may see it; and its PDF."""

from __future__ import annotations

from kaixu.accounts import fields
from kaixu.api.admin.invoices import pdf_reply
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import Fields
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.invoices.own import CallerKey, find_caller, own_invoice, own_month
from kaixu.invoices.views import read_pdf, view_json
from kaixu.plugin.errors import Invalid


def user_invoice_routes(services: Services) -> list[Route]:
    """The routes of a customer's own invoices."""

    async def caller_of(request: IncomingRequest) -> CallerKey:
        caller = read_caller(request, services.secrets)
        return await find_caller(
            services.pool, key_hash=caller.key_hash, legacy_hash=caller.legacy_hash, key_id=caller.key_id
        )

    async def show(request: IncomingRequest) -> Reply:
        key = await caller_of(request)
        month = Fields(request.args).read("month", fields.month)
        view = view_json(await own_month(services.reports, services.invoices, key, month))
        return json_reply(view, headers={"cache-control": "no-store"})

    async def pdf(request: IncomingRequest) -> Reply:
        key = await caller_of(request)
        month = Fields(request.args).read("month", fields.month)
        if month is None:
            raise Invalid("`month` is missing", field="month")
        stored = await own_invoice(services.reports, key, month)
        return pdf_reply(stored.name, await read_pdf(services.reports, stored))

    return [
        Route("GET", function_paths("user-invoices"), show, auth="key", rate="reading"),
        Route("GET", function_paths("user-invoice-pdf"), pdf, auth="key", rate="reading"),
    ]
