"""`kaixu codes …`: redemption codes, by the same rules as the admin API."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts import codes as accounts
from kaixu.api.admin.codes import batch_reply, code_reply

from .examples import example
from .failure import fail
from .report import print_json, print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

commands = typer.Typer(no_args_is_help=True, help="Redemption codes: list, create, show, revoke.")

#: The columns of the table of batches.
SHOWN = ("id", "amount_usd", "expires_at", "codes", "redeemed", "revoked", "email_domain", "plan_name", "note")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="codes")


@commands.command("list", epilog=example("codes list"))
def list_codes(
    before_id: int = typer.Option(None, help="Only batches older than this one."),
    limit: int = typer.Option(accounts.PAGE, min=1, max=accounts.MOST_PAGE, help="How many."),
    as_json: AsJson = False,
) -> None:
    """List batches of codes, newest first."""

    async def work(session: CommandSession) -> list[accounts.CodeBatch]:
        return await accounts.list_batches(session.pool, {"before_id": before_id, "limit": limit})

    rows = [batch_reply(row) for row in with_database(work)]
    if not as_json:
        rows = [{name: row[name] for name in SHOWN} for row in rows]
    print_rows(rows, as_json=as_json, title="batches of codes")


@commands.command(epilog=example("codes create --amount-cents 500 --expires 2030-12-31 --count 2"))
def create(
    amount_cents: int = typer.Option(..., "--amount-cents", "--amount", help="What each code credits, in cents."),
    expires: str = typer.Option(..., help="The last day (UTC), or a time like 2026-12-31T12:00:00Z."),
    count: int = typer.Option(1, min=1, max=accounts.MOST_CODES, help="How many codes."),
    email_domain: str = typer.Option(None, help="Only customers with an address of this domain."),
    plan: str = typer.Option(None, help="Only customers of this plan."),
    note: str = typer.Option(None, help="What they are for."),
    idempotency_key: str = typer.Option(None, help="A second batch with the same key is not made."),
    as_json: AsJson = False,
) -> None:
    """Make codes and print them, one a line: they cannot be shown again."""
    given: dict[str, Any] = {
        "amount_cents": amount_cents,
        "expires_at": expires,
        "count": count,
        "email_domain": email_domain,
        "plan_name": plan,
        "note": note,
        "idempotency_key": idempotency_key,
    }

    async def work(session: CommandSession) -> accounts.MadeCodes:
        return await accounts.create_codes(
            session.pool, given, pepper=await session.pepper(), actor=ACTOR, request_id=REQUEST_ID
        )

    made = with_database(work)
    if as_json:
        print_json({"applied": made.codes is not None, "batch": batch_reply(made.batch), "codes": made.codes or []})
        return
    if made.codes is None:
        raise fail(
            f"batch {made.batch.id} was made before: its codes cannot be shown again", hint="Revoke it, if lost."
        )
    typer.echo(f"batch {made.batch.id}: {made.batch.codes} codes, shown this once", err=True)
    for code in made.codes:
        typer.echo(code)


@commands.command(epilog=example("codes show 1"))
def show(
    batch: int = typer.Argument(help="The batch's id."),
    after_id: int = typer.Option(None, help="Only codes with a higher id."),
    limit: int = typer.Option(accounts.PAGE, min=1, max=accounts.MOST_PAGE, help="How many codes."),
    as_json: AsJson = False,
) -> None:
    """Show a batch and who has redeemed its codes."""

    async def work(session: CommandSession) -> accounts.CodePage:
        return await accounts.show_batch(session.pool, batch, {"after_id": after_id, "limit": limit})

    page = with_database(work)
    record, codes = batch_reply(page.batch), [code_reply(row) for row in page.codes]
    if as_json:
        print_json({"batch": record, "codes": codes, "next_after_id": page.next_after_id})
        return
    print_record(record, as_json=False)
    print_rows(codes, as_json=False, title="\ncodes")
    if page.next_after_id is not None:
        typer.echo(f"\nmore: --after-id {page.next_after_id}")


@commands.command(epilog=example("codes revoke --batch 1"))
def revoke(
    batch: int = typer.Option(None, help="All codes of this batch that nobody has redeemed."),
    code: int = typer.Option(None, help="One code, by its id."),
    as_json: AsJson = False,
) -> None:
    """Revoke codes: nobody can redeem them any more. What is redeemed stays."""
    if (batch is None) == (code is None):
        raise fail("name either a --batch or a --code", hint="`kaixu codes list` and `kaixu codes show` list them.")

    async def work(session: CommandSession) -> int:
        revoked = await accounts.revoke_codes(
            session.pool, batch_id=batch, code_id=code, actor=ACTOR, request_id=REQUEST_ID
        )
        return len(revoked)

    print_record({"revoked": with_database(work)}, as_json=as_json)
