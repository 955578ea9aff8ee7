"""What an operator may name: SQLite, plain dumps, archives of pg_dump, a live Postgres; and what is refused, by name."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path

import asyncpg
import pytest

from kaixu.accounts.imports.open import open_source
from kaixu.plugin.errors import Invalid, KaixuError
from kaixu.store.embedded import pg_restore_commands
from tests.conftest import with_database
from tests.support.other_gateways import DATA, one_api_db

from .conftest import Import

WANTED = {"LiteLLM_VerificationToken"}


async def keys_in(where: Path | str) -> int:
    """How many keys of LiteLLM a source has."""
    async with open_source(str(where), WANTED) as source:
        return source.count("LiteLLM_VerificationToken")


async def test_archives_of_pg_dump_are_read_without_a_database(tmp_path: Path) -> None:
    archive = DATA / "litellm.dump"
    assert await keys_in(archive) == 14
    damaged = tmp_path / "damaged.dump"
    damaged.write_bytes(archive.read_bytes()[:-20_000])
    with pytest.raises(Invalid) as caught:
        await keys_in(damaged)
    assert "the dump ends within the table" in caught.value.message
    newer = bytearray(archive.read_bytes())
    newer[5:7] = b"\x63\x63"  # the version of the format
    (tmp_path / "newer.dump").write_bytes(newer)
    with pytest.raises(Invalid) as caught:
        await keys_in(tmp_path / "newer.dump")
    assert "no pg_restore here can read newer.dump" in caught.value.message


async def test_folders_and_tar_files_of_pg_dump_are_read(
    tmp_path: Path, server_dsn: str, dsn: str, pool: asyncpg.Pool
) -> None:
    await pool.execute(
        'create table "LiteLLM_VerificationToken" (token text); insert into "LiteLLM_VerificationToken" values (1)'
    )
    program = pg_restore_commands()[0].with_name("pg_dump")
    for form in ("t", "d", "c", "p"):
        target = tmp_path / form
        subprocess.run(
            [program, f"--format={form}", f"--file={target}", '--table="LiteLLM_VerificationToken"', dsn], check=True
        )
        assert await keys_in(target) == 1
    assert not shutil.which("pg_dump") or await keys_in(DATA / "litellm.sql") == 14


async def test_a_live_postgres_is_read_at_one_moment_and_never_written(
    pool: asyncpg.Pool, dsn: str, server_dsn: str, take_over: Import
) -> None:
    await pool.execute("create role reader login; create schema other; set role none")
    try:
        await pool.execute(
            """
            create table "LiteLLM_VerificationToken" (token text, models text[], spend float8, key_alias text);
            create table "LiteLLM_Other" (a text);
            create table other."LiteLLM_VerificationToken" (token text);
            insert into "LiteLLM_VerificationToken" values (repeat('a', 64), '{"x y",b}', 1.5, E'tab\\tand\\nbreak');
            insert into other."LiteLLM_VerificationToken" values ('one'), ('two');
            grant usage on schema other to reader;
            grant select on "LiteLLM_VerificationToken", "LiteLLM_Other", other."LiteLLM_VerificationToken" to reader
            """
        )
        name = await pool.fetchval("select current_database()")
        address = with_database(server_dsn, name).replace("//postgres:@", "//reader@")
        async with open_source(address, WANTED) as source:
            [row] = source.rows("LiteLLM_VerificationToken", ["models", "key_alias", "gone"])
            assert dict(row) == {"models": '{"x y",b}', "key_alias": "tab\tand\nbreak", "gone": None}
            assert "LiteLLM_Other" in source.skipped
        # Prisma's own parameters, as LiteLLM's DATABASE_URL may have them.
        assert await keys_in(f"{address}&schema=other&connection_limit=5&pool_timeout=0") == 2
        result = await take_over("litellm", address)
        assert result.keys.new == 1
    finally:
        await pool.execute("drop owned by reader; drop role reader")


async def test_a_sqlite_file_is_read_only(tmp_path: Path) -> None:
    path = one_api_db(tmp_path / "one-api.db")
    before = path.read_bytes()
    async with open_source(str(path), {"users"}) as source:
        with pytest.raises(sqlite3.OperationalError):
            source.db.execute("delete from users")
        assert source.count("users") == 3
        assert list(source.rows("no such table", ["id"])) == []
        assert source.count_filled("users", ["email", "quota", "github_id"]) == {"email": 2, "quota": 3, "github_id": 0}
    assert path.read_bytes() == before


REFUSED = {
    "mysql://root:secret@127.0.0.1/litellm": "which `kaixu import` does not read",
    "root:secret@tcp(127.0.0.1:3306)/oneapi": "which `kaixu import` does not read",
    "mysql+aiomysql://root:secret@db/x": "which `kaixu import` does not read",
    "sqlserver://sa:secret@db": "the address is not one of Postgres",
    "postgresql://user:secret@127.0.0.1:1/none": "that database does not answer",
    "postgresql://user:secret@[/none": "the address cannot be used",
}


@pytest.mark.parametrize("where", REFUSED)
async def test_other_databases_are_refused_by_name_and_no_password_is_shown(where: str) -> None:
    with pytest.raises(Invalid) as caught:
        await keys_in(where)
    assert REFUSED[where] in caught.value.message
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


async def test_files_that_are_neither_are_refused_in_words(tmp_path: Path, take_over: Import) -> None:
    files = {
        "empty": (b"", "empty is empty"),
        "binary": (b"\x7fELF\x02\x00\x00", "binary is neither a SQLite file nor a dump of Postgres"),
        "packed.gz": (b"\x1f\x8b\x08\x00", "packed.gz is compressed"),
        "words.sql": (b"hello\nworld\n", "the file has no rows of a table"),
        "mysql.sql": (b"-- MySQL dump 10.13  Distrib 8.0\n", "this is a database of MySQL or MariaDB"),
        "broken.db": (b"SQLite format 3\x00" + b"\x00" * 600, "broken.db is damaged"),
    }
    for name, (content, said) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Invalid) as caught:
            await take_over("litellm", tmp_path / name)
        assert said in caught.value.message, name
    for where, said in ((tmp_path / "none", "there is no file none"), (tmp_path, f"{tmp_path.name} is a folder")):
        with pytest.raises(KaixuError) as error:
            await keys_in(where)
        assert said in error.value.message
    with pytest.raises(Invalid, match="this is no database of LiteLLM"):
        await take_over("litellm", one_api_db(tmp_path / "one-api.db"))
    with pytest.raises(Invalid, match="this is no database of one-api"):
        await take_over("one-api", DATA / "litellm.sql")
