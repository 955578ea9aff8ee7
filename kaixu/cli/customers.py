"""`kaixu customers …`: the same rules as the admin API."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts import customers as accounts
from kaixu.accounts import fields
from kaixu.accounts.customer_list import MOST_LISTED, CustomerPage, customer_page
from kaixu.accounts.end_users import end_user_name, set_end_user_cap
from kaixu.accounts.topups import top_up
from kaixu.cli.options import NONE, read_options
from kaixu.config.price import factor_text, nusd_of_cents, usd

from .customer_deletion import delete_customer
from .customer_files import export_customers, import_customers
from .examples import example
from .failure import fail
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

#: Fields that `none` clears. A customer always has a cap; a cap of 0 refuses every call.
CLEARABLE = frozenset(
    {
        "max_devices_per_key",
        "allowed_providers",
        "allowed_models",
        "max_vectors",
        "end_user_cap_cents",
        "tpm_limit",
        "day_cap_cents",
        "alert_thresholds",
        "alert_mail",
    }
)

commands = typer.Typer(
    no_args_is_help=True,
    help="Customers: list, create, change, disable, enable, top up, cap end users, import, export, delete.",
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands.command("import", epilog=example("customers import customers.csv --dry-run"))(import_customers)
    commands.command("export", epilog=example("customers export customers.csv"))(export_customers)
    commands.command("delete", epilog=example("customers delete ada@example.com --dry-run"))(delete_customer)
    app.add_typer(commands, name="customers")


def customer_record(row: accounts.Customer) -> dict[str, Any]:
    """A customer for printing."""
    shown = {
        "id": row.id,
        "email": row.email,
        "plan": row.plan_name,
        "active": row.is_active,
        "cap_usd": usd(row.monthly_cap_nusd),
        "seats_per_key": row.max_devices_per_key,
        "install_id_required": row.require_install_id,
        "allowed_providers": row.allowed_providers,
        "allowed_models": row.allowed_models,
        "max_vectors": row.max_vectors,
        "end_user_cap_usd": None if row.end_user_cap_nusd is None else usd(row.end_user_cap_nusd),
        "tpm": row.tpm_limit,
        "day_cap_usd": None if row.day_cap_nusd is None else usd(row.day_cap_nusd),
        "from_plan": accounts.wire_names(row.from_plan),
        "price_factor": factor_text(row.price_factor_millionths),
        "alert_thresholds": row.alert_thresholds,
        "alert_mail": row.alert_mail,
    }
    if isinstance(row, accounts.ListedCustomer):
        shown |= {
            "deviations": accounts.wire_names(row.deviations),
            "keys": row.active_keys,
            "extra_usd": usd(row.extra_nusd),
            "spent_usd": usd(row.spent_nusd),
            "held_usd": usd(row.held_nusd),
        }
    return shown


@commands.command("list", epilog=example("customers list --json"))
def list_customers(
    search: str = typer.Option(None, "--search", "-q", help="A part of the address, or an id."),
    plan: str = typer.Option(None, help="Only customers of this plan."),
    active: bool = typer.Option(None, "--active/--disabled", help="Only active ones, or only disabled ones."),
    sort: str = typer.Option("id", help="id, email or spent."),
    order: str = typer.Option(None, help="asc or desc; default: the newest, or those that spent most, first."),
    limit: int = typer.Option(MOST_LISTED, min=1, max=MOST_LISTED, help="How many."),
    cursor: str = typer.Option(None, help="The next page: what the one before printed."),
    as_json: AsJson = False,
) -> None:
    """List customers with this month's figures, newest first."""
    given = {
        "q": search,
        "plan": plan,
        "active": active,
        "sort": sort,
        "order": order,
        "limit": limit,
        "cursor": cursor,
    }

    async def work(session: CommandSession) -> CustomerPage:
        return await customer_page(session.pool, given)

    page = with_database(work)
    rows = [customer_record(row) for row in page.customers]
    if not as_json:
        names = ("id", "email", "plan", "active", "keys", "cap_usd", "extra_usd", "spent_usd", "held_usd", "deviations")
        rows = [{name: row[name] for name in names} for row in rows]
        for row in rows:
            row["deviations"] = ", ".join(row["deviations"]) or None
    print_rows(rows, as_json=as_json, title="customers")
    if page.next_cursor is not None and not as_json:
        typer.echo(f"\nmore: --cursor '{page.next_cursor}'")


@commands.command(epilog=example("customers create ada@example.com --cap-cents 500"))
def create(
    email: str = typer.Argument(help="The customer's address; also its name in commands."),
    plan: str = typer.Option(None, help="Plan name."),
    cap_cents: int = typer.Option(
        None, "--cap-cents", "--cap", help="Monthly cap in cents; default: its plan's, or DEFAULT_CUSTOMER_CAP_CENTS."
    ),
    as_json: AsJson = False,
) -> None:
    """Create a customer."""
    given = {"email": email, "plan_name": plan, "monthly_cap_cents": cap_cents}

    async def work(session: CommandSession) -> accounts.Customer:
        return await accounts.create_customer(
            session.pool,
            {name: value for name, value in given.items() if value is not None},
            default_cap_nusd=nusd_of_cents(session.settings.default_customer_cap_cents),
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    print_record(customer_record(with_database(work)), as_json=as_json)


@commands.command(epilog=example("customers change ada@example.com --seats 3 --providers none"))
def change(
    customer: str = typer.Argument(help="Id or email."),
    email: str = typer.Option(None, help="A new address."),
    plan: str = typer.Option(None, help="Plan name."),
    cap_cents: str = typer.Option(
        None, "--cap-cents", "--cap", metavar="N|plan", help="Monthly cap in cents; plan: its plan's."
    ),
    seats: str = typer.Option(None, metavar="N|none", help="Device seats of each key; 0: no limit; none: as its plan."),
    require_install_id: bool = typer.Option(None, help="Whether every call must name its device."),
    providers: str = typer.Option(None, help="Allowed providers, comma-separated; '*' or none: all."),
    models: str = typer.Option(None, help='Allowed models as JSON: {"provider": ["model"]}; none: all.'),
    max_vectors: str = typer.Option(
        None, metavar="N|none", help="Vectors in all collections; none: the gateway's `max_vectors`."
    ),
    end_user_cap_cents: str = typer.Option(
        None, "--end-user-cap-cents", metavar="N|none", help="Monthly cap in cents of each of its end users."
    ),
    tpm: str = typer.Option(None, metavar="N|none", help="Tokens a minute of all its keys together."),
    day_cap_cents: str = typer.Option(
        None, "--day-cap-cents", "--day-cap", metavar="CENTS|none", help="Cap of a day (UTC) in cents."
    ),
    alert_thresholds: str = typer.Option(
        None,
        metavar="50,85,100|[]|none",
        help="Percent of its cap at which alerts are raised; []: at none; none: the gateway's.",
    ),
    alert_mail: str = typer.Option(
        None, metavar="yes|no|none", help="Whether it gets its alerts by mail; none: as `alerts.customers` says."
    ),
    as_json: AsJson = False,
) -> None:
    """Change the given fields, from the next call on. `none` removes a limit of its own: its plan's then applies."""
    given = {
        "email": email,
        "plan_name": plan,
        "monthly_cap_cents": cap_cents,
        "max_devices_per_key": seats,
        "require_install_id": require_install_id,
        "allowed_providers": providers,
        "allowed_models": models,
        "max_vectors": max_vectors,
        "end_user_cap_cents": end_user_cap_cents,
        "tpm_limit": tpm,
        "day_cap_cents": day_cap_cents,
        "alert_thresholds": alert_thresholds,
        "alert_mail": None if alert_mail is None else yes_or_no(alert_mail),
    }
    changes = read_options(given, clearable=CLEARABLE)
    if not changes:
        raise fail("nothing to change", hint="`kaixu customers change --help` lists what can be changed.")
    print_record(customer_record(apply_change(customer, changes)), as_json=as_json)


@commands.command(epilog=example("customers disable ada@example.com"))
def disable(customer: str = typer.Argument(help="Id or email."), as_json: AsJson = False) -> None:
    """Refuse all calls of a customer, from the next one on."""
    print_record(customer_record(apply_change(customer, {"is_active": False})), as_json=as_json)


@commands.command(epilog=example("customers enable ada@example.com"))
def enable(customer: str = typer.Argument(help="Id or email."), as_json: AsJson = False) -> None:
    """Serve a customer again."""
    print_record(customer_record(apply_change(customer, {"is_active": True})), as_json=as_json)


@commands.command("top-up", epilog=example("customers top-up ada@example.com 500"))
def top_up_customer(
    customer: str = typer.Argument(help="Id or email."),
    amount_cents: int = typer.Argument(help="The amount in cents."),
    month: str = typer.Option(None, help="The month, as 2026-11; default: this one."),
    idempotency_key: str = typer.Option(None, help="A second top-up with the same key credits nothing."),
    as_json: AsJson = False,
) -> None:
    """Add a credit to a month's cap."""

    async def work(session: CommandSession) -> dict[str, Any]:
        row = await accounts.find_customer(session.pool, customer)
        done = await top_up(
            session.pool,
            row.id,
            amount_cents=amount_cents,
            month=month,
            idempotency_key=idempotency_key,
            source="manual",
            actor=ACTOR,
            request_id=REQUEST_ID,
        )
        return {
            "customer_id": done.customer_id,
            "month": f"{done.month:%Y-%m}",
            "amount_usd": usd(done.amount_nusd),
            "extra_usd": usd(done.extra_nusd),
            "applied": done.applied,
        }

    print_record(with_database(work), as_json=as_json)


@commands.command("end-user-cap", epilog=example("customers end-user-cap ada@example.com visitor-7 100"))
def end_user_cap(
    customer: str = typer.Argument(help="Id or email."),
    end_user: str = typer.Argument(help="The end user, as requests name it in `user`."),
    cap_cents: str = typer.Argument(
        metavar="CENTS|none", help="Its monthly cap in cents; none: as the customer's others."
    ),
    as_json: AsJson = False,
) -> None:
    """Set the monthly cap of one end user of a customer, from the next call on."""

    async def work(session: CommandSession) -> dict[str, Any]:
        row = await accounts.find_customer(session.pool, customer)
        name = end_user_name(end_user, "end_user")
        cap = None if cap_cents.strip().lower() == NONE else fields.cents(cap_cents, "cap_cents")
        if cap is None and cap_cents.strip().lower() != NONE:
            raise fail("the cap is missing", hint="Give cents, or none.")
        done = await set_end_user_cap(session.pool, row.id, name, cap, actor=ACTOR, request_id=REQUEST_ID)
        return {
            "customer_id": done.customer_id,
            "end_user": done.end_user,
            "cap_usd": None if done.monthly_cap_nusd is None else usd(done.monthly_cap_nusd),
            "calls": done.calls,
            "spent_usd": usd(done.spent_nusd),
            "held_usd": usd(done.held_nusd),
        }

    print_record(with_database(work), as_json=as_json)


def yes_or_no(text: str) -> bool | str:
    """`yes` or `no`; `none` as it is."""
    word = text.strip().lower()
    if word not in ("yes", "no", NONE):
        raise fail("`--alert-mail` must be yes, no or none")
    return word if word == NONE else word == "yes"


def apply_change(customer: str, given: dict[str, Any]) -> accounts.Customer:
    """Change a customer."""

    async def work(session: CommandSession) -> accounts.Customer:
        row = await accounts.find_customer(session.pool, customer)
        return await accounts.change_customer(session.pool, row.id, given, actor=ACTOR, request_id=REQUEST_ID)

    return with_database(work)
