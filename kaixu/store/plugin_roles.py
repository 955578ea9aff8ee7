"""Create an integration's role and schema, and apply its files as that role."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import msgspec

from kaixu.config.database_errors import MigrationError
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.migrate import LOCK, Step

from .plugin_login import IDLE_S, STATEMENT_S, PluginLogin, scram_verifier
from .plugin_schema import role_of, schema_of, schema_steps
from .query import Connection, DatabaseSession

#: Connections of one integration's role, from all gateways together.
MOST_CONNECTIONS = 50

#: Settings of every integration's role; set on the role, and again in each transaction.
SETTINGS = {
    "statement_timeout": f"{STATEMENT_S}s",
    "idle_in_transaction_session_timeout": f"{IDLE_S}s",
}


async def migrate_plugin(
    connection: DatabaseSession, name: str, folder: Path, login: PluginLogin, *, pooler: bool = False
) -> PluginLogin:
    """Create the role and the schema, and apply the missing files as that role; return the login that it accepts.

    `connection` is the gateway's own: no statement of a plugin runs on it. Raises `MigrationError`, `DatabaseAway`.
    """
    steps = schema_steps(name, folder)
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
        await missing_steps(connection, name, steps)
    login = await provide_role(connection, login)
    plugin = await connect_as(login, pooler=pooler)
    try:
        await require_same_database(connection, plugin, name)
        await provide_schema(connection, name, str(await plugin.fetchval("select session_user::text")))
        async with connection.transaction():
            await connection.execute("set local idle_in_transaction_session_timeout = 0")
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            needed = await missing_steps(connection, name, steps)
            for step in needed:
                await apply(plugin, name, step)
    finally:
        plugin.terminate()
    return login


async def missing_steps(connection: DatabaseSession, name: str, steps: list[Step]) -> list[Step]:
    """The files that are not applied yet. Raises `MigrationError` where files and database contradict each other."""
    rows = await connection.fetch("select name, sha256 from kaixu.migration where owner = $1", f"plugin:{name}")
    applied = {row["name"]: row["sha256"] for row in rows}
    for step in steps:
        if applied.get(step.name, step.sha256) != step.sha256:
            raise MigrationError(f"{name}: {step.name} was edited after it was applied; add another file instead")
    if missing := sorted(applied.keys() - {step.name for step in steps}):
        raise MigrationError(f"{name}: the database has {', '.join(missing)}, which this version does not know")
    return [step for step in steps if step.name not in applied]


async def apply(plugin: asyncpg.Connection, name: str, step: Step) -> None:
    """Apply one file and record it, in one transaction of the plugin's. Raises `MigrationError`."""
    try:
        await plugin.execute(
            "begin; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; "
            f"set local search_path = {schema_of(name)}"
        )
        await plugin.execute(step.sql)
        if not plugin.is_in_transaction():
            raise MigrationError(f"{name}: {step.name} ends its transaction, which a plugin may not")
        await plugin.execute("select kaixu__plugin.migrated(p_name => $1, p_sha256 => $2)", step.name, step.sha256)
        await plugin.execute("commit")
    except asyncpg.PostgresError as error:
        await plugin.execute("rollback")
        raise MigrationError(f"{name}: {step.name} failed: {error}") from error


async def connect_as(login: PluginLogin, *, pooler: bool) -> asyncpg.Connection:
    """A connection as the plugin's role. Raises `MigrationError` where it is refused, `DatabaseAway`."""
    try:
        return await login.connect(pooler=pooler)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        who = "the role of `database_url`" if login.user is None else f"the role {login.user}"
        raise MigrationError(
            f"integration `{login.name}`: the database refuses {who} ({type(error).__name__}); behind "
            "PgBouncer it must be in `auth_file`, or found by `auth_query`"
        ) from None
    except DatabaseAway:
        if login.user is not None:
            raise
        raise MigrationError(f"integration `{login.name}`: no database answers at its `database_url`") from None


async def require_same_database(connection: Connection, plugin: asyncpg.Connection, name: str) -> None:
    """Raises `MigrationError` where a plugin's connection leads to another database than the gateway's."""
    which = "select current_database()::text, pg_postmaster_start_time()"
    if tuple(await connection.fetchrow(which) or ()) != tuple(await plugin.fetchrow(which) or ()):
        raise MigrationError(
            f"integration `{name}`: its `database_url` leads to another database than the gateway's; it must be the "
            "same database, with another role"
        )


async def provide_role(connection: DatabaseSession, login: PluginLogin) -> PluginLogin:
    """Create the role of an integration, with its password; not for a login that the operator gives.

    Returns the login with the password that the role accepts. Raises `MigrationError` with the statements that are to
    be run where the gateway may not.
    """
    if login.user is None:
        return login
    role = role_of(login.name)
    for tries_left in (2, 1, 0):
        try:
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
                return await make_role(connection, role, login)
        except asyncpg.InsufficientPrivilegeError:
            raise not_allowed(login.name) from None
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError, asyncpg.InternalServerError):
            # Roles belong to the whole server: a gateway with another database on it is creating or changing this one.
            if not tries_left:
                raise
            await asyncio.sleep(0.2)
    raise AssertionError


async def make_role(connection: DatabaseSession, role: str, login: PluginLogin) -> PluginLogin:
    """Create the role, or correct its options, password and settings. Returns the login that it accepts.

    A password that is derived from the key before is left while both keys are known: another gateway may know only
    that one. The first gateway that no longer knows it sets the new one.
    """
    current = await connection.fetchrow(
        """
        select rolcanlogin and not rolinherit and rolconnlimit = $2 as is_correct
          from pg_catalog.pg_roles
         where rolname = $1
        """,
        role,
        MOST_CONNECTIONS,
    )
    options = f"login noinherit connection limit {MOST_CONNECTIONS}"
    accepted = None if current is None else await accepted_password(login)
    if current is None:
        await with_password(connection, f"create role {role} {options}", login.passwords[0])
    elif accepted is None:
        await with_password(connection, f"alter role {role} {options}", login.passwords[0])
    elif not current["is_correct"]:
        await connection.execute(f"alter role {role} {options}")
    database = await connection.fetchval("select quote_ident(current_database())")
    settings = [f"{name}={value}" for name, value in {**SETTINGS, "search_path": schema_of(login.name)}.items()]
    current = await connection.fetchval(
        """
        select s.setconfig from pg_catalog.pg_db_role_setting s
          join pg_catalog.pg_database d on d.oid = s.setdatabase and d.datname = current_database()
         where s.setrole = $1::text::regrole
        """,
        role,
    )
    if sorted(current or []) != sorted(settings):  # a role may change its own settings: each gateway sets them again
        await connection.execute(f"alter role {role} in database {database} reset all")
        for one in settings:
            name, value = one.split("=")
            await connection.execute(f"alter role {role} in database {database} set {name} = '{value}'")
    return msgspec.structs.replace(login, accepted=accepted or 0)


async def with_password(connection: DatabaseSession, statement: str, password: str) -> None:
    """Run a statement with the password's verifier; with the password itself on hosted servers that need it."""
    try:
        async with connection.transaction():
            await connection.execute(f"{statement} password '{scram_verifier(password)}'")
    except (asyncpg.InsufficientPrivilegeError, asyncpg.DuplicateObjectError, asyncpg.InternalServerError):
        raise
    except asyncpg.PostgresError:
        await connection.execute(f"{statement} password '{password}'")


async def accepted_password(login: PluginLogin) -> int | None:
    """Which of the passwords that this gateway derives the role has; None if it has none of them."""
    for at in range(len(login.passwords)):
        try:
            (await msgspec.structs.replace(login, accepted=at).connect(pooler=True)).terminate()
        except asyncpg.InvalidAuthorizationSpecificationError:
            continue
        return at
    return None


async def provide_schema(connection: DatabaseSession, name: str, role: str) -> None:
    """The schema of an integration, owned by its role, which owns nothing else. Raises `MigrationError`.

    `role` is the user of the plugin's connection; one with more rights than a plugin may have is refused.
    """
    schema = schema_of(name)
    if why := await connection.fetchval(EXCESS_RIGHTS, role):
        raise MigrationError(f"integration `{name}`: its database role {role} {why}")
    quoted = await connection.fetchval("select quote_ident($1)", role)
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            owner = await connection.fetchval(
                "select pg_get_userbyid(nspowner)::text from pg_catalog.pg_namespace where nspname = $1", schema
            )
            if owner is None:
                if not await connection.fetchval(MAY_SET, role):
                    await connection.execute(f"grant {quoted} to current_user")
                await connection.execute(f"create schema {schema} authorization {quoted}")
            elif owner != role:
                raise MigrationError(
                    f"integration `{name}`: its schema belongs to {owner}: run `alter schema {schema} owner to "
                    f"{quoted}`, and the same for the tables in it"
                )
            await connection.execute("delete from kaixu.plugin_role where integration = $1 and role <> $2", name, role)
            await connection.execute(
                """
                insert into kaixu.plugin_role as p (role, integration) values ($1, $2)
                on conflict (role) do update set integration = excluded.integration
                 where p.integration <> excluded.integration
                """,
                role,
                name,
            )
            if not await connection.fetchval(
                """
                select has_schema_privilege($1, 'kaixu__plugin', 'usage')
                       and not exists (select from pg_catalog.pg_proc p
                                        where p.pronamespace = 'kaixu__plugin'::regnamespace
                                          and not has_function_privilege($1, p.oid, 'execute'))
                """,
                role,
            ):
                await connection.execute(f"grant usage on schema kaixu__plugin to {quoted}")
                await connection.execute(f"grant execute on all functions in schema kaixu__plugin to {quoted}")
    except asyncpg.InsufficientPrivilegeError:
        raise not_allowed(name) from None


async def role_problem(connection: Connection, name: str) -> str | None:
    """Why integration `name` cannot have the role that the gateway makes for it; None if it can. Changes nothing."""
    role = role_of(name)
    if why := await connection.fetchval(EXCESS_RIGHTS, role):
        return f"its database role {role} {why}"
    may = await connection.fetchval(
        """
        select (select r.rolsuper or r.rolcreaterole from pg_catalog.pg_roles r where r.rolname = current_user)
               and (has_database_privilege(current_database(), 'create')
                    or exists (select from pg_catalog.pg_namespace n where n.nspname = $1))
        """,
        schema_of(name),
    )
    ready = await connection.fetchval("select true from pg_catalog.pg_roles where rolname = $1 and rolcanlogin", role)
    return None if may or ready else str(not_allowed(name))


async def login_problem(connection: Connection, login: PluginLogin, *, pooler: bool) -> str | None:
    """Why an integration cannot use the login that the operator gives; None if it can. Changes nothing."""
    try:
        plugin = await connect_as(login, pooler=pooler)
        try:
            await require_same_database(connection, plugin, login.name)
            role = str(await plugin.fetchval("select session_user::text"))
        finally:
            plugin.terminate()
    except (MigrationError, DatabaseAway) as error:
        return str(error)
    why = await connection.fetchval(EXCESS_RIGHTS, role)
    return None if why is None else f"its database role {role} {why}"


async def restrict_public(connection: DatabaseSession) -> None:
    """In a database of the gateway alone: only its user may create temporary tables, or tables in `public`."""
    database = await connection.fetchval("select quote_ident(current_database())")
    if await connection.fetchval("select has_database_privilege('public', current_database(), 'temporary')"):
        await connection.execute(f"revoke temporary on database {database} from public")
    if await connection.fetchval("select has_schema_privilege('public', 'public', 'create')"):
        await connection.execute("revoke create on schema public from public")


#: Why a role has too many rights for a plugin; null if it has not. $1: the role.
EXCESS_RIGHTS = """
    select case when r.rolname = session_user then 'is the gateway''s own: it needs another one'
                when r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
                    then 'has rights over the whole server: take them away with `alter role`'
                when exists (select from pg_catalog.pg_auth_members m where m.member = r.oid)
                    then 'is a member of other roles: take that away with `revoke`'
                when has_schema_privilege(r.oid, 'kaixu', 'usage')
                    then 'may look into the schema kaixu: take that away with `revoke`'
           end
      from pg_catalog.pg_roles r
     where r.rolname = $1
"""

#: Whether the gateway may create objects for a role. $1: the role.
MAY_SET = """
    select pg_has_role(current_user, $1::text::name,
                       case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end)
"""


def not_allowed(name: str) -> MigrationError:
    """The error with the statements that an operator must run to create the role and the schema."""
    role, schema = role_of(name), schema_of(name)
    return MigrationError(
        f"integration `{name}` needs a database role of its own, and the gateway's user may not make one. Either have "
        "a superuser run `alter role <the gateway's user> createrole` and `grant create on database <it> to <that "
        "user>`; "
        f"or have one run `create role {role} login noinherit connection limit {MOST_CONNECTIONS} password '…'` and "
        f"`create schema {schema} authorization {role}`, and set `database_url` in the section `integrations.{name}`"
    )
