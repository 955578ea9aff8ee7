"""Dumps of Postgres are parsed, never executed: COPY and INSERT as pg_dump writes them, and nothing of anything else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.accounts.imports import dump as dumps
from kaixu.accounts.imports.dump import Dump
from kaixu.accounts.imports.source import loaded_source
from kaixu.plugin.errors import Invalid


def loaded(text: str | bytes, *, wanted: Sequence[str] = ("t",)) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    """The rows of `t` in a dump, and how many rows of other tables it has."""
    content = text.encode() if isinstance(text, str) else text
    with loaded_source(wanted) as (source, loader):
        Dump(io.BytesIO(content), loader).read()
        rows = [tuple(row.values()) for row in source.rows("t", source.columns("t"))]
        return rows, source.skipped


ODD = [
    "plain",
    "",
    None,
    "a\tb",
    "line\nbreak",
    "back\\slash",
    "\\.",
    "\\N",
    "quote ' and \"",
    "ünïcode 🦉",
    "\x01\x7f",
]


async def test_copy_is_read_as_postgres_writes_it(pool: asyncpg.Pool) -> None:
    await pool.execute("create table t (a text, b text[], c jsonb)")
    for text in ODD:
        await pool.execute("insert into t values ($1, $2, $3)", text, [text, "x"], {"text": text})
    copied = io.BytesIO()
    async with pool.acquire() as connection:
        await connection.copy_from_table("t", columns=["a", "b", "c"], output=copied, format="text")
    rows, _ = loaded(b"COPY public.t (a, b, c) FROM stdin;\n" + copied.getvalue() + b"\\.\n")
    assert [row[0] for row in rows] == ODD
    assert [row[1] for row in rows] == [row["b"] for row in await pool.fetch("select b::text from t")]


@given(
    st.lists(
        st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))), max_size=5
    )
)
def test_inserts_are_read_as_postgres_writes_them(values: list[str | None]) -> None:
    written = ", ".join("NULL" if one is None else "'" + one.replace("'", "''") + "'" for one in values)
    columns = ", ".join(f"c{at}" for at in range(len(values)))
    if not values:
        return
    rows, _ = loaded(f'INSERT INTO public."t" ({columns}) VALUES ({written}), ({written});\n')
    assert rows == [tuple(values)] * 2


def test_inserts_without_names_take_them_from_the_table() -> None:
    text = """
CREATE TABLE public.t (
    id integer DEFAULT 7 NOT NULL,
    "odd name" text,
    CONSTRAINT x CHECK ((id > 0))
);
INSERT INTO public.t VALUES (1, 'one; it''s
two lines');
INSERT INTO public.t VALUES (-2.5e3, true), (3, E'tab\\there');
INSERT INTO public.other VALUES (1);
"""
    rows, skipped = loaded(text)
    assert rows == [("1", "one; it's\ntwo lines"), ("-2.5e3", "true"), ("3", "tab\there")]
    assert skipped == {"other": 1}


def test_other_statements_and_other_tables_are_passed_over() -> None:
    text = """
\\restrict abc
SET client_encoding = 'UTF8';
CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ drop table t; $$;
DROP TABLE t;
COPY public.other (a) FROM stdin;
COPY public.t (a) FROM stdin;
\\\\.
x
\\.
COPY public.t (a) FROM stdin;
1
\\.
COPY public.t (a) FROM stdin;
\\.
"""
    assert loaded(text) == ([("1",)], {"other": 3})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("COPY t (a) FROM stdin;\nx\n", "line 2 of the dump: the dump ends within the table t"),
        ("COPY other (a) FROM stdin;\nx", "line 2 of the dump: the dump ends within the table other"),
        ("COPY t (a) FROM stdin;\nsecret\tsecret\n\\.\n", "line 2 of the dump: a row of t has 2 values for 1 columns"),
        ("COPY t (a) FROM stdin;\n\\.\nCOPY t (b) FROM stdin;\n\\.\n", "the dump has the table t twice, with different columns"),
        ("COPY t (a, a) FROM stdin;\n\\.\n", "the columns of the table t cannot be read"),
        ("INSERT INTO t (a) VALUES ('secret", "line 1 of the dump: the INSERT of line 1 has no end"),
        ("INSERT INTO t (a) VALUES (now());\n", "line 1 of the dump: this INSERT has a value that is no literal; make the dump with `pg_dump`"),
        ("INSERT INTO t (a) VALUES ;\n", "line 1 of the dump: this INSERT cannot be read"),
        ("INSERT INTO t (a) SELECT 1;\n", "line 1 of the dump: this INSERT cannot be read"),
        ("INSERT INTO t VALUES (1);\n", "line 1 of the dump: the columns of t are not known"),
        ("SET client_encoding = 'LATIN1';\n", "line 1 of the dump: the dump is not in UTF-8"),
        ("-- MySQL dump 10.13\n", "this is a database of MySQL or MariaDB"),
        ("-- MariaDB dump 10.19\n", "this is a database of MySQL or MariaDB"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_with_its_line_and_never_quoted(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        loaded(text)
    assert said in caught.value.message
    assert "secret" not in caught.value.message


def test_a_line_may_be_long_but_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "MOST_LINE", 200_000)
    long = "x" * 300_000
    assert loaded(f"COPY other (a) FROM stdin;\n{long}\n\\.\nCOPY t (a) FROM stdin;\n1\n\\.\n") == (
        [("1",)],
        {"other": 1},
    )
    for text in (f"COPY t (a) FROM stdin;\n{long}\n\\.\n", "INSERT INTO t (a) VALUES ('" + "x\n" * 200_000):
        with pytest.raises(Invalid):
            loaded(text)


@given(st.text(st.sampled_from("COPY INSERT INTO t () VALUES,;'\"\\N.\n\tFROM stdin;x1:E-" + "\0é"), max_size=120))
def test_no_text_makes_another_error(text: str) -> None:
    for beginning in ("", "COPY t (a) FROM stdin;\n", "INSERT INTO t (a) VALUES (", "CREATE TABLE t (\n"):
        try:
            loaded(beginning + text)
        except Invalid:
            continue


QUOTES, X, Y = "''" * 1_000_000, "x''" * 1_000_000, "y\\n" * 1_000_000


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO t (a){' ' * 2_000_000}!",
        f"INSERT INTO t{' ' * 2_000_000}(a) VALUES (1;",
        f"INSERT INTO t (a) VALUES (1::{' ' * 2_000_000}!);",
        f"INSERT INTO t (a) VALUES ('{'x' * 2_000_000}' !);",
        f"INSERT INTO t (a) VALUES (E'{QUOTES}' !);",
        f"INSERT INTO t (a) VALUES ({'1' * 2_000_000}!);",
    ],
    ids=range(6),
)
def test_a_line_that_is_made_to_be_gone_back_over_is_refused_as_fast_as_it_is_read(statement: str) -> None:
    with pytest.raises(Invalid):
        loaded(f"{statement}\n")


def test_long_values_are_read_whole() -> None:
    rows, _ = loaded(f"INSERT INTO t (a, b) VALUES ('{X}'::text, E'{Y}');\n")
    assert rows == [("x'" * 1_000_000, "y\n" * 1_000_000)]
