"""`kaixu invoices …`: drafts, invoices, credit notes, PDFs; the same rules as the admin API."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import msgspec
import typer

from kaixu.accounts import fields
from kaixu.accounts.customers import find_customer
from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import usd
from kaixu.invoices.billing import change_billing, details_json, find_billing
from kaixu.invoices.closing import Closed, finalize_all
from kaixu.invoices.credit import credit as issue_credit
from kaixu.invoices.issue import Statements
from kaixu.invoices.issue import finalize as issue_invoice
from kaixu.invoices.issue import void as void_invoice
from kaixu.invoices.mail_again import mail_again
from kaixu.invoices.verify import Verification
from kaixu.invoices.verify import verify as verify_invoice
from kaixu.invoices.views import (
    View,
    list_invoices,
    make_draft,
    read_pdf,
    row_json,
    show_invoice,
    show_month,
    stored_view,
    view_json,
)
from kaixu.metering.statements import statements_of

from .examples import example
from .failure import fail
from .report import print_json, print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, load_catalog, load_settings, with_database

MAX_LISTED = 500

Answer = TypeVar("Answer")

#: What lets a month be issued that `finalize --all` has counted.
WHAT_HELPS = {
    "BILLING_DETAILS_MISSING": "; set them with `kaixu invoices billing`, or `require_address: false` in kaixu.yaml",
}

commands = typer.Typer(
    no_args_is_help=True,
    help="Invoices: list, show, draft, finalize, credit, void, verify, PDF, mail, billing details.",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="invoices")


def with_section(work: Callable[[asyncpg.Pool, InvoicesSection], Awaitable[Answer]]) -> Answer:
    """Run `work` with the database and the section `invoices:` of kaixu.yaml."""

    async def run(session: CommandSession) -> Answer:
        try:
            section = load(session.settings.kaixu_config, os.environ).invoices
        except ConfigError as error:
            raise fail(error) from None
        return await work(session.pool, section)

    return with_database(run)


def own_statements() -> Statements:
    """What the books of the integrations in kaixu.yaml show in invoices; end the command if the file is invalid."""
    return statements_of(load_catalog(load_settings()))


def print_view(view: View, *, as_json: bool) -> None:
    """Print an invoice or a draft: its amounts and its lines."""
    if as_json:
        print_json(view_json(view))
        return
    shown, amounts = view_json(view), view.snapshot["amounts"]
    close = view.close
    record = {
        "number": shown["number"],
        "status": shown["status"],
        "customer": view.snapshot["customer"]["email"],
        "month": shown["month"],
        "net_usd": amounts["net_usd"],
        **{name: usd(amounts[f"{name}_cents"] * 10**7) for name in ("net", "tax", "total", "prepaid_applied", "due")},
        "sha256": shown["sha256"],
    }
    if close is not None:
        record["waits_for"] = f"{close.open_calls} running calls, {close.lost_calls} lost calls ({close.state})"
    print_record(record, as_json=False)
    rows = [
        {
            "line": line["line"],
            "what": f"{line['provider']}/{line['model']}",
            "book": line["book"],
            "kind": line["kind"],
            "month": line["month"],
            "calls": line["calls"],
            "usd": line["amount_usd"],
            "cents": line["amount_cents"],
        }
        for line in view.snapshot["lines"]
    ]
    print_rows(rows, as_json=False, title="\nlines")


@commands.command("list", epilog=example("invoices list --month 2026-10"))
def list_all(
    customer: str = typer.Option(None, help="Id or email; default: all."),
    month: str = typer.Option(None, help="The month, as 2026-11; default: all."),
    before: int = typer.Option(None, help="Only those before this id, for the next page."),
    as_json: AsJson = False,
) -> None:
    """List issued invoices and credit notes, newest first."""

    async def work(session: CommandSession) -> list[dict[str, Any]]:
        customer_id = None if customer is None else (await find_customer(session.pool, customer)).id
        rows = await list_invoices(
            session.pool,
            customer_id=customer_id,
            month=fields.month(month, "month"),
            before_id=before,
            status=None,
            kind=None,
            limit=MAX_LISTED,
        )
        return [row_json(row) for row in rows]

    rows = with_database(work)
    if not as_json:
        names = ("id", "number", "kind", "status", "customer_id", "month", "net_usd", "total_cents", "issued_at")
        rows = [{name: row[name] for name in names} for row in rows]
    print_rows(rows, as_json=as_json, title="invoices")


@commands.command(epilog=example("invoices show ada@example.com --month 2026-10"))
def show(
    what: str = typer.Argument(help="An invoice's number, or a customer's id or email."),
    month: str = typer.Option(None, help="With a customer: the month; default: this one."),
    as_json: AsJson = False,
) -> None:
    """Show an invoice by its number, or a customer's month as it is now."""

    async def work(pool: asyncpg.Pool, section: InvoicesSection) -> View:
        if "@" in what or what.isdigit():
            row = await find_customer(pool, what)
            of_month = fields.month(month, "month")
            return await show_month(pool, section, row.id, of_month, statements=statements)
        return await show_invoice(pool, what)

    statements = own_statements()
    print_view(with_section(work), as_json=as_json)


@commands.command(epilog=example("invoices draft ada@example.com --month 2026-10"))
def draft(
    customer: str = typer.Argument(help="Id or email."),
    month: str = typer.Option(None, help="The month; default: this one."),
    as_json: AsJson = False,
) -> None:
    """Make or renew a draft; it takes no number."""

    async def work(pool: asyncpg.Pool, section: InvoicesSection) -> View:
        row = await find_customer(pool, customer)
        of_month = fields.month(month, "month")
        return await make_draft(
            pool, section, row.id, of_month, actor=ACTOR, request_id=REQUEST_ID, statements=statements
        )

    statements = own_statements()
    print_view(with_section(work), as_json=as_json)


@commands.command(epilog=example("invoices finalize ada@example.com --month 2026-10"))
def finalize(
    customer: str = typer.Argument(None, help="Id or email; without it: --all."),
    month: str = typer.Option(None, help="The month."),
    all_months: bool = typer.Option(False, "--all", help="All closed months of all customers."),
    as_json: AsJson = False,
) -> None:
    """Issue a month's invoice, or all that can be issued. A month that has one keeps it."""
    if all_months == (customer is not None) or (month is None) != all_months:
        raise fail("name a customer and --month, or --all", hint="kaixu invoices finalize ada@example.com --month …")

    async def work(pool: asyncpg.Pool, section: InvoicesSection) -> View | Closed:
        if all_months:
            return await finalize_all(pool, section, actor=ACTOR, request_id=REQUEST_ID, statements=statements)
        row = await find_customer(pool, customer)
        of_month = fields.month(month, "month")
        assert of_month is not None
        stored, _ = await issue_invoice(
            pool, section, row.id, of_month, actor=ACTOR, request_id=REQUEST_ID, statements=statements
        )
        return stored_view(stored)

    statements = own_statements()
    done = with_section(work)
    if isinstance(done, View):
        print_view(done, as_json=as_json)
    elif as_json:
        print_json(msgspec.to_builtins(done))
    else:
        typer.echo(f"{len(done.issued)} issued")
        for code, count in sorted(done.waiting.items()):
            typer.echo(f"{count} not issued: {code}{WHAT_HELPS.get(code, '')}")


@commands.command(epilog=example("invoices credit INV-2026-00007 --amount-cents 500 --reason 'outage'"))
def credit(
    number: str = typer.Argument(help="The invoice's number."),
    reason: str = typer.Option(..., help="Why; it is printed on the credit note."),
    amount_cents: int = typer.Option(None, help="The amount, tax included; default: all that is left."),
    line: list[int] = typer.Option(None, help="A line to credit; may be repeated."),
    idempotency_key: str = typer.Option(None, help="A second credit note with the same key credits nothing."),
    as_json: AsJson = False,
) -> None:
    """Issue a credit note over an amount, over lines, or over all that is left of an invoice."""
    if line and amount_cents is not None:
        raise fail("--amount-cents and --line exclude each other")

    async def work(pool: asyncpg.Pool, section: InvoicesSection) -> View:
        note = await issue_credit(
            pool,
            section,
            number,
            amount_cents=amount_cents,
            lines=line or None,
            reason=reason,
            actor=ACTOR,
            request_id=REQUEST_ID,
            idempotency_key=fields.text(idempotency_key, "idempotency_key", 200),
        )
        return stored_view(note)

    print_view(with_section(work), as_json=as_json)


@commands.command(epilog=example("invoices void INV-2026-00007 --reason 'wrong address'"))
def void(
    number: str = typer.Argument(help="The invoice's number; it is not given out again."),
    reason: str = typer.Option(..., help="Why; it is kept."),
    as_json: AsJson = False,
) -> None:
    """Void an invoice. Its month can be issued again, under a new number."""

    async def work(session: CommandSession) -> dict[str, Any]:
        stored, _ = await void_invoice(session.pool, number, reason=reason, actor=ACTOR, request_id=REQUEST_ID)
        return row_json(stored)

    print_record(with_database(work), as_json=as_json)


@commands.command(epilog=example("invoices verify INV-2026-00007"))
def verify(
    number: str = typer.Argument(help="The number of an invoice or a credit note."),
    as_json: AsJson = False,
) -> None:
    """Rebuild an invoice from its lines and events and compare; exit 1 if it is not what was issued."""

    async def work(session: CommandSession) -> Verification:
        return await verify_invoice(session.pool, number)

    result = with_database(work)
    if as_json:
        print_json(msgspec.to_builtins(result))
    else:
        for one in result.wrong:
            typer.echo(f"wrong: {one}")
        for one in result.changed:
            typer.echo(f"changed since: {one}")
        if not result.wrong:
            typer.echo(f"{result.number} is what was issued: snapshot {result.sha256}, PDF {result.pdf_sha256}")
    if result.wrong:
        raise typer.Exit(1)


@commands.command(epilog=example("invoices pdf INV-2026-00007 --out invoice.pdf"))
def pdf(
    number: str = typer.Argument(help="The number of an invoice or a credit note."),
    out: Path = typer.Option(None, help="The file; default: the number, with .pdf."),
    as_json: AsJson = False,
) -> None:
    """Write the PDF as it was issued."""

    async def work(session: CommandSession) -> bytes:
        view = await show_invoice(session.pool, number)
        assert view.stored is not None
        return await read_pdf(session.pool, view.stored)

    content = with_database(work)
    path = out or Path(f"{number.replace('/', '-')}.pdf")
    try:
        path.write_bytes(content)
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror}") from None
    print_record({"file": str(path), "bytes": len(content)}, as_json=as_json)


@commands.command(epilog=example("invoices mail INV-2026-00007"))
def mail(
    number: str = typer.Argument(help="The number of an invoice or a credit note."),
    email: str = typer.Option(None, help="Another address; default: the customer's for invoices."),
    as_json: AsJson = False,
) -> None:
    """Mail the PDF as it was issued, once more."""

    async def work(session: CommandSession) -> str:
        try:
            document = load(session.settings.kaixu_config, os.environ)
        except ConfigError as error:
            raise fail(error) from None
        return await mail_again(
            session.pool,
            document.invoices,
            number,
            can_mail=document.mail is not None,
            recipient=fields.email(email, "email"),
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    print_record({"number": number, "mail_to": with_database(work)}, as_json=as_json)


@commands.command(
    epilog=example("invoices billing ada@example.com --name 'Ada AG' --country AT --address 'Ring 1, Wien'")
)
def billing(
    customer: str = typer.Argument(help="Id or email."),
    name: str = typer.Option(None, help="The full name; `none` clears it, as for each option."),
    address: list[str] = typer.Option(None, help="A line of the address; may be repeated."),
    country: str = typer.Option(None, help="Two letters, like DE."),
    tax_id: str = typer.Option(None, help="VAT or tax id; checked where the country's form is known."),
    email: str = typer.Option(None, help="The address on the invoice."),
    tax_rate_percent: str = typer.Option(None, help="A rate of its own, in percent; default: by the rules."),
    tax_note: str = typer.Option(None, help="Why there is no tax, or another rate."),
    mail_invoices: str = typer.Option(None, "--mail", help="true or false: whether invoices are mailed to it."),
    as_json: AsJson = False,
) -> None:
    """Show or change a customer's billing details."""
    given: dict[str, object] = {
        "name": name,
        "address": address or None,
        "country": country,
        "tax_id": tax_id,
        "email": email,
        "tax_rate_percent": tax_rate_percent,
        "tax_note": tax_note,
        "mail_invoices": mail_invoices,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    for field, value in changes.items():
        if value in ("none", ["none"]):
            changes[field] = None

    async def work(session: CommandSession) -> dict[str, Any]:
        row = await find_customer(session.pool, customer)
        if not changes:
            return details_json(await find_billing(session.pool, row.id))
        after = await change_billing(session.pool, row.id, changes, actor=ACTOR, request_id=REQUEST_ID)
        return details_json(after)

    print_record(with_database(work), as_json=as_json)
