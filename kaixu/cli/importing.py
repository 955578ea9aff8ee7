"""`kaixu import`: take over customers, keys and prices from another gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from kaixu.accounts.imports.run import SYSTEMS, ImportOptions, ImportResult, System, import_accounts
from kaixu.accounts.imports.values import MOST_NUSD
from kaixu.config.price import nusd_of_cents, usd

from .examples import example
from .failure import fail
from .report import print_json, print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

#: What is read, by the name of the command.
TITLES = {"litellm": "LiteLLM", "one-api": "one-api", "new-api": "new-api"}

Where = Annotated[str, typer.Argument(help="A dump of Postgres, a SQLite file, or postgresql://user@host/database.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; report what would be done.")]
Name = Annotated[str | None, typer.Option("--source", help="Your name of the other gateway; default: its kind.")]
Lanes = Annotated[Path | None, typer.Option("--lanes", help="Write its models and prices here, for kaixu.yaml.")]
CapCents = Annotated[
    int | None,
    typer.Option(
        "--cap-cents", min=0, max=1_000_000_000, help="Cap of a customer without a budget; default: 10 million USD."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Take over customers, keys and prices from another gateway.", no_args_is_help=True)
    group.command("litellm", epilog=example("import litellm litellm.sql --dry-run"))(import_litellm)
    group.command("one-api", epilog=example("import one-api one-api.db --lanes lanes.yaml"))(import_one_api)
    group.command("new-api", epilog=example("import new-api one-api.db --lanes lanes.yaml"))(import_new_api)
    app.add_typer(group, name="import")


def import_litellm(
    where: Where, dry_run: DryRun = False, source: Name = None, lanes: Lanes = None, cap_cents: CapCents = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take over users, teams, keys, budgets, this month's spend and models of LiteLLM; keys go on working."""
    run("litellm", where, dry_run=dry_run, source=source, lanes=lanes, cap_cents=cap_cents, as_json=as_json)


def import_one_api(
    where: Where, dry_run: DryRun = False, source: Name = None, lanes: Lanes = None, as_json: AsJson = False
) -> None:
    """Take over users, keys, quotas, this month's spend, channels and prices of one-api; keys go on working."""
    run("one-api", where, dry_run=dry_run, source=source, lanes=lanes, cap_cents=None, as_json=as_json)


def import_new_api(
    where: Where, dry_run: DryRun = False, source: Name = None, lanes: Lanes = None, as_json: AsJson = False
) -> None:
    """Take over users, keys, quotas, this month's spend, channels and prices of new-api; keys go on working."""
    run("new-api", where, dry_run=dry_run, source=source, lanes=lanes, cap_cents=None, as_json=as_json)


def run(
    system: System,
    where: str,
    *,
    dry_run: bool,
    source: str | None,
    lanes: Path | None,
    cap_cents: int | None,
    as_json: bool,
) -> None:
    """Run an import, and print what it did."""
    assert system in SYSTEMS
    if lanes is not None and lanes.exists():
        raise fail(f"{lanes} is there already", hint="Name a new file: nothing is written over.")
    options = ImportOptions(
        system, where, source or system, MOST_NUSD if cap_cents is None else nusd_of_cents(cap_cents), dry_run
    )

    async def work(session: CommandSession) -> ImportResult:
        return await import_accounts(
            session.pool,
            options,
            pepper=await session.pepper(),
            actor=ACTOR,
            request_id=REQUEST_ID,
            progress=lambda line: typer.echo(line, err=True),
        )

    result = with_database(work)
    if lanes is not None and result.lanes is not None and not dry_run:
        write_new(lanes, result.lanes)
    if as_json:
        print_json(msgspec.to_builtins(result))
        return
    print_result(result, lanes)


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise fail(f"{path} cannot be written: {error.strerror}", hint="Everything else was imported.") from None


def print_result(result: ImportResult, lanes: Path | None) -> None:
    """Print the result: figures, then a row for each field and reason."""
    would = " (dry run: nothing was changed)" if result.dry_run else ""
    print_record(
        {
            "from": f"{TITLES[result.system]}, as `{result.source}`{would}",
            "customers": f"{result.customers.new} new, {result.customers.already} imported before",
            "keys": f"{result.keys.new} new ({result.revoked_keys} of them revoked), {result.keys.already} imported "
            f"before, {result.keys.refused} left out",
            "spent this month": f"${usd(result.spent_nusd)}",
        },
        as_json=False,
    )
    filled = [field_row(one) for one in result.fields if one.outcome != "empty"]
    print_rows(filled, as_json=False, title="\nfields")
    typer.echo(f"{len(result.fields) - len(filled)} more fields have no value in any row (--json names them)")
    print_rows(
        [{"table": one.table, "rows": one.rows, "why": one.reason} for one in result.tables],
        as_json=False,
        title="\ntables that were not read",
    )
    if result.lanes is not None and lanes is None:
        typer.echo("\nmodels and prices: run it again with --lanes FILE, which writes them as a part of kaixu.yaml")
    elif result.lanes is not None and not result.dry_run:
        typer.echo(f"\nmodels and prices are in {lanes}: put them into kaixu.yaml, set the variables, `kaixu check`")


def field_row(one: Any) -> dict[str, Any]:
    """An outcome as a row."""
    return {
        "field": f"{one.table}.{one.field}",
        "outcome": one.outcome,
        "rows": one.rows,
        "why": one.reason,
        "for example": ", ".join(one.examples) or None,
    }
