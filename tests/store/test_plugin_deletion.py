"""A deleted customer's rows go from the tables of an integration, in whatever order its foreign keys need."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from kaixu.store.plugin_databases import PluginDatabases

TABLES = """
create table a_parent (id bigint primary key, customer_id bigint not null);
create table b_child (id bigint primary key, customer_id integer not null, parent bigint references a_parent (id));
create table "Odd name" (customer_id bigint);
create table payment (id bigint, customer_id bigint);
create table without (id bigint);
create table held (id bigint, customer_id bigint, unique (id));
create table holder (held bigint references held (id));
insert into a_parent select n, n % 2 from generate_series(1, 5000) n;
insert into b_child select n, n % 2, n from generate_series(1, 5000) n;
insert into "Odd name" values (1), (0), (null);
insert into payment values (1, 1), (2, 0);
insert into without values (1);
insert into held values (1, 1);
insert into holder values (1);
"""


async def test_all_rows_but_the_kept_ones_are_removed(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    (tmp_path / "0001_tables.sql").write_text(TABLES)
    databases = PluginDatabases(dsn, ["a secret for tests"], pooler=False)
    databases.pool = pool
    try:
        async with pool.acquire() as connection:
            await databases.provide(connection, "books", tmp_path, None)
        assert await databases.remove_rows("books", 1, ["payment"]) == 5001
        assert await databases.remove_rows("books", 1, ["payment"]) == 0
    finally:
        await databases.close()
    left = await pool.fetchrow(
        """
        select (select count(*) from kaixu_books.a_parent) as parents, (select count(*) from kaixu_books.b_child) as children,
               (select count(*) from kaixu_books."Odd name") as odd, (select count(*) from kaixu_books.payment) as payments,
               (select count(*) from kaixu_books.held) as held
        """
    )
    assert tuple(left or ()) == (2500, 2500, 2, 2, 1)
