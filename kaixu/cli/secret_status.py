"""`kaixu secrets status`: which secrets are being replaced, and what still needs the old KEY_PEPPER."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from kaixu.accounts.key_material import pepper_id
from kaixu.accounts.secret_fingerprints import is_other_one
from kaixu.config.environment import OLD_NAMES
from kaixu.reports.stored_hashes import KeyElsewhere, StoredHashes, keys_elsewhere, stored_hashes

from .report import print_json, print_rows
from .session import AsJson, CommandSession, with_database

MOST_KEYS = 1000


class SecretStatus(msgspec.Struct, frozen=True):
    """Which secrets are being replaced, and what is stored under KEY_PEPPER or another pepper.

    `pepper_is_new`: the database's own pepper is still KEY_PEPPER_OLD. `keys`: None: not asked for.
    """

    replacing: list[str]
    pepper_is_new: bool
    stored: list[StoredHashes]
    keys: list[KeyElsewhere] | None


def status(
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys that are not stored under KEY_PEPPER, the last used first.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which secrets are being replaced, and how much is stored under KEY_PEPPER and under another one.

    While KEY_PEPPER_OLD is set, keys and API tokens are stored under KEY_PEPPER when they are used.
    """

    async def work(session: CommandSession) -> SecretStatus:
        secrets = await session.own_secrets("KEY_PEPPER")
        present = pepper_id(secrets.key_pepper)
        replacing = [name.removesuffix("_old").upper() for name in OLD_NAMES if getattr(secrets, name)]
        async with session.pool.acquire() as connection:
            return SecretStatus(
                replacing,
                await is_other_one(connection, "KEY_PEPPER", secrets),
                await stored_hashes(connection, present),
                await keys_elsewhere(connection, present, limit=MOST_KEYS) if keys else None,
            )

    done = with_database(work)
    if as_json:
        print_json(done)
        return
    typer.echo(f"being replaced: {', '.join(done.replacing) or 'none'}\n")
    rows = [{"what": one.what, "under KEY_PEPPER": one.present, "under another one": one.other} for one in done.stored]
    print_rows(rows, as_json=False, title="stored as hashes")
    if done.keys is not None:
        typer.echo()
        print_rows([msgspec.structs.asdict(one) for one in done.keys], as_json=False, title="keys under another one")
    typer.echo(f"\n{next_step(done)}")


def next_step(done: SecretStatus) -> str:
    """What an operator who replaces KEY_PEPPER does next."""
    if "KEY_PEPPER" not in done.replacing:
        return "KEY_PEPPER is not being replaced: what was stored before this was noted counts as under another one"
    if not done.pepper_is_new:
        return (
            "KEY_PEPPER is the database's: exchange it with KEY_PEPPER_OLD once all gateways have both; "
            "after `kaixu accept-secrets KEY_PEPPER`, remove KEY_PEPPER_OLD"
        )
    left = [f"{one.other} {one.what}" for one in done.stored if one.other]
    if left:
        return f"{', '.join(left)} still need KEY_PEPPER_OLD"
    return "KEY_PEPPER_OLD is not needed any more: `kaixu accept-secrets KEY_PEPPER`, then remove it"
