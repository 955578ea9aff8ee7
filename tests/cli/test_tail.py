"""`kaixu tail`, as an operator runs it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from kaixu.store.events import write_events
from tests.support.kaixu import Started, start_kaixu
from tests.support.money import customer
from tests.support.monitor import event
from tests.support.process import SECRETS

from .conftest import Piped


@contextmanager
def tail(folder: Path, dsn: str, *words: str, lines: int) -> Iterator[Callable[[], list[str]]]:
    """A tail that runs; gives its lines, once there are so many. Ctrl-C at the end."""
    out = folder / "tail.txt"
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": dsn, "KAIXU_HOME": str(folder), **SECRETS}
    with out.open("wb") as file:
        process: Started = start_kaixu("tail", *words, environment=environment, out=file, folder=folder)

    def read() -> list[str]:
        end = time.monotonic() + 30
        while len(found := out.read_text().splitlines()) < lines:
            assert process.poll() is None, found
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    try:
        yield read
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


async def test_what_happened_lately_and_what_happens_now_is_printed_until_ctrl_c(
    tmp_path: Path, dsn: str, pool: asyncpg.Pool
) -> None:
    who = await customer(pool)
    await write_events(pool, [event("before", level="error", customer_id=who), event("not shown", level="warn")])
    words = ("--since", "10m", "--level", "error", "--customer", str(who))
    with tail(tmp_path, dsn, *words, lines=1) as read:
        assert read()[0].endswith("before")
        await write_events(
            pool,
            [
                event(
                    "bad \x1b[31mnews\n",
                    level="error",
                    customer_id=who,
                    key_id=3,
                    provider="up",
                    model="m",
                    http_status=502,
                    duration_ms=12,
                    request_id="r-1",
                    error_code="UPSTREAM_ERROR",
                    function_name="gateway-chat",
                )
            ],
        )
        lines = wait_for_lines(read, 2)
        assert lines[1][25:] == (
            f"error  error         gateway-chat  502  UPSTREAM_ERROR  customer {who}  key 3  up/m  12 ms"
            "  bad  [31mnews   [r-1]"
        )


def wait_for_lines(read: Callable[[], list[str]], count: int) -> list[str]:
    """The lines, once there are so many."""
    end = time.monotonic() + 30
    while len(found := read()) < count:
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


async def test_json_lines_are_the_events_of_the_admin_endpoint(tmp_path: Path, dsn: str, pool: asyncpg.Pool) -> None:
    await write_events(pool, [event("one", extra={"a": 1}), event("two")])
    with tail(tmp_path, dsn, "--json", "--since", "1d", lines=2) as read:
        first, second = map(json.loads, read())
        assert (first["error_message"], first["extra"], second["error_message"]) == ("one", {"a": 1}, "two")
        assert first["created_at"].endswith("Z")


def test_a_mistaken_option_ends_it_at_once(piped: Piped) -> None:
    wrong = piped("tail", "--since", "yesterday")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "30m, 2h, 7d" in wrong.stderr
    nobody = piped("tail", "--customer", "nobody@example.com")
    assert nobody.returncode == 1
    assert "nobody@example.com" in nobody.stderr
