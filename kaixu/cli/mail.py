"""`kaixu mail …`: try the settings, look at the outbox."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import typer

from kaixu.accounts import fields
from kaixu.accounts.outbox import list_outbox
from kaixu.accounts.outbox import retry_mail as retry_one
from kaixu.config.load import load
from kaixu.config.mail_section import MailSection
from kaixu.config.mistakes import ConfigError
from kaixu.jobs.mail_message import BadMail, mail_message
from kaixu.jobs.smtp import NotSent, send
from kaixu.ops.mail_content import Content
from kaixu.plugin.errors import KaixuError

from .examples import example
from .failure import fail
from .report import print_json, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, load_settings, with_database

MAX_LISTED = 500
TEST = Content(
    "This is a test mail of the kAIxU Gateway. Its mail settings work.\n",
    "<p>This is a test mail of the kAIxU Gateway. Its mail settings work.</p>\n",
)
commands = typer.Typer(no_args_is_help=True, help="Mail: send a test, list the outbox, try one again.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="mail")


def mail_section() -> MailSection:
    """The section `mail:` of kaixu.yaml; end the command if there is none."""
    try:
        section = load(load_settings().kaixu_config, os.environ).mail
    except ConfigError as error:
        raise fail(error) from None
    if section is None:
        raise fail("kaixu.yaml has no section `mail:`", hint="See docs/operators/mail.md.")
    return section


@commands.command("test", epilog=example("mail test ada@example.com"))
def send_test(address: str = typer.Argument(help="Who gets the test mail."), as_json: AsJson = False) -> None:
    """Send a test mail now, past the outbox, and say what failed."""
    section = mail_section()
    try:
        recipient = fields.email(address, "address")
    except KaixuError as error:
        raise fail(error.message) from None
    if recipient is None:
        raise fail("`address` is missing")
    try:
        message = mail_message(
            section,
            mail_id=uuid4(),
            recipient=recipient,
            subject="Test mail of the kAIxU Gateway",
            content=TEST,
            created_at=datetime.now(UTC),
        )
        asyncio.run(send(section, message))
    except BadMail as error:
        raise fail(error) from None
    except NotSent as error:
        raise fail(error, hint=None if error.words is None else f"The server said: {error.words}") from None
    done = f"{section.host}, port {section.server_port}, has taken the mail to {recipient}"
    if as_json:
        print_json(
            {"ok": True, "message_id": str(message["Message-ID"]), "host": section.host, "port": section.server_port}
        )
    else:
        typer.echo(f"{done}: whether it arrives is for the recipient's server to say")


@commands.command("list", epilog=example("mail list --state failed"))
def list_mails(
    state: str = typer.Option(None, help="waiting, sent or failed; default: all."),
    recipient: str = typer.Option(None, help="Only mails to this address."),
    as_json: AsJson = False,
) -> None:
    """List mails of the outbox, newest first, without their content."""

    async def work(session: CommandSession) -> list[dict[str, Any]]:
        rows = await list_outbox(session.pool, state=state, recipient=recipient, limit=MAX_LISTED)
        return [msgspec.to_builtins(row) for row in rows]

    rows = with_database(work)
    if not as_json:
        names = ("id", "kind", "recipient", "state", "attempts", "created_at", "last_error")
        rows = [{name: row[name] for name in names} for row in rows]
    print_rows(rows, as_json=as_json, title="mails")


@commands.command("retry", epilog=example("mail retry 0190f8a1-7e55-7c3e-a9a2-3f5d2f6d8b10"))
def retry_mail(
    mail_id: str = typer.Argument(help="The id of a mail that was given up."), as_json: AsJson = False
) -> None:
    """Try a mail again that was given up."""

    async def work(session: CommandSession) -> None:
        await retry_one(session.pool, mail_id, actor=ACTOR, request_id=REQUEST_ID)

    with_database(work)
    if as_json:
        print_json({"ok": True, "id": mail_id})
    else:
        typer.echo(f"mail {mail_id} will be tried again")
