"""`admin-invoices` and its kin: drafts, invoices, credit notes, PDFs, billing details."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.accounts import fields
from kaixu.accounts.fields import bounded, identifier, require_known
from kaixu.accounts.operator_identity import MONEY
from kaixu.edge.fields import Fields, read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.invoices.billing import change_billing, details_json, find_billing
from kaixu.invoices.closing import finalize_all
from kaixu.invoices.credit import credit
from kaixu.invoices.issue import finalize, void
from kaixu.invoices.mail_again import mail_again
from kaixu.invoices.month_close import STATES, close_json, issue_part, show_close
from kaixu.invoices.verify import verify
from kaixu.invoices.views import (
    list_invoices,
    make_draft,
    read_pdf,
    row_json,
    show_invoice,
    show_month,
    stored_view,
    view_json,
)
from kaixu.plugin.errors import Invalid

from .paging import read_page

MOST_LISTED = 500
MOST_LINES = 1000
#: The most invoices that one request issues in part of a month.
MOST_ISSUED = 1000
PDF = "application/pdf"


def invoice_routes(services: Services) -> list[Route]:
    """The routes of invoices, for operators."""

    async def show(request: IncomingRequest) -> Reply:
        """One by its number, or a customer's month."""
        query = Fields(request.args)
        if request.args.get("number"):
            return json_reply(view_json(await show_invoice(services.pool, query.required_text("number", most=80))))
        customer_id = query.read("customer_id", identifier)
        month = query.read("month", fields.month)
        view = await show_month(services.reports, services.invoices, customer_id, month, statements=services.statements)
        return json_reply(view_json(view))

    async def draft(request: IncomingRequest) -> Reply:
        query = Fields(request.args | read_stored_fields(request, may_be_empty=True).value)
        customer_id = query.read("customer_id", identifier)
        month = query.read("month", fields.month)
        view = await make_draft(
            services.pool,
            services.invoices,
            customer_id,
            month,
            actor=ACTOR,
            request_id=request.request_id,
            statements=services.statements,
        )
        return json_reply({"ok": True, **view_json(view)})

    async def list_all(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        page = read_page(request, MOST_LISTED)
        customer_id = request.args.get("customer_id")
        rows = await list_invoices(
            services.reports,
            customer_id=query.read("customer_id", identifier) if customer_id else None,
            month=query.read("month", fields.month),
            before_id=page.before_id,
            status=query.one_of("status", ("final", "void")),
            kind=query.one_of("kind", ("invoice", "credit_note")),
            limit=page.limit + 1,
        )
        shown = rows[: page.limit]
        return json_reply(
            {
                "invoices": [row_json(row) for row in shown],
                "next_before_id": shown[-1].id if len(rows) > page.limit else None,
            }
        )

    async def pdf(request: IncomingRequest) -> Reply:
        name = Fields(request.args).required_text("number", most=80)
        view = await show_invoice(services.pool, name)
        assert view.stored is not None
        return pdf_reply(view.stored.name, await read_pdf(services.reports, view.stored))

    async def issue(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("customer_id", "month", "all", "most", "after"))
        if body.flag("all") and body.get("most") is not None:
            return await issue_some(request, body)
        if body.flag("all"):
            closed = await finalize_all(
                services.pool,
                services.invoices,
                actor=ACTOR,
                request_id=request.request_id,
                statements=services.statements,
            )
            return json_reply({"ok": True, **msgspec.to_builtins(closed)})
        customer_id = body.read("customer_id", identifier)
        month = body.read("month", fields.month)
        if month is None:
            raise Invalid("`month` is missing", field="month")
        stored, first = await finalize(
            services.pool,
            services.invoices,
            customer_id,
            month,
            actor=ACTOR,
            request_id=request.request_id,
            statements=services.statements,
        )
        return json_reply({"ok": True, "issued": first, **view_json(stored_view(stored))})

    async def issue_some(request: IncomingRequest, body: Fields) -> Reply:
        """A part of a month."""
        month = body.read("month", fields.month)
        if month is None:
            raise Invalid("`month` is missing", field="month")
        batch = await issue_part(
            services.pool,
            services.invoices,
            month,
            after=body.read("after", lambda value, name: bounded(value, name, fields.MOST_ID)) or 0,
            most=body.read("most", lambda value, name: bounded(value, name, MOST_ISSUED, least=1)) or MOST_ISSUED,
            actor=ACTOR,
            request_id=request.request_id,
            statements=services.statements,
        )
        return json_reply({"ok": True, **msgspec.to_builtins(batch)})

    async def close(request: IncomingRequest) -> Reply:
        """A month of all customers."""
        query = Fields(request.args)
        shown = await show_close(
            services.reports,
            services.invoices,
            query.read("month", fields.month),
            state=query.one_of("state", STATES),
            after=query.read("after", lambda value, name: bounded(value, name, fields.MOST_ID)) or 0,
            limit=query.read("limit", lambda value, name: bounded(value, name, MOST_LISTED, least=1)) or 100,
        )
        return json_reply(close_json(shown))

    async def cancel(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("number", "reason"))
        stored, first = await void(
            services.pool,
            body.required_text("number", most=80),
            reason=required_reason(body),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "voided": first, "invoice": row_json(stored)})

    async def take_back(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("number", "reason", "amount_cents", "lines", "idempotency_key"))
        amount = body.read("amount_cents", lambda value, name: bounded(value, name, fields.MOST_CENTS, least=1))
        lines = read_lines(body)
        if amount is not None and lines is not None:
            raise Invalid("send either `amount_cents` or `lines`", hint="Without both, all that is left is credited.")
        note = await credit(
            services.pool,
            services.invoices,
            body.required_text("number", most=80),
            amount_cents=amount,
            lines=lines,
            reason=required_reason(body),
            actor=ACTOR,
            request_id=request.request_id,
            idempotency_key=body.read("idempotency_key", lambda value, name: fields.text(value, name, 200)),
        )
        return json_reply({"ok": True, **view_json(stored_view(note))})

    async def check(request: IncomingRequest) -> Reply:
        result = await verify(services.reports, Fields(request.args).required_text("number", most=80))
        return json_reply({"ok": not result.wrong, **msgspec.to_builtins(result)})

    async def mail(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        require_known(body.value, ("number", "email"))
        recipient = await mail_again(
            services.pool,
            services.invoices,
            body.required_text("number", most=80),
            can_mail=services.mail is not None,
            recipient=body.read("email", fields.email),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "email": recipient})

    async def show_billing(request: IncomingRequest) -> Reply:
        customer_id = Fields(request.args).read("customer_id", identifier)
        row = await find_billing(services.reports, customer_id)
        return json_reply({"customer_id": customer_id, "billing": details_json(row)})

    async def set_billing(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request)
        customer_id = body.read("customer_id", identifier)
        row = await change_billing(services.pool, customer_id, body.value, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "customer_id": customer_id, "billing": details_json(row)})

    return [
        operator_route(services, "GET", "admin-invoices", show),
        operator_route(services, "POST", "admin-invoices", draft, access=MONEY),
        operator_route(services, "GET", "admin-invoice-list", list_all),
        operator_route(services, "GET", "admin-month-close", close),
        operator_route(services, "GET", "admin-invoice-pdf", pdf),
        operator_route(services, "GET", "admin-invoice-verify", check),
        operator_route(services, "POST", "admin-invoice-finalize", issue, access=MONEY),
        operator_route(services, "POST", "admin-invoice-void", cancel, access=MONEY),
        operator_route(services, "POST", "admin-invoice-credit", take_back, access=MONEY),
        operator_route(services, "POST", "admin-invoice-mail", mail, access=MONEY),
        operator_route(services, "GET", "admin-billing", show_billing),
        operator_route(services, "PATCH", "admin-billing", set_billing, access=MONEY),
    ]


def pdf_reply(name: str, pdf: bytes) -> Reply:
    """A PDF as a download. A number has only letters, digits, dots, dashes, underscores and slashes."""
    file_name = name.replace("/", "-")
    headers = {
        "content-type": PDF,
        "content-disposition": f'attachment; filename="{file_name}.pdf"',
        "cache-control": "no-store",
    }
    return Reply(200, headers, pdf)


def required_reason(body: Fields) -> str:
    """Why something is voided or credited: it is kept, and printed on credit notes."""
    reason = body.read("reason", lambda value, name: fields.text(value, name, 300))
    if reason is None:
        raise Invalid("`reason` is missing", field="reason")
    return reason


def read_lines(body: Fields) -> list[int] | None:
    """The numbers of lines."""
    given: list[Any] | None = body.items("lines", most=MOST_LINES)
    if given is None:
        return None
    if not given:
        raise body.invalid("lines", "is empty")
    numbers = [bounded(one, f"lines[{at}]", 10**6, least=1) for at, one in enumerate(given)]
    if None in numbers:
        raise body.invalid("lines", "must be numbers of lines")
    return [number for number in numbers if number is not None]
