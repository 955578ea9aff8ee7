"""`kaixu doctor`: check the gateway and its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import typer

from kaixu import __version__
from kaixu.accounts.key_material import pepper_id
from kaixu.accounts.operators import list_operators
from kaixu.accounts.outbox import outbox_state
from kaixu.accounts.secret_fingerprints import sentence
from kaixu.config.database import DatabaseSection
from kaixu.config.database_errors import MigrationError
from kaixu.config.document import Document
from kaixu.config.environment import EnvironmentMistake, Settings, secrets_of
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.gateway.database import missing_migrations
from kaixu.gateway.environment import environment_for
from kaixu.reports import collection_indexes, database_state
from kaixu.reports.alerts import AlertState, alert_state
from kaixu.reports.blob_stores import StoreSeen, stores_in_use
from kaixu.reports.collection_indexes import LargeCollection, Overview
from kaixu.reports.database_state import OLDEST_PGVECTOR, Connections, Holds, Partitions, ServerState
from kaixu.reports.plugin_roles import PluginRole, plugin_roles
from kaixu.reports.stored_hashes import stored_hashes

from .check import catalog_at, other_secrets
from .config_rows import link_rows, login_rows, mail_row
from .examples import example
from .failure import CommandFailed
from .gateway_rows import Row, gateway_rows, row, spool_rows
from .report import print_rows
from .session import AsJson, CommandSession, load_settings, with_database

#: A gateway should have ended reservations that expired this long ago.
OVERDUE_S = 60

#: The maximum number of missing migrations and functions that are listed; of more, only the number.
MAX_SHOWN = 5

#: The columns of the table; `--json` has all fields.
COLUMNS = ("what", "state", "detail")

#: Reservations and rate windows use the database's clock, tokens ours.
MAX_SKEW_S = 5


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("doctor --json"))(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Check secrets, database, schema, lanes, spool and running gateways; exit 1 if something is wrong."""
    settings = load_settings()
    rows = [row("version", True, __version__), secrets_row(settings)]
    try:
        rows += with_database(examine, migrated=False)
    except CommandFailed as error:
        rows.append(row("postgres", False, error.message))
    rows += [*lane_rows(settings), *spool_rows(settings.kaixu_home), *gateway_rows(settings)]
    print_rows(rows if as_json else [{name: one[name] for name in COLUMNS} for one in rows], as_json=as_json)
    if any(one["state"] == "wrong" for one in rows):
        raise typer.Exit(1)


def secrets_row(settings: Settings) -> Row:
    """Whether `kaixu serve` would find its secrets, and whether only its user can read them."""
    path = settings.kaixu_home / "secrets.json"
    try:
        secrets_of(settings, dev=path.exists())
    except EnvironmentMistake as error:
        return row("secrets", False, str(error))
    if not path.exists():
        folder = settings.kaixu_secrets
        return row("secrets", True, "from the environment" + (f" and {folder}" if folder else ""))
    private = path.stat().st_mode & 0o077 == 0
    return row("secrets", private, f"stored in {path}" if private else f"others can read {path}: chmod 600 it")


async def examine(session: CommandSession) -> list[Row]:
    """Check the database, as far as its schema allows."""
    pool, settings = session.pool, session.settings
    rows = server_rows(await database_state.server(pool), is_embedded=settings.database_url is None)
    try:
        missing = await missing_migrations(pool)
    except MigrationError as error:
        return [*rows, row("schema", False, str(error))]
    if missing:
        shown = ", ".join(missing) if len(missing) <= MAX_SHOWN else f"{len(missing)} migrations and functions"
        return [*rows, row("schema", False, f"needs {shown}: start a gateway, or run `kaixu migrate`")]
    rows.append(row("schema", True, "up to date"))
    names = await other_secrets(session)
    rows.append(row("database's secrets", not names, sentence(names) if names else "the same as here"))
    rows += await pepper_rows(session)
    rows.append(reservations_row(await database_state.holds(pool)))
    rows.append(partitions_row(await database_state.partitions(pool)))
    rows.append(connections_row(await database_state.connections(pool), settings))
    environment = environment_for(settings.kaixu_home)
    document = document_at(settings.kaixu_config, environment.variables)
    rows.append(blobs_row(await stores_in_use(pool)))
    rows.append(mail_row(await outbox_state(pool), document))
    rows.append(alerts_row(await alert_state(pool)))
    if document is not None:
        rows += link_rows(document, environment)
        operators = await list_operators(pool)
        rows += login_rows(operators, document, admin_password_login=settings.admin_password_login)
    catalog = catalog_at(settings.kaixu_config, [], [], environment.variables)
    if catalog is not None:
        rows += [role_row(one) for one in await plugin_roles(pool, catalog, pooler=settings.kaixu_pooler)]
    rows.append(collections_row(await collection_indexes.overview(pool)))
    return [*rows, *index_rows(await collection_indexes.large_collections(pool))]


async def pepper_rows(session: CommandSession) -> list[Row]:
    """What still needs KEY_PEPPER_OLD, while there is one."""
    try:
        secrets = session.secrets
    except EnvironmentMistake:
        return []
    if not secrets.key_pepper_old:
        return []
    left = [one for one in await stored_hashes(session.pool, pepper_id(secrets.key_pepper)) if one.other]
    counts = ", ".join(f"{one.other} {one.what}" for one in left)
    return [row("KEY_PEPPER_OLD", True, f"stored under another pepper than KEY_PEPPER: {counts or 'nothing'}")]


def server_rows(server: ServerState, *, is_embedded: bool) -> list[Row]:
    """The server: its version, pgvector, its settings, its clock."""
    kind = "embedded" if is_embedded else "DATABASE_URL"
    skew_s = abs((datetime.now(UTC) - server.now).total_seconds())
    if server.pgvector is None:
        pgvector = f"not installed on the server: install pgvector {OLDEST_PGVECTOR} or newer"
    else:
        pgvector = f"{server.pgvector}: {OLDEST_PGVECTOR} is needed" if server.has_old_pgvector else server.pgvector
    return [
        row("postgres", server.version_number >= 150000, f"{server.version} ({kind}), {server.size_bytes >> 20} MiB"),
        row("pgvector", server.pgvector is not None and not server.has_old_pgvector, pgvector),
        row(
            "durability",
            server.is_durable,
            "settled money survives a power cut" if server.is_durable else "fsync is off",
        ),
        row("clock", skew_s <= MAX_SKEW_S, f"{skew_s:.1f} s from the database's"),
    ]


def reservations_row(holds: Holds) -> Row:
    """Whether the reservations of dead gateways are ended in time."""
    overdue = (holds.oldest_expired_s or 0) > OVERDUE_S
    detail = f"{holds.running} in flight, {holds.expired} expired"
    return row("reservations", not overdue, f"{detail}; a running gateway ends them" if overdue else detail)


def role_row(role: PluginRole) -> Row:
    """The database role of an integration with tables; the problem has the statements to run."""
    origin = "the role of its `database_url`" if role.is_operators else "a role that the gateway creates"
    return row(f"integration {role.integration}", role.problem is None, role.problem or origin)


def connections_row(connections: Connections, settings: Settings) -> Row:
    """Whether the server has enough connections for the pools of all gateways."""
    each = sizes_in(settings.kaixu_config, settings.kaixu_home).connections
    if settings.kaixu_pooler:  # which gateways are behind its connections cannot be seen
        detail = f"at most {each} to the pooler for each process of gateways; {connections.taken} of the server's "
        return row("connections", True, f"{detail}{connections.most} are in use")
    needed = each * max(1, connections.processes)
    detail = (
        f"at most {each} for each process of gateways, {connections.processes} running: {needed} of the server's "
        f"{connections.most}; {connections.taken} are in use"
    )
    if needed > connections.most:
        detail += ": raise `max_connections`, or lower `gateway.database`"
    return row("connections", needed <= connections.most, detail)


def alerts_row(state: AlertState) -> Row:
    """Whether alerts are dispatched, and reach their receivers."""
    if (state.oldest_s or 0) > OVERDUE_S:
        return row("alerts", False, f"{state.waiting} wait for {state.oldest_s:.0f} s: a running gateway sends them")
    if state.failing:
        return row("alerts", False, f"webhooks fail: {', '.join(state.failing[:MAX_SHOWN])}; see `kaixu alerts list`")
    return row("alerts", True, "all receivers work")


def blobs_row(stores: list[StoreSeen]) -> Row:
    """Whether all gateways use the same store of blobs."""
    if len(stores) > 1:
        places = ", ".join(one.place for one in stores[:MAX_SHOWN])
        return row(
            "blobs",
            False,
            f"gateways that share this database use different stores: {places}; uploads at one are not found at the "
            "other: give them the same `gateway.blobs`",
        )
    return row("blobs", True, stores[0].place if stores else "no files of customers")


def document_at(config: Path, environ: Mapping[str, str]) -> Document | None:
    """kaixu.yaml; None if it is invalid, which another row reports."""
    try:
        return load(config, environ)
    except (ConfigError, OSError):
        return None


def sizes_in(config: Path, home: Path) -> DatabaseSection:
    """The pool sizes in kaixu.yaml; the defaults if it is invalid."""
    document = document_at(config, environment_for(home).variables)
    return DatabaseSection() if document is None else document.gateway.database


def collections_row(overview: Overview) -> Row:
    """The number of collections, and how they are searched."""
    detail = f"{overview.collections} with {overview.vectors:,} vectors; {overview.indexed} searched by an index"
    if overview.waiting:
        detail += f", {overview.waiting} waiting for one"
    if overview.deleted:
        detail += f"; {overview.deleted} deleted, being removed"
    return row("collections", True, detail)


def index_rows(collections: list[LargeCollection]) -> Iterator[Row]:
    """Large collections, each with its indexes; `--json` also has their figures."""
    for one in collections:
        names = ", ".join(
            f"{index.name} {index.size_bytes >> 20} MiB{'' if index.is_valid else ' INVALID'}" for index in one.indexes
        )
        search = "indexed" if one.index_state == "ready" else "exact"
        how = "searched by its indexes" if search == "indexed" else "searched exactly until its indexes are built"
        if search == "exact" and not one.is_indexable:
            how = f"searched exactly: no index supports more than {collection_indexes.MAX_DIMENSIONS} dimensions"
        yield row(
            f"collection {one.id}",
            all(index.is_valid for index in one.indexes),
            f"`{one.name}` of customer {one.customer_id}: {one.vectors:,} vectors of {one.dimensions}, {how}"
            + (f" ({names})" if names else ""),
            bad="off",  # an invalid index is built again
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


def partitions_row(partitions: Partitions) -> Row:
    """Whether this month and the next have their partitions."""
    if partitions.missing:
        return row("partitions", False, f"missing: {', '.join(partitions.missing)}: run `kaixu migrate`", bad="off")
    if partitions.strays:
        detail = f"{partitions.strays} events outside their month's partition, which is only slower"
        return row("partitions", False, detail, bad="off")
    last = partitions.names[-1].removeprefix("usage_event_").replace("_", "-")
    return row("partitions", True, f"in place up to {last}")


def lane_rows(settings: Settings) -> Iterator[Row]:
    """Check kaixu.yaml, its lanes and its integrations, with the running gateway's environment."""
    wrong: list[str] = []
    config, environment = settings.kaixu_config, environment_for(settings.kaixu_home)
    catalog = catalog_at(config, wrong, [], environment.variables)
    yield row("config", not wrong, "\n".join(dict.fromkeys(wrong)) or str(config))
    yield row("environment", True, environment.owner)
    for kind, one in catalog.sections() if catalog is not None else ():
        if kind == "lane" or one.state != "on":  # an integration that is on has a row about its database role
            yield row(
                f"{kind} {one.name}",
                one.state == "on",
                one.reason or "on",
                bad="off" if one.state == "off" else "wrong",
            )
