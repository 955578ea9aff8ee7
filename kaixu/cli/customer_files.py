"""`kaixu customers import` and `export`: customers as a CSV file."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import typer

from kaixu.accounts.customer_csv import csv_lines, guarded, read_lines
from kaixu.accounts.customer_import import Imported, Importer
from kaixu.accounts.customer_list import MOST_LISTED, customer_page
from kaixu.accounts.customers import ListedCustomer
from kaixu.accounts.integration_secrets import held_as
from kaixu.accounts.integration_settings import exported_settings
from kaixu.accounts.shared_fields import shared_fields
from kaixu.api.admin.replies import listed_customer_reply
from kaixu.config.price import nusd_of_cents
from kaixu.plugin.errors import KaixuError

from .failure import CommandFailed, fail
from .report import print_json, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, declared_integrations, with_database

#: How many bytes of a file are read; the limit itself is in `read_lines`.
MOST_READ = 65 * 1024 * 1024


def import_customers(
    file: Path = typer.Argument(help="A CSV file; its first line names the columns, as `export` does."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would happen."),
    issue_keys: Path = typer.Option(
        None, "--issue-keys", help="Issue a key to customers without one, and write them to this new file (mode 0600)."
    ),
    as_json: AsJson = False,
) -> None:
    """Create customers, or change those whose address is known; exit 1 if a line was refused. It may be repeated.

    A blank cell leaves a value as it is, `none` clears it, `plan` as the cap means its plan's.
    """
    try:
        lines = list(read_lines(content_of(file)))
    except KaixuError as error:  # names columns of the file, not options
        raise fail(error.message, hint=error.hint) from None
    keys = None if issue_keys is None or dry_run else KeyFile(issue_keys)
    integrations = declared_integrations()

    async def work(session: CommandSession) -> list[Imported]:
        importer = Importer(
            session.pool,
            default_cap_nusd=nusd_of_cents(session.settings.default_customer_cap_cents),
            pepper="" if keys is None else await session.pepper(),
            actor=ACTOR,
            request_id=REQUEST_ID,
            dry_run=dry_run,
            keep_key=None if keys is None else keys.keep,
            integrations=integrations,
        )
        return [one async for one in importer.run(lines)]

    try:
        done = with_database(work)
    finally:
        if keys is not None:
            keys.close()
    print_outcome(done, as_json=as_json, dry_run=dry_run)


def print_outcome(done: list[Imported], *, as_json: bool, dry_run: bool) -> None:
    """Print what became of each line; exit 1 if any was refused."""
    counts = Counter(one.outcome for one in done)
    keys = sum(one.has_key for one in done)
    rows: list[dict[str, Any]] = [msgspec.structs.asdict(one) for one in done]
    if as_json:
        print_json({"dry_run": dry_run, "counts": counts, "keys": keys, "lines": rows})
    else:
        print_rows(rows, as_json=False, title="lines")
        words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no lines"
        typer.echo(f"\n{'would be ' if dry_run else ''}{words}; {keys} key{'' if keys == 1 else 's'} issued")
    if counts["refused"]:
        raise typer.Exit(1)


def export_customers(
    file: Path = typer.Argument(None, help="The file; default: standard output."),
    as_json: AsJson = False,
) -> None:
    """Write all customers as CSV, as `import` reads it. Values of a plan are blank, the cap `plan`.

    With `--json` also their settings of integrations.
    """

    settings: dict[int, dict[str, Any]] = {}
    shared: dict[int, dict[str, Any]] = {}
    held: dict[int, dict[str, bool]] = {}
    integrations = declared_integrations()

    async def work(session: CommandSession) -> list[ListedCustomer]:
        rows: list[ListedCustomer] = []
        cursor = None
        while True:
            given = {"sort": "id", "order": "asc", "limit": MOST_LISTED, "cursor": cursor}
            page = await customer_page(session.pool, given)
            rows += page.customers
            ids = [row.id for row in page.customers]
            shared.update(await shared_fields(session.pool, ids, integrations))
            if as_json:
                settings.update(await exported_settings(session.pool, ids))
                held.update(await held_as(session.pool, ids, integrations))
            if (cursor := page.next_cursor) is None:
                return rows

    rows = with_database(work)
    if as_json:
        shown = [
            listed_customer_reply(row, shared[row.id] | held[row.id]) | {"integrations": settings.get(row.id, {})}
            for row in rows
        ]
        text = msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n"
    else:
        text = csv_lines(rows, shared)
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise fail(f"{file} cannot be written: {error.strerror}") from None


def content_of(file: Path) -> bytes:
    """A file's content, of which one byte more than allowed is enough."""
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_READ)
    except OSError as error:
        raise fail(f"{file} cannot be read: {error.strerror}") from None


class KeyFile:
    """A new file for keys, made for the first one, which only its owner may read.

    Each key is on the disk before `keep` returns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor: int | None = None
        if path.exists():
            raise self.exists()

    def exists(self) -> CommandFailed:
        """The error for a file that is there: it may have the only copy of other keys."""
        return fail(f"{self.path} exists", hint="Keys are written to a new file only; name another one.")

    def keep(self, email: str, customer_id: int, key: str) -> None:
        """Write one key."""
        try:
            if self.descriptor is None:
                self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                self.write(self.descriptor, ["email", "customer_id", "key"])
            self.write(self.descriptor, [guarded(email), str(customer_id), key])
            os.fsync(self.descriptor)
        except FileExistsError:
            raise self.exists() from None
        except OSError as error:
            raise fail(f"{self.path} cannot be written: {error.strerror}") from None

    @staticmethod
    def write(descriptor: int, cells: list[str]) -> None:
        """Write one line."""
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        data = line.getvalue().encode()
        while data:
            data = data[os.write(descriptor, data) :]

    def close(self) -> None:
        """Close the file, if there is one."""
        if self.descriptor is not None:
            os.close(self.descriptor)
