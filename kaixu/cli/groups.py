"""`kaixu groups …`: the same rules as the admin API."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts import key_groups as accounts
from kaixu.accounts.customers import find_customer
from kaixu.cli.options import read_options
from kaixu.config.price import usd

from .examples import example
from .failure import fail
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

#: Fields that `none` clears.
CLEARABLE = frozenset({"monthly_cap_cents", "day_cap_cents", "rpm_limit", "tpm_limit"})

commands = typer.Typer(
    no_args_is_help=True, help="Groups of a customer's keys with caps of their own: list, create, change, delete."
)

GroupId = typer.Argument(help="The group's id, as `kaixu groups list` shows it.")
Cap = typer.Option(
    None, "--cap-cents", "--cap", metavar="CENTS|none", help="Monthly cap in cents of all keys in the group together."
)
DayCap = typer.Option(None, "--day-cap-cents", "--day-cap", metavar="CENTS|none", help="Cap of a day (UTC) in cents.")
Rpm = typer.Option(None, metavar="N|none", help="Requests a minute of all keys in the group together.")
Tpm = typer.Option(None, metavar="N|none", help="Tokens a minute of all keys in the group together.")


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(commands, name="groups")


def group_record(row: accounts.KeyGroup) -> dict[str, Any]:
    """A group for printing."""
    return {
        "id": row.id,
        "name": row.name,
        "keys": row.active_keys,
        "cap_usd": None if row.monthly_cap_nusd is None else usd(row.monthly_cap_nusd),
        "day_cap_usd": None if row.day_cap_nusd is None else usd(row.day_cap_nusd),
        "rpm": row.rpm_limit,
        "tpm": row.tpm_limit,
        "spent_usd": usd(row.spent_nusd),
        "held_usd": usd(row.held_nusd),
    }


def group_fields(
    name: str | None, cap_cents: str | None, day_cap_cents: str | None, rpm: str | None, tpm: str | None
) -> dict[str, Any]:
    """The wire fields of the given options."""
    given = {
        "name": name,
        "monthly_cap_cents": cap_cents,
        "day_cap_cents": day_cap_cents,
        "rpm_limit": rpm,
        "tpm_limit": tpm,
    }
    return read_options(given, clearable=CLEARABLE)


@commands.command("list", epilog=example("groups list ada@example.com"))
def list_groups(customer: str = typer.Argument(help="Id or email."), as_json: AsJson = False) -> None:
    """List a customer's groups with this month's figures, oldest first."""

    async def work(session: CommandSession) -> list[accounts.KeyGroup]:
        row = await find_customer(session.pool, customer)
        return await accounts.customer_groups(session.pool, row.id)

    print_rows([group_record(row) for row in with_database(work)], as_json=as_json, title="groups")


@commands.command(epilog=example("groups create ada@example.com research --cap-cents 2000"))
def create(
    customer: str = typer.Argument(help="Id or email."),
    name: str = typer.Argument(help="What the group is called."),
    cap_cents: str = Cap,
    day_cap_cents: str = DayCap,
    rpm: str = Rpm,
    tpm: str = Tpm,
    as_json: AsJson = False,
) -> None:
    """Create a group. Keys are put into it with `kaixu keys change KEY --group ID`."""
    given = group_fields(name, cap_cents, day_cap_cents, rpm, tpm)

    async def work(session: CommandSession) -> accounts.KeyGroup:
        row = await find_customer(session.pool, customer)
        return await accounts.create_group(session.pool, row.id, given, actor=ACTOR, request_id=REQUEST_ID)

    print_record(group_record(with_database(work)), as_json=as_json)


@commands.command(epilog=example("groups change 3 --tpm 100000 --day-cap-cents none"))
def change(
    group_id: int = GroupId,
    name: str = typer.Option(None, help="What the group is called."),
    cap_cents: str = Cap,
    day_cap_cents: str = DayCap,
    rpm: str = Rpm,
    tpm: str = Tpm,
    as_json: AsJson = False,
) -> None:
    """Change the given fields, from the next call on. `none` removes a limit."""
    given = group_fields(name, cap_cents, day_cap_cents, rpm, tpm)
    if not given:
        raise fail("nothing to change", hint="`kaixu groups change --help` lists what can be changed.")

    async def work(session: CommandSession) -> accounts.KeyGroup:
        return await accounts.change_group(session.pool, group_id, given, actor=ACTOR, request_id=REQUEST_ID)

    print_record(group_record(with_database(work)), as_json=as_json)


@commands.command(epilog=example("groups delete 3"))
def delete(group_id: int = GroupId, as_json: AsJson = False) -> None:
    """Delete a group in which no key is left that is not revoked."""

    async def work(session: CommandSession) -> dict[str, Any]:
        await accounts.delete_group(session.pool, group_id, actor=ACTOR, request_id=REQUEST_ID)
        return {"id": group_id, "deleted": True}

    print_record(with_database(work), as_json=as_json)
