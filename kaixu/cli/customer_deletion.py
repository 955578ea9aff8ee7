"""`kaixu customers delete`: show what will be removed, ask, and remove it."""

from __future__ import annotations

import typer

from kaixu.accounts import customer_deletion as accounts
from kaixu.accounts.customers import find_customer
from kaixu.api.admin.customers import deletion_reply, preview_reply
from kaixu.plugin.errors import NotFound

from .failure import fail
from .report import print_record
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database


def delete_customer(
    customer: str = typer.Argument(help="Id or email."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would be removed."),
    as_json: AsJson = False,
) -> None:
    """Remove a customer with everything of theirs. Issued invoices and anonymous sums stay; interrupted, repeat it."""
    preview = with_database(lambda session: preview_of(session, customer))
    if preview is not None:
        shown = preview_reply(preview)
        if dry_run:
            print_record({name: value for name, value in shown.items() if name != "ok"}, as_json=as_json)
            return
        if not yes:
            for name, value in shown.items():
                if name not in ("ok", "dry_run"):
                    typer.echo(f"{name.replace('_', ' ')}: {value}", err=True)
            typer.echo(
                "All of it is removed, but for invoices and usage without any name. There is no way back.", err=True
            )
            typed = typer.prompt("Type the email address to go on", err=True)
            if typed.strip().lower() != preview.email.lower():
                raise fail("this is another address; nothing was removed")

    async def work(session: CommandSession) -> accounts.Deletion:
        customer_id = int(customer) if preview is None else preview.customer_id
        return await accounts.delete_customer(
            session.pool,
            customer_id,
            confirm=None if preview is None else preview.email,
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    print_record(deletion_reply(with_database(work)), as_json=as_json)


async def preview_of(session: CommandSession, customer: str) -> accounts.Preview | None:
    """What a deletion would do; None: the customer is deleted already. Raises `NotFound`."""
    try:
        row = await find_customer(session.pool, customer)
    except NotFound:
        is_id = customer.isascii() and customer.isdigit()
        if is_id and await accounts.find_deletion(session.pool, int(customer)) is not None:
            return None
        raise
    return await accounts.preview_deletion(session.pool, row.id)
