"""`kaixu devices …`: the same rules as the admin API."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts import devices as accounts
from kaixu.accounts import fields
from kaixu.accounts.customers import find_customer
from kaixu.accounts.device_list import DevicePage, ListedDevice, device_page

from .examples import example
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

MOST_LISTED = 1000
commands = typer.Typer(no_args_is_help=True, help="Devices: list, revoke, unrevoke.")

KeyId = typer.Argument(help="The id of the device's key, or of a key that it replaced.")
InstallId = typer.Argument(help='Its install id; "" is the seat of all calls without one.')


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="devices")


def device_record(row: accounts.Device) -> dict[str, Any]:
    """A device for printing."""
    shown: dict[str, Any] = {
        "install_id": row.install_id,
        "label": row.device_label,
        "state": "seated" if row.revoked_at is None else "revoked",
        "first_seen": row.first_seen_at.isoformat(timespec="seconds"),
        "last_seen": row.last_seen_at.isoformat(timespec="seconds"),
        "agent": row.last_seen_agent,
        "revoked_at": None if row.revoked_at is None else row.revoked_at.isoformat(timespec="seconds"),
        "revoked_by": row.revoked_by,
    }
    if isinstance(row, ListedDevice):
        shown = {"key": row.key_id, "key_last4": row.key_last4, "key_label": row.key_label} | shown
    return shown


@commands.command("list", epilog=example("devices list ada@example.com --key 7"))
def list_devices(
    customer: str = typer.Argument(help="Id or email."),
    key_id: int = typer.Option(None, "--key", help="Only devices of this key and of the keys that it replaced."),
    limit: int = typer.Option(MOST_LISTED, min=1, max=MOST_LISTED, help="How many."),
    cursor: str = typer.Option(None, help="The next page: what the one before printed."),
    as_json: AsJson = False,
) -> None:
    """List a customer's devices, last seen first."""

    async def work(session: CommandSession) -> DevicePage:
        row = await find_customer(session.pool, customer)
        chosen = None if key_id is None else fields.identifier(key_id, "key")
        given = {"limit": limit, "cursor": cursor}
        return await device_page(session.pool, row.id, chosen, given, most=MOST_LISTED)

    page = with_database(work)
    rows = [device_record(row) for row in page.devices]
    if not as_json:
        names = ("key", "key_label", "install_id", "label", "state", "first_seen", "last_seen", "agent")
        rows = [{name: row[name] for name in names} for row in rows]
    print_rows(rows, as_json=as_json, title="devices")
    if page.next_cursor is not None and not as_json:
        typer.echo(f"\nmore: --cursor '{page.next_cursor}'")


@commands.command(epilog=example("devices revoke 7 laptop-1f3a"))
def revoke(key_id: int = KeyId, install_id: str = InstallId, as_json: AsJson = False) -> None:
    """Refuse a device from the next call on, and free its seat."""
    print_record(device_record(apply_change(key_id, install_id, revoked=True)), as_json=as_json)


@commands.command(epilog=example("devices unrevoke 7 laptop-1f3a"))
def unrevoke(key_id: int = KeyId, install_id: str = InstallId, as_json: AsJson = False) -> None:
    """Give a revoked device its seat back, if one is free."""
    print_record(device_record(apply_change(key_id, install_id, revoked=False)), as_json=as_json)


def apply_change(key_id: int, install_id: str, *, revoked: bool) -> accounts.Device:
    """Change a device."""

    async def work(session: CommandSession) -> accounts.Device:
        return await accounts.change_device(
            session.pool,
            fields.identifier(key_id, "key_id"),
            fields.install_id(install_id, "install_id"),
            revoked=revoked,
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    return with_database(work)
