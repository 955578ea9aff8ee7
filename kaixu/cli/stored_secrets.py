"""`kaixu secrets`: replace DB_ENCRYPTION_KEY and KEY_PEPPER; import tokens of the older edition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from kaixu.accounts.imports.older_secrets import ImportedSecret, import_secrets, read_rows
from kaixu.accounts.resealing import Resealed
from kaixu.accounts.resealing import reseal as reseal_all
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.operation import Integration

from .customer_files import content_of
from .examples import example
from .failure import fail
from .report import print_json, print_rows
from .secret_status import status
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, load_catalog, load_settings, with_database


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Replace DB_ENCRYPTION_KEY and KEY_PEPPER step by step, import tokens of the older edition.",
    )
    group.command("reseal", epilog=example("secrets reseal"))(reseal)
    group.command("status", epilog=example("secrets status --keys"))(status)
    group.command("import", epilog=example("secrets import tokens.csv push token --key-file older-key"))(import_)
    app.add_typer(group, name="secrets")


def reseal(as_json: AsJson = False) -> None:
    """Encrypt all stored texts again under the present DB_ENCRYPTION_KEY; exit 1 if some can be read with no key.

    While DB_ENCRYPTION_KEY_OLD has the one before. Gateways may run; it may be interrupted and repeated.
    """

    async def work(session: CommandSession) -> list[Resealed]:
        secrets = await session.own_secrets("DB_ENCRYPTION_KEY")
        return await reseal_all(session.pool, secrets, actor=ACTOR, request_id=REQUEST_ID)

    done = with_database(work)
    unreadable = sum(one.unreadable for one in done)
    if as_json:
        print_json({"texts": [msgspec.structs.asdict(one) for one in done], "unreadable": unreadable})
    else:
        print_rows([msgspec.structs.asdict(one) for one in done], as_json=False, title="texts")
        if not unreadable:
            typer.echo("\nall texts are encrypted with DB_ENCRYPTION_KEY; DB_ENCRYPTION_KEY_OLD is not needed any more")
    if unreadable:
        raise fail(
            f"{unreadable} texts can be read neither with DB_ENCRYPTION_KEY nor with DB_ENCRYPTION_KEY_OLD",
            hint="If there was another one before, set it as DB_ENCRYPTION_KEY_OLD and run this again.",
        )


def import_(
    file: Annotated[
        Path, typer.Argument(help="A CSV file or a JSON array with `customer_id` (or `email`) and `token`.")
    ],
    integration: Annotated[str, typer.Argument(help="The integration of kaixu.yaml that gets the tokens.")],
    name: Annotated[str, typer.Argument(help="The name of its secret.")],
    key_file: Annotated[
        Path, typer.Option("--key-file", help="A file with the older edition's DB_ENCRYPTION_KEY, or its JWT_SECRET.")
    ],
    shown: Annotated[
        list[str] | None, typer.Option("--meta", help="A column to store beside the token, unencrypted; repeatable.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also where a customer has the secret already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import tokens that the gateway's older edition stored (`v1:…`); exit 1 if a row was refused. May be repeated."""
    declared = declared_integration(integration, name)
    key = content_of(key_file).decode("utf-8", "replace").strip("\r\n")
    if not key:
        raise fail(f"{key_file} is empty")
    try:
        rows = read_rows(content_of(file), shown or [])
    except KaixuError as error:
        raise fail(error.message, hint=error.hint) from None

    async def work(session: CommandSession) -> list[ImportedSecret]:
        secrets = await session.own_secrets("DB_ENCRYPTION_KEY")
        return await import_secrets(
            session.pool,
            sealer_of(secrets),
            declared,
            name,
            rows,
            older_key=key,
            replace=replace,
            dry_run=dry_run,
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    done = with_database(work)
    counts = Counter(one.outcome for one in done)
    plain = [msgspec.structs.asdict(one) for one in done]
    if as_json:
        print_json({"dry_run": dry_run, "counts": counts, "rows": plain})
    else:
        print_rows(plain, as_json=False, title="rows")
        words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no rows"
        typer.echo(f"\n{'would be ' if dry_run else ''}{words}")
    if counts["refused"]:
        raise typer.Exit(1)


def declared_integration(integration: str, name: str) -> Integration:
    """The integration that gets the tokens; end the command if it is not on, or has no such secret."""
    for one in load_catalog(load_settings()).declared:
        if one.name == integration:
            if name not in {secret.name for secret in one.secrets}:
                known = ", ".join(secret.name for secret in one.secrets) or "none"
                raise fail(f"integration `{integration}` has no secret `{name}`", hint=f"Its secrets: {known}.")
            return one
    raise fail(f"integration `{integration}` is not on", hint="See `kaixu plugins`.")
