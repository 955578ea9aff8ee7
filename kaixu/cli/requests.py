"""`kaixu requests …`: requests for keys by mail address; the same rules as the admin API."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import typer

from kaixu.accounts.key_requests import Approval, decide_request, list_requests
from kaixu.accounts.selfservice import Selfservice
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError

from .examples import example
from .failure import fail
from .report import print_json, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

MAX_LISTED = 500
commands = typer.Typer(no_args_is_help=True, help="Requests for keys by mail address: list, approve, deny.")
RequestId = typer.Argument(help="The id of a request that is held.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="requests")


async def rules_of(session: CommandSession) -> Selfservice:
    """The settings of self-service; end the command if kaixu.yaml is invalid. Raises `WrongSecrets`."""
    try:
        document = load(session.settings.kaixu_config, os.environ)
    except ConfigError as error:
        raise fail(error) from None
    secrets = await session.own_secrets("KEY_PEPPER", "DB_ENCRYPTION_KEY")
    return Selfservice(document.selfservice, document.mail, session.settings, secrets)


@commands.command("list", epilog=example("requests list --state held"))
def list_all(
    state: str = typer.Option(None, help="held, issued, link, used, denied, …; default: all."),
    email: str = typer.Option(None, help="Only requests of this address, in whatever spelling."),
    as_json: AsJson = False,
) -> None:
    """List requests for keys, newest first."""

    async def work(session: CommandSession) -> list[dict[str, Any]]:
        rows = await list_requests(session.pool, state=state, email=email, limit=MAX_LISTED)
        return [msgspec.to_builtins(row) for row in rows]

    rows = with_database(work)
    if not as_json:
        names = ("id", "address", "state", "customer_id", "key_id", "created_at")
        rows = [{name: row[name] for name in names} for row in rows]
    print_rows(rows, as_json=as_json, title="requests")


@commands.command(epilog=example("requests approve 0190f8a1-7e55-7c3e-a9a2-3f5d2f6d8b10"))
def approve(request_id: str = RequestId, as_json: AsJson = False) -> None:
    """Approve a request: a link to the key is mailed."""
    decide(request_id, approves=True, as_json=as_json)


@commands.command(epilog=example("requests deny 0190f8a1-7e55-7c3e-a9a2-3f5d2f6d8b10"))
def deny(request_id: str = RequestId, as_json: AsJson = False) -> None:
    """Deny a request; nothing is mailed."""
    decide(request_id, approves=False, as_json=as_json)


def decide(request_id: str, *, approves: bool, as_json: bool) -> None:
    """Approve or deny, and say so."""

    async def work(session: CommandSession) -> Approval:
        return await decide_request(
            session.pool, await rules_of(session), request_id, approve=approves, actor=ACTOR, request_id=REQUEST_ID
        )

    done = with_database(work)
    if as_json:
        print_json(msgspec.to_builtins(done))
    else:
        typer.echo(f"{done.outcome}: {done.address}" + (f"; a link goes to {done.recipient}" if approves else ""))
