"""`kaixu tokens …`: API tokens for scripts; the same rules as the admin API."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts.fields import identifier
from kaixu.accounts.operator_identity import SCOPES, Identity
from kaixu.accounts.operator_tokens import DAYS, MOST_DAYS, MadeToken, OperatorToken, create_token, list_tokens
from kaixu.accounts.operator_tokens import revoke_token as revoke_one

from .examples import example
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

commands = typer.Typer(no_args_is_help=True, help="API tokens for scripts: create, list, revoke.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="tokens")


def token_record(row: OperatorToken) -> dict[str, Any]:
    """A token for printing."""
    return {
        "id": row.id,
        "name": row.name,
        "last4": row.last4,
        "scopes": ",".join(row.scopes),
        "operator": row.email,
        "created_by": row.created_by,
        "created": row.created_at.isoformat(timespec="seconds"),
        "expires": row.expires_at.isoformat(timespec="seconds"),
        "last_used": None if row.last_used_at is None else row.last_used_at.isoformat(timespec="seconds"),
        "last_address": row.last_address,
        "revoked": None if row.revoked_at is None else row.revoked_at.isoformat(timespec="seconds"),
    }


@commands.command("list", epilog=example("tokens list"))
def list_all(
    ended: bool = typer.Option(False, "--ended", help="Also those that are revoked or expired."),
    as_json: AsJson = False,
) -> None:
    """List valid tokens with their last use, newest first."""

    async def work(session: CommandSession) -> list[OperatorToken]:
        return await list_tokens(session.pool, operator_id=None, with_ended=ended)

    print_rows([token_record(row) for row in with_database(work)], as_json=as_json, title="tokens")


@commands.command(epilog=example("tokens create nightly-report --scopes read --days 90"))
def create(
    name: str = typer.Argument(help="What the token is for."),
    scopes: str = typer.Option(help=f"Comma-separated: {', '.join(SCOPES)}."),
    days: int = typer.Option(DAYS, min=1, max=MOST_DAYS, help="After how many days it expires."),
    as_json: AsJson = False,
) -> None:
    """Create a token. It is printed once and not stored."""

    async def work(session: CommandSession) -> MadeToken:
        given = {"name": name, "scopes": scopes, "expires_in_days": days}
        maker = Identity(actor=ACTOR, role="owner")
        pepper = await session.pepper()
        return await create_token(session.pool, given, maker, pepper=pepper, request_id=REQUEST_ID)

    made = with_database(work)
    print_record({"token": made.token} | token_record(made.row), as_json=as_json)


@commands.command(epilog=example("tokens revoke nightly-report"))
def revoke(
    which: str = typer.Argument(metavar="TOKEN", help="Id or name."),
    as_json: AsJson = False,
) -> None:
    """Refuse a token from the next request on."""

    async def work(session: CommandSession) -> OperatorToken:
        is_id = which.isascii() and which.isdigit()
        return await revoke_one(
            session.pool,
            token_id=identifier(which, "token") if is_id else None,
            name=None if is_id else which,
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    print_record(token_record(with_database(work)), as_json=as_json)
