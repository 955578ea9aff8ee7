"""`kaixu accept-secrets`: go on with other secrets than those the database was set up with."""

from __future__ import annotations

from typing import Annotated

import typer

from kaixu.accounts.secret_fingerprints import accept_secrets

from .examples import example
from .report import print_json
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("accept-secrets", epilog=example("accept-secrets KEY_PEPPER"))(accept)


def accept(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="KEY_PEPPER, DB_ENCRYPTION_KEY, or both.")],
    as_json: AsJson = False,
) -> None:
    """Go on with another KEY_PEPPER or DB_ENCRYPTION_KEY than the database was set up with.

    Only where the old one is lost, or was changed on purpose: keys that were made with another KEY_PEPPER never work
    again, and texts that were stored with another DB_ENCRYPTION_KEY cannot be read.
    """

    async def work(session: CommandSession) -> list[str]:
        return await accept_secrets(session.pool, session.secrets, names, actor=ACTOR, request_id=REQUEST_ID)

    changed = with_database(work)
    if as_json:
        print_json({"accepted": changed})
        return
    for name in names:
        if name in changed:
            typer.echo(f"{name}: accepted; start the gateways again")
        else:
            typer.echo(f"{name}: it is the database's already")
