"""`kaixu doctor`: how the gateway is doing, and what is wrong; as far as one gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import typer

from kaixu import __version__
from kaixu.config.database import DatabaseSection
from kaixu.config.environment import EnvironmentMistake, Settings, secrets_of
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.store import state, vector_index
from kaixu.store.migrate import OLDEST_VECTOR, MigrationError, is_old
from kaixu.store.partitions import month_after
from kaixu.store.pools import Room, room
from kaixu.store.search import MOST_INDEXED

from .check import catalog_at
from .doctor_plugins import plugin_rows
from .examples import example
from .failure import CommandFailed
from .gateway_rows import Row, gateway_rows, row, spool_rows
from .migrate import needed
from .report import print_rows
from .session import AsJson, CommandSession, settings, with_database

#: Expired for longer than this, a reservation should have been ended by some gateway.
OVERDUE_S = 60

#: So many missing migrations and functions are named; of more, the number is told.
MOST_SHOWN = 5

#: What a table shows of each row; scripts get all of it.
COLUMNS = ("what", "state", "detail")

#: Holds and windows go by the database's clock, tokens by ours.
MOST_SKEW_S = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("doctor --json"))(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Look at secrets, database, schema, lanes, spool and running gateways; exit 1 if something is wrong."""
    given = settings()
    rows = [row("version", True, __version__), secrets_row(given)]
    try:
        rows += with_database(examine, migrated=False)
    except CommandFailed as error:
        rows.append(row("postgres", False, error.said))
    rows += [*lane_rows(given.kaixu_config), *spool_rows(given.kaixu_home), *gateway_rows(given)]
    print_rows(rows if as_json else [{name: one[name] for name in COLUMNS} for one in rows], as_json=as_json)
    if any(one["state"] == "wrong" for one in rows):
        raise typer.Exit(1)


def secrets_row(given: Settings) -> Row:
    """Whether `kaixu serve` would find its secrets, and keeps them to itself."""
    kept = given.kaixu_home / "secrets.json"
    try:
        secrets_of(given, dev=kept.exists())
    except EnvironmentMistake as error:
        return row("secrets", False, str(error))
    if not kept.exists():
        return row("secrets", True, "from the environment")
    private = kept.stat().st_mode & 0o077 == 0
    return row("secrets", private, f"kept in {kept}" if private else f"others can read {kept}: chmod 600 it")


def pgvector_row(version: str | None) -> Row:
    """Whether there is one, and one that searches by filters, too."""
    oldest = ".".join(map(str, OLDEST_VECTOR))
    if version is None:
        return row("pgvector", False, f"not installed on the server: install pgvector {oldest} or newer")
    return row("pgvector", not is_old(version), f"{version}: {oldest} is needed" if is_old(version) else version)


async def examine(session: CommandSession) -> list[Row]:
    """The database's rows."""
    async with session.pool.acquire() as connection:
        server = await state.server(connection)
        kind = "embedded" if session.settings.database_url is None else "DATABASE_URL"
        vector = server.vector_installed or server.vector_available
        skew_s = abs((datetime.now(UTC) - server.now).total_seconds())
        durable = server.fsync and server.full_page_writes
        rows = [
            row(
                "postgres", server.version_number >= 150000, f"{server.version} ({kind}), {server.size_bytes >> 20} MiB"
            ),
            pgvector_row(vector),
            row("durability", durable, "settled money survives a power cut" if durable else "fsync is off"),
            row("clock", skew_s <= MOST_SKEW_S, f"{skew_s:.1f} s from the database's"),
        ]
        try:
            missing = await needed(connection)
        except MigrationError as error:
            return [*rows, row("schema", False, str(error))]
        if missing:
            shown = ", ".join(missing) if len(missing) <= MOST_SHOWN else f"{len(missing)} migrations and functions"
            return [*rows, row("schema", False, f"needs {shown}: start a gateway, or run `kaixu migrate`")]
        rows.append(row("schema", True, "up to date"))
        holds = await state.holds(connection)
        overdue = (holds.oldest_expired_s or 0) > OVERDUE_S
        detail = f"{holds.running} in flight, {holds.expired} expired"
        rows.append(row("reservations", not overdue, f"{detail}; a running gateway ends them" if overdue else detail))
        rows += partition_rows(await state.partitions(connection), await state.strays(connection))
        rows.append(connections_row(await room(connection), session.settings))
        found = await vector_index.overview(connection)
        rows += await plugin_rows(connection, session.settings.kaixu_config, pooler=session.settings.kaixu_pooler)
        return [*rows, collections_row(found), *index_rows(await vector_index.large(connection))]


def connections_row(found: Room, given: Settings) -> Row:
    """Whether the pools of all gateways together fit into what the server takes."""
    each = sizes_in(given.kaixu_config).connections
    count = max(1, found.gateways)
    wanted = each * count
    told = (
        f"at most {each} for each gateway, {found.gateways} running: {wanted} of the {found.most} that the server "
        f"takes; {found.taken} are taken"
    )
    if wanted > found.most:
        told += ": raise `max_connections`, or lower `gateway.database`"
    return row("connections", wanted <= found.most, told)


def sizes_in(config: Path) -> DatabaseSection:
    """The sizes that kaixu.yaml says; where it cannot be read, which another row tells, the usual ones."""
    try:
        return load(config, os.environ).gateway.database
    except (ConfigError, OSError):
        return DatabaseSection()


def collections_row(found: vector_index.Overview) -> Row:
    """How many there are, and how they are searched."""
    told = f"{found.collections} with {found.vectors:,} vectors; {found.indexed} searched by an index"
    if found.waiting:
        told += f", {found.waiting} waiting for one"
    if found.deleted:
        told += f"; {found.deleted} deleted, being removed"
    return row("collections", True, told)


def index_rows(found: list[vector_index.Large]) -> Iterator[Row]:
    """The large ones, each with its indexes; for scripts with their figures, too."""
    for one in found:
        names = ", ".join(
            f"{index.name} {index.size_bytes >> 20} MiB{'' if index.is_valid else ' INVALID'}" for index in one.indexes
        )
        search = "indexed" if one.index_state == "ready" else "exact"
        told = "searched by its indexes" if search == "indexed" else "searched exactly until its indexes are built"
        if search == "exact" and one.dimensions > MOST_INDEXED:
            told = f"searched exactly: no index holds more than {MOST_INDEXED} dimensions"
        good = all(index.is_valid for index in one.indexes)
        yield row(
            f"collection {one.id}",
            good,
            f"`{one.name}` of customer {one.customer_id}: {one.vectors:,} vectors of {one.dimensions}, {told}"
            + (f" ({names})" if names else ""),
            bad="off",  # what is half built is built anew
        ) | {
            "collection": {
                "id": one.id,
                "customer_id": one.customer_id,
                "name": one.name,
                "vectors": one.vectors,
                "dimensions": one.dimensions,
                "search": search,
                "indexes": one.indexes,
            }
        }


def partition_rows(names: list[str], strays: int) -> Iterator[Row]:
    """Whether this month and the next have their place."""
    month = datetime.now(UTC).date().replace(day=1)
    wanted = [f"usage_event_{one:%Y_%m}" for one in (month, month_after(month))]
    missing = [name for name in wanted if name not in names]
    if missing:
        yield row("partitions", False, f"missing: {', '.join(missing)}: run `kaixu migrate`", bad="off")
    elif strays:
        yield row(
            "partitions", False, f"{strays} events outside their month's partition; only speed suffers", bad="off"
        )
    else:
        yield row("partitions", True, f"in place up to {names[-1].removeprefix('usage_event_').replace('_', '-')}")


def lane_rows(config: Path) -> Iterator[Row]:
    """kaixu.yaml, and every lane that it declares."""
    wrong: list[str] = []
    catalog = catalog_at(config, wrong)
    yield row("config", not wrong, "\n".join(dict.fromkeys(wrong)) or str(config))
    for name, lane in (catalog.lanes if catalog is not None else {}).items():
        yield row(
            f"lane {name}", lane.state == "on", lane.reason or "on", bad="off" if lane.state == "off" else "wrong"
        )
