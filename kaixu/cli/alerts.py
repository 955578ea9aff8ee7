"""`kaixu alerts …`: what was raised, and whether receivers can be reached."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec
import typer

from kaixu.accounts.alert_webhooks import find_alert_webhook, set_alert_webhook, webhook_url
from kaixu.accounts.customers import find_customer
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.config.document import Document
from kaixu.config.environment import EnvironmentMistake, Settings, secrets_of
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.jobs.alert_receivers import AlertReceivers
from kaixu.jobs.alert_test import send_test_alert
from kaixu.jobs.webhook_signing import customer_secret
from kaixu.ops.sealing import sealer_of
from kaixu.reports.alerts import MAX_ALERTS, list_alerts, listed_alert_json

from .examples import example
from .failure import fail
from .options import NONE
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, load_settings, with_database

commands = typer.Typer(
    no_args_is_help=True, help="Alerts: list them, send a test to every receiver, set a customer's webhook."
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="alerts")


@commands.command("list", epilog=example("alerts list --type VENDOR_DOWN"))
def list_raised(
    customer: str = typer.Option(None, help="Only this customer's: id or email."),
    alert_type: str = typer.Option(None, "--type", help="Only this type, for example CAP_REACHED_KEY."),
    limit: int = typer.Option(50, min=1, max=MAX_ALERTS, help="How many."),
    as_json: AsJson = False,
) -> None:
    """List the alerts that were raised, newest first, and whether they have reached their receivers."""

    async def work(session: CommandSession) -> list[dict[str, Any]]:
        customer_id = None if customer is None else (await find_customer(session.pool, customer)).id
        given = {"customer_id": customer_id, "type": alert_type, "limit": limit}
        return [listed_alert_json(one) for one in (await list_alerts(session.pool, given)).alerts]

    rows = with_database(work)
    if not as_json:
        rows = [
            {
                "created_at": row["created_at"],
                "type": row["type"],
                "message": row["message"],
                "told": delivery_states(row),
            }
            for row in rows
        ]
    print_rows(rows, as_json=as_json, title="alerts")


def delivery_states(row: dict[str, Any]) -> str:
    """The receivers of an alert, with the state of each that does not have it."""
    return ", ".join(
        one["receiver"] + ("" if one["state"] == "sent" else f" ({one['state']})")
        for one in (*row["webhooks"], *row["mails"])
    )


@commands.command("test", epilog=example("alerts test"))
def send_test(as_json: AsJson = False) -> None:
    """Send a test alert to every webhook and address of the operator's now; exit 1 if one does not take it."""
    settings = load_settings()
    document = load_document(settings)
    try:
        secrets = secrets_of(settings, dev=(settings.kaixu_home / "secrets.json").exists())
    except EnvironmentMistake as error:
        raise fail(error) from None
    current = CurrentConfig(Catalog(), document.gateway, alerts=document.alerts, mail=document.mail)
    results = asyncio.run(send_test_alert(AlertReceivers(settings, secrets, current)))
    if not results:
        raise fail("nobody gets alerts", hint="Set ALERT_WEBHOOK_URL, or see docs/operators/alerts.md.")
    print_rows([msgspec.to_builtins(one) for one in results], as_json=as_json, title="receivers")
    if any(one.error is not None for one in results):
        raise typer.Exit(1)


@commands.command("webhook", epilog=example("alerts webhook ada@example.com https://hooks.example.com/kaixu"))
def webhook(
    customer: str = typer.Argument(help="Id or email."),
    url: str = typer.Argument(None, metavar="[URL|none]", help="Where its alerts go; none removes it."),
    as_json: AsJson = False,
) -> None:
    """Show, set or remove a customer's own webhook for its alerts; setting it prints the secret of its signatures."""
    section = load_document(load_settings()).gateway.jobs

    async def work(session: CommandSession) -> dict[str, Any]:
        row = await find_customer(session.pool, customer)
        secrets = session.secrets if url is None else await session.own_secrets("DB_ENCRYPTION_KEY")
        sealer = sealer_of(secrets)
        shown: dict[str, Any] = {"customer_id": row.id}
        if url is not None:
            target = None if url.strip().lower() == NONE else webhook_url(url, "url", section)
            await set_alert_webhook(session.pool, sealer, row.id, target, actor=ACTOR, request_id=REQUEST_ID)
            if target is not None:
                shown["secret"] = customer_secret(secrets.jwt_secret, row.id)
        return shown | {"url": await find_alert_webhook(session.pool, sealer, row.id)}

    print_record(with_database(work), as_json=as_json)


def load_document(settings: Settings) -> Document:
    """kaixu.yaml; ends the command if it is invalid."""
    try:
        return load(settings.kaixu_config, os.environ)
    except ConfigError as error:
        raise fail(error) from None
