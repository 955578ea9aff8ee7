"""`kaixu keys …`: the same rules as the admin API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from kaixu.accounts import keys as accounts
from kaixu.accounts.customers import find_customer
from kaixu.accounts.fields import MOST_OVERLAP_S
from kaixu.accounts.key_list import MOST_LISTED, KeyPage, key_page
from kaixu.accounts.model_limits import shown_model_limits
from kaixu.cli.options import read_options
from kaixu.config.price import usd
from kaixu.reports.values import instant

from .examples import example
from .failure import fail
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

#: Fields that `none` clears: the customer's limit, or the gateway's default, then applies.
CLEARABLE = frozenset(
    {
        "monthly_cap_cents",
        "rpm_limit",
        "rpd_limit",
        "max_devices",
        "allowed_providers",
        "allowed_models",
        "allowed_collections",
        "tpm_limit",
        "day_cap_cents",
        "limits",
        "expires_at",
        "group_id",
        "alert_thresholds",
    }
)

commands = typer.Typer(no_args_is_help=True, help="Virtual keys: list, show, create, change, rotate, revoke, unrevoke.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="keys")


def key_record(row: accounts.Key) -> dict[str, Any]:
    """A key for printing, without the key itself."""
    shown: dict[str, Any] = {
        "id": row.id,
        "last4": row.key_last4,
        "label": row.label,
        "role": row.role,
        "state": key_state(row),
        "cap_usd": None if row.monthly_cap_nusd is None else usd(row.monthly_cap_nusd),
        "rpm": row.rpm_limit,
        "rpd": row.rpd_limit,
        "seats": row.max_devices,
        "install_id_required": row.require_install_id,
        "allowed_providers": row.allowed_providers,
        "allowed_models": row.allowed_models,
        "allowed_collections": row.allowed_collections,
        "tpm": row.tpm_limit,
        "day_cap_usd": None if row.day_cap_nusd is None else usd(row.day_cap_nusd),
        "limits": shown_model_limits(row.limits),
        "expires_at": instant(row.expires_at),
        "group_id": row.group_id,
        "from_plan": row.from_plan,
        "alert_thresholds": row.alert_thresholds,
    }
    if isinstance(row, accounts.ListedKey):
        shown |= {"spent_usd": usd(row.spent_nusd), "held_usd": usd(row.held_nusd)}
    return shown


def key_state(row: accounts.Key) -> str:
    """live, revoked or expired."""
    if row.revoked_at is not None:
        return "revoked"
    return "live" if row.expires_at is None or row.expires_at > datetime.now(UTC) else "expired"


def key_fields(
    label: str | None,
    cap_cents: str | None,
    rpm: str | None,
    rpd: str | None,
    seats: str | None,
    require_install_id: bool | None,
    providers: str | None,
    models: str | None,
    collections: str | None,
    tpm: str | None,
    day_cap_cents: str | None,
    limits: str | None,
    expires: str | None,
    group: str | None,
    alert_thresholds: str | None,
) -> dict[str, Any]:
    """The wire fields of the given options."""
    given = {
        "label": label,
        "monthly_cap_cents": cap_cents,
        "rpm_limit": rpm,
        "rpd_limit": rpd,
        "max_devices": seats,
        "require_install_id": require_install_id,
        "allowed_providers": providers,
        "allowed_models": models,
        "allowed_collections": collections,
        "tpm_limit": tpm,
        "day_cap_cents": day_cap_cents,
        "limits": limits,
        "expires_at": expires,
        "group_id": group,
        "alert_thresholds": alert_thresholds,
    }
    return read_options(given, clearable=CLEARABLE)


KeyId = typer.Argument(help="The key's id, as `kaixu keys list` shows it.")
Label = typer.Option(None, help="What the key is for.")
Cap = typer.Option(
    None,
    "--cap-cents",
    "--cap",
    metavar="CENTS|none",
    help="Monthly cap of the key in cents; its customer's applies as well.",
)
Rpm = typer.Option(None, metavar="N|none", help="Requests a minute; none: DEFAULT_RPM_LIMIT.")
Rpd = typer.Option(None, metavar="N|none", help="Requests a day.")
Seats = typer.Option(None, metavar="N|none", help="Device seats; 0: no limit; none: the customer's.")
Require = typer.Option(None, help="Whether every call must name its device.")
Providers = typer.Option(
    None, help="Allowed providers, comma-separated; within the customer's; none: all of the customer's."
)
Models = typer.Option(None, help='Allowed models as JSON: {"provider": ["model"]}; none: all of the customer\'s.')

Thresholds = typer.Option(
    None,
    metavar="50,85,100|[]|none",
    help="Percent of its cap at which alerts are raised; []: at none; none: the customer's.",
)
Collections = typer.Option(None, help="Allowed collections, comma-separated; none: all of the customer's.")
Tpm = typer.Option(None, metavar="N|none", help="Tokens a minute; the customer's limit applies as well.")
DayCap = typer.Option(
    None,
    "--day-cap-cents",
    "--day-cap",
    metavar="CENTS|none",
    help="Cap of a day (UTC) in cents; the month's apply as well.",
)
Limits = typer.Option(
    None,
    help='Limits for models as JSON: {"provider/model": {"rpm": 10, "tpm": 20000, "day_cap_cents": 100}}; or none.',
)
Expires = typer.Option(None, metavar="TIME|none", help="When the key ends, like 2027-01-31T00:00:00Z; none: never.")
Group = typer.Option(None, metavar="ID|none", help="The group whose limits apply, as `kaixu groups list` shows it.")


@commands.command("list", epilog=example("keys list ada@example.com"))
def list_keys(
    customer: str = typer.Argument(help="Id or email."),
    search: str = typer.Option(None, "--search", "-q", help="A part of the label, or the last four characters."),
    revoked: bool = typer.Option(None, "--revoked/--live", help="Only revoked ones, or only live ones."),
    role: str = typer.Option(None, help="Only keys with this role: viewer, deployer, admin or owner."),
    sort: str = typer.Option("id", help="id, spent or last_seen."),
    order: str = typer.Option(None, help="asc or desc; default: desc."),
    limit: int = typer.Option(MOST_LISTED, min=1, max=MOST_LISTED, help="How many."),
    cursor: str = typer.Option(None, help="The next page: what the one before printed."),
    as_json: AsJson = False,
) -> None:
    """List a customer's keys with this month's figures, newest first."""
    given = {
        "q": search,
        "revoked": revoked,
        "role": role,
        "sort": sort,
        "order": order,
        "limit": limit,
        "cursor": cursor,
    }

    async def work(session: CommandSession) -> KeyPage:
        row = await find_customer(session.pool, customer)
        return await key_page(session.pool, row.id, given)

    page = with_database(work)
    rows = [key_record(row) for row in page.keys]
    if not as_json:
        names = (
            "id", "last4", "label", "role", "state", "cap_usd", "day_cap_usd", "rpm", "rpd", "tpm", "group_id", "seats",
            "spent_usd", "held_usd",
        )  # fmt: skip
        rows = [{name: row[name] for name in names} for row in rows]
    print_rows(rows, as_json=as_json, title="keys")
    if page.next_cursor is not None and not as_json:
        typer.echo(f"\nmore: --cursor '{page.next_cursor}'")


@commands.command(epilog=example("keys show 7"))
def show(key_id: int = KeyId, as_json: AsJson = False) -> None:
    """Show the settings of a key."""

    async def work(session: CommandSession) -> accounts.Key:
        return await accounts.find_key(session.pool, key_id)

    print_record(key_record(with_database(work)), as_json=as_json)


@commands.command(epilog=example("keys create ada@example.com --label laptop --rpm 10"))
def create(
    customer: str = typer.Argument(help="Id or email."),
    role: str = typer.Option("deployer", help="viewer, deployer, admin or owner."),
    label: str = Label,
    cap_cents: str = Cap,
    rpm: str = Rpm,
    rpd: str = Rpd,
    seats: str = Seats,
    require_install_id: bool = Require,
    providers: str = Providers,
    models: str = Models,
    collections: str = Collections,
    tpm: str = Tpm,
    day_cap_cents: str = DayCap,
    limits: str = Limits,
    expires: str = Expires,
    group: str = Group,
    alert_thresholds: str = Thresholds,
    as_json: AsJson = False,
) -> None:
    """Create a key. It is printed once and not stored."""
    given = key_fields(
        label,
        cap_cents,
        rpm,
        rpd,
        seats,
        require_install_id,
        providers,
        models,
        collections,
        tpm,
        day_cap_cents,
        limits,
        expires,
        group,
        alert_thresholds,
    ) | {"role": role}

    async def work(session: CommandSession) -> accounts.MadeKey:
        row = await find_customer(session.pool, customer)
        return await accounts.create_key(
            session.pool, row.id, given, pepper=await session.pepper(), actor=ACTOR, request_id=REQUEST_ID
        )

    made = with_database(work)
    print_record({"key": made.key} | key_record(made.row), as_json=as_json)


@commands.command(epilog=example("keys change 7 --cap-cents 250 --rpm none"))
def change(
    key_id: int = KeyId,
    label: str = Label,
    cap_cents: str = Cap,
    rpm: str = Rpm,
    rpd: str = Rpd,
    seats: str = Seats,
    require_install_id: bool = Require,
    install_id_as_customer: bool = typer.Option(
        False,
        "--install-id-as-customer",
        help="Use the customer's setting again for whether calls must name their device.",
    ),
    providers: str = Providers,
    models: str = Models,
    collections: str = Collections,
    tpm: str = Tpm,
    day_cap_cents: str = DayCap,
    limits: str = Limits,
    expires: str = Expires,
    group: str = Group,
    alert_thresholds: str = Thresholds,
    as_json: AsJson = False,
) -> None:
    """Change the given fields, from the next call on. `none` removes a limit."""
    given = key_fields(
        label,
        cap_cents,
        rpm,
        rpd,
        seats,
        require_install_id,
        providers,
        models,
        collections,
        tpm,
        day_cap_cents,
        limits,
        expires,
        group,
        alert_thresholds,
    )
    if install_id_as_customer:
        given["require_install_id"] = None
    if not given:
        raise fail("nothing to change", hint="`kaixu keys change --help` lists what can be changed.")
    print_record(key_record(apply_change(key_id, given)), as_json=as_json)


@commands.command(epilog=example("keys rotate 7"))
def rotate(
    key_id: int = KeyId,
    overlap_s: int = typer.Option(
        0, "--overlap", metavar="SECONDS", min=0, max=MOST_OVERLAP_S, help="How long the old key goes on as well."
    ),
    as_json: AsJson = False,
) -> None:
    """Replace a key: the new one has its settings and spending, the old one is revoked, at once or after an overlap."""

    async def work(session: CommandSession) -> accounts.MadeKey:
        return await accounts.rotate_key(
            session.pool,
            key_id,
            pepper=await session.pepper(),
            actor=ACTOR,
            request_id=REQUEST_ID,
            overlap_s=overlap_s,
        )

    made = with_database(work)
    print_record({"key": made.key} | key_record(made.row), as_json=as_json)


@commands.command(epilog=example("keys revoke 7"))
def revoke(key_id: int = KeyId, as_json: AsJson = False) -> None:
    """Refuse a key from the next call on."""
    print_record(key_record(apply_change(key_id, {"revoked": True})), as_json=as_json)


@commands.command(epilog=example("keys unrevoke 7"))
def unrevoke(key_id: int = KeyId, as_json: AsJson = False) -> None:
    """Reactivate a revoked key."""
    print_record(key_record(apply_change(key_id, {"revoked": False})), as_json=as_json)


def apply_change(key_id: int, given: dict[str, Any]) -> accounts.Key:
    """Change a key."""

    async def work(session: CommandSession) -> accounts.Key:
        return await accounts.change_key(session.pool, key_id, given, actor=ACTOR, request_id=REQUEST_ID)

    return with_database(work)
