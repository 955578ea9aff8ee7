"""Runs an import: customers, then keys with their earlier spend, a transaction for each batch.

What a batch has written is complete: an import that was interrupted is continued by running it again, and one that was
finished changes nothing when it is run again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from itertools import islice
from typing import Literal, TypeVar
from uuid import uuid5

import asyncpg
import msgspec

from kaixu.plugin.errors import Unprocessable
from kaixu.store import imports as store
from kaixu.store.clock import now as database_now
from kaixu.store.clock import this_month
from kaixu.store.imports import ImportedKey, NewCustomer, NewKey
from kaixu.store.pool import database
from kaixu.store.prices import version_of
from kaixu.store.query import DatabaseSession

from .lanes import lanes_yaml
from .litellm import NAMESPACE, LiteLLM
from .one_api import OneApi
from .open import open_source
from .records import KeyRecord
from .report import FieldReport, Report, TableReport
from .source import Source
from .values import MOST_NUSD, printable

System = Literal["litellm", "one-api", "new-api"]
SYSTEMS: tuple[System, ...] = ("litellm", "one-api", "new-api")

#: Rows of a transaction.
BATCH = 1000

#: The name of a source, which is a part of addresses and of the price's name.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

#: One nano-dollar for each that was spent: `kaixu reconcile` recomputes the events with it.
RATES = {"imported": 1, "per_nanodollar": 1}

ROLE = "deployer"
Item = TypeVar("Item")


class Counts(msgspec.Struct):
    """Rows of one kind: those that were made (or would be), and those that an earlier import had made."""

    new: int = 0
    already: int = 0
    refused: int = 0


class ImportResult(msgspec.Struct):
    """What an import did, or with `dry_run` would do. Money is in nano-dollars."""

    system: str
    source: str
    dry_run: bool
    customers: Counts
    keys: Counts
    revoked_keys: int
    spent_nusd: int
    fields: list[FieldReport]
    tables: list[TableReport]
    lanes: str | None


class ImportOptions(msgspec.Struct, frozen=True):
    """What the operator chose. `where`: a file, or an address of a Postgres. `name`: the operator's for it."""

    system: System
    where: str
    name: str
    cap_nusd: int = MOST_NUSD
    dry_run: bool = False


async def import_accounts(
    pool: asyncpg.Pool,
    options: ImportOptions,
    *,
    pepper: str,
    actor: str,
    request_id: str,
    progress: Callable[[str], None] = lambda _: None,
) -> ImportResult:
    """Take over the customers and keys of another gateway, each once.

    Raises `Invalid`, `NotFound` and `Unprocessable` for a source that cannot be read, `Conflict` where somebody takes
    one of the addresses meanwhile, `DatabaseAway`.
    """
    if not NAME.fullmatch(options.name):
        raise Unprocessable("the name of a source has 1 to 40 lower-case letters, digits and dashes", field="source")
    wanted = LiteLLM.wanted if options.system == "litellm" else OneApi.wanted
    async with open_source(options.where, wanted) as source:
        report = Report()
        with database():
            now, month = await database_now(pool), await this_month(pool)
        translator = translator_of(options, source, report, pepper=pepper, now=now, month=month)
        translator.check()
        with database():
            async with pool.acquire() as connection, undone_if(connection, options.dry_run):
                run = Run(connection, options, month=month, actor=actor, request_id=request_id, progress=progress)
                await run.customers(translator.customers(), report, translator.email_field)
                await run.keys(translator.keys(), report, translator.key_table)
        lanes = lanes_yaml(options.system, translator.models(), report)
        translator.finish()
        tables = [
            TableReport(printable(table), rows, translator.table_reason(table))
            for table, rows in skipped(source, wanted)
        ]
    return ImportResult(
        system=options.system,
        source=options.name,
        dry_run=options.dry_run,
        customers=run.customer_counts,
        keys=run.key_counts,
        revoked_keys=run.revoked,
        spent_nusd=run.spent_nusd,
        fields=report.fields,
        tables=tables,
        lanes=lanes,
    )


@asynccontextmanager
async def undone_if(connection: DatabaseSession, dry_run: bool) -> AsyncIterator[None]:
    """With `dry_run`, what is done within is undone at its end."""
    if not dry_run:
        yield
        return
    transaction = connection.transaction()
    await transaction.start()
    try:
        # Reading the source between two statements may take longer than a transaction may else be idle.
        await connection.execute("set local idle_in_transaction_session_timeout = 0")
        yield
    finally:
        await transaction.rollback()


def translator_of(
    options: ImportOptions, source: Source, report: Report, *, pepper: str, now: datetime, month: date
) -> LiteLLM | OneApi:
    """The translator for a kind of gateway."""
    if options.system == "litellm":
        return LiteLLM(source, report, options.name, now=now, month=month, cap_nusd=options.cap_nusd)
    return OneApi(source, report, options.name, pepper=pepper, month=month, system=options.system)


def skipped(source: Source, wanted: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Tables that were not read, with their rows."""
    yield from sorted(source.skipped.items())
    for table in source.tables:
        if table not in wanted:
            yield table, source.count(table)


class Run:
    """One import into the gateway's database, on one connection."""

    def __init__(
        self,
        connection: DatabaseSession,
        options: ImportOptions,
        *,
        month: date,
        actor: str,
        request_id: str,
        progress: Callable[[str], None],
    ) -> None:
        self.connection = connection
        self.options = options
        self.month = month
        self.actor = actor
        self.request_id = request_id
        self.progress = progress
        self.customer_counts = Counts()
        self.key_counts = Counts()
        self.revoked = 0
        self.spent_nusd = 0
        self.price_id = 0
        self.ids: dict[str, int] = {}  # our id of each customer, by its id there

    async def customers(self, rows: Iterable[NewCustomer], report: Report, email_field: tuple[str, str]) -> None:
        """Make the customers that are new."""
        for batch in batches(rows):
            async with self.connection.transaction():
                await store.lock_imports(self.connection)
                made = await store.insert_customers(
                    self.connection, self.options.name, batch, actor=self.actor, request_id=self.request_id
                )
            self.ids |= {one.source_id: one.customer_id for one in made}
            asked = {one.source_id: one for one in batch}
            for one in made:
                if one.is_new and one.email != asked[one.source_id].email:
                    report.address_taken(*email_field, one.source_id[:60])
            new = sum(one.is_new for one in made)
            self.customer_counts.new += new
            self.customer_counts.already += len(made) - new
        self.progress(f"{self.customer_counts.new} customers are new, {self.customer_counts.already} were there")

    async def keys(self, rows: Iterable[KeyRecord], report: Report, table: str) -> None:
        """Make the keys that are new, each batch with the spend of its keys."""
        for batch in batches(rows):
            async with self.connection.transaction():
                await store.lock_imports(self.connection)
                known = await store.known_keys(self.connection, self.options.name, [one.source_id for one in batch])
                new = [one for one in batch if one.source_id not in known]
                made = await self.make_keys(new) if new else {}
            self.key_counts.already += len(known)
            self.key_counts.new += len(made)
            self.key_counts.refused += len(new) - len(made)
            for one in new:
                if one.source_id not in made:
                    report.dropped(
                        table,
                        "key",
                        "a key with this hash is here already, or its customer was deleted here",
                        one.source_id[:8],
                    )
            self.progress(f"{self.key_counts.new} keys are new, {self.key_counts.already} were there")

    async def make_keys(self, records: Sequence[KeyRecord]) -> dict[str, ImportedKey]:
        """Make keys, and book their earlier spend; those that were made, by their id there."""
        rows = [new_key(one, self.ids[one.owner]) for one in records]
        made = {
            one.source_id: one
            for one in await store.insert_keys(
                self.connection, self.options.name, rows, actor=self.actor, request_id=self.request_id
            )
        }
        spent = [one for one in records if one.spent_nusd > 0 and one.source_id in made]
        self.revoked += sum(one.is_revoked and one.source_id in made for one in records)
        self.spent_nusd += sum(one.spent_nusd for one in spent)
        # A dry run ends by undoing everything; until then it must not hold the row of a customer who makes calls.
        if spent and not self.options.dry_run:
            await self.book([(one, made[one.source_id]) for one in spent])
        return made

    async def book(self, spent: Sequence[tuple[KeyRecord, ImportedKey]]) -> None:
        """Book what keys have spent this month at the other gateway."""
        name = self.options.name
        self.price_id = self.price_id or await version_of(self.connection, name, "earlier", RATES, None)
        await store.import_spend(
            self.connection,
            [
                (uuid5(NAMESPACE, f"{name}\n{one.source_id}"), key.customer_id, key.key_id, one.spent_nusd)
                for one, key in spent
            ],
            month=self.month,
            source=name,
            price_id=self.price_id,
            request_id=self.request_id,
        )


def new_key(one: KeyRecord, customer_id: int) -> NewKey:
    """A record as a row."""
    return NewKey(
        source_id=one.source_id,
        customer_id=customer_id,
        key_hash=one.key_hash,
        pepper_id=one.pepper_id,
        key_last4=one.key_last4,
        label=one.label,
        role=ROLE,
        monthly_cap_nusd=one.monthly_cap_nusd,
        rpm_limit=one.rpm_limit,
        allowed_models=one.allowed_models,
        is_revoked=one.is_revoked,
        tpm_limit=one.tpm_limit,
        day_cap_nusd=one.day_cap_nusd,
        expires_at=one.expires_at,
    )


def batches(rows: Iterable[Item]) -> Iterator[list[Item]]:
    """The rows in lists of `BATCH`."""
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch
