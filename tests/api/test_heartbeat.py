"""gateway-heartbeat-read: what a look at health sees, a day of it, for everybody, also while the database is away."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart

from kaixu.edge.services import Services
from kaixu.gateway.app import create_app
from kaixu.gateway.heartbeat import Heartbeat, look, until_next_minute_s
from kaixu.ops.heartbeat import MOST_BEATS, Beat, Beats
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.heartbeat import claim_heartbeat, newest_beats, write_beat
from tests.api.admin.conftest import Operator, app, services
from tests.support.size import examples

__all__ = ["app", "services"]

READ = "gateway-heartbeat-read"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEM = {"ts", "ok", "http_ok", "db_ok", "db", "status", "ms", "error", "error_type", "build", "attempt"}

Answer = Callable[[httpx.Request], httpx.Response]


def beat(minute: int, *, ok: bool = True) -> Beat:
    """The beat of a minute after noon."""
    seen_at = NOON + timedelta(minutes=minute, seconds=7)
    if ok:
        return Beat(seen_at, True, True, 200, 5, None, None, "1", 1)
    return Beat(seen_at, False, False, 503, 5, "the database does not answer", "db", "1", 1)


def health(status: int = 200, **body: Any) -> Answer:
    """A gateway whose health is this."""
    return lambda _: httpx.Response(status, content=json.dumps(body))


def fails(error: Exception, cause: Exception | None = None) -> Answer:
    """A gateway that cannot be reached."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise error from cause

    return answer


async def seen(*answers: Answer) -> Beat:
    """What a look sees that gets these answers, the last one again and again."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/health"
        return (left.pop(0) if len(left) > 1 else left[0])(request)

    return await look("http://gateway/api/health", transport=httpx.MockTransport(answer), pause_s=0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (health(db={"ok": True}), (True, True, 200, None)),
        (health(503, db={"ok": False}), (False, False, 503, "db")),
        (health(200, db={"ok": False}), (True, False, 200, "db")),
        (health(503, db={"ok": True}), (False, True, 503, "http")),
        (health(503, db={"ok": True}, why=["the gateway is stopping"]), (True, True, 503, None)),
        (lambda _: httpx.Response(502, content=b"<html>"), (False, False, 502, "http")),
        (lambda _: httpx.Response(200, content=b"<html>"), (False, False, 200, "parse")),
        (health(200, db="up"), (False, False, 200, "parse")),
        (fails(httpx.ReadTimeout("secret")), (False, False, None, "timeout")),
        (fails(httpx.ConnectError("secret")), (False, False, None, "network")),
        (fails(httpx.ConnectError("secret"), socket.gaierror(-2, "secret")), (False, False, None, "dns")),
        (fails(httpx.ReadError("secret")), (False, False, None, "network")),
        (fails(httpx.RemoteProtocolError("secret")), (False, False, None, "error")),
    ],
)
async def test_a_look_tells_what_failed_in_words_of_ours(answer: Answer, expected: Sequence[object]) -> None:
    found = await seen(answer)
    assert (found.http_ok, found.db_ok, found.status, found.error_type) == expected
    assert found.attempt == (1 if found.ok else 3)
    assert (found.error is None) == found.ok
    assert "secret" not in str(found.error)


async def test_a_look_that_succeeds_at_last_is_no_failure() -> None:
    found = await seen(health(503, db={"ok": False}), fails(httpx.ReadError("gone")), health(db={"ok": True}))
    assert (found.ok, found.attempt, found.error) == (True, 3, None)


async def test_before_the_first_beat_nothing_is_wrong(app: Quart) -> None:
    assert await Operator(app).get(f"{READ}?history=1") == {
        "ok": True,
        "last": None,
        "failures": {"streak": 0, "last_failure": None, "last_ok": None},
        "history": {"updated_at": None, "items": []},
    }


async def test_a_streak_of_failures_and_the_history_newest_first(pool: asyncpg.Pool, app: Quart) -> None:
    for minute, ok in enumerate((True, False, True, False, False)):
        await write_beat(pool, beat(minute, ok=ok))
    body = await Operator(app).get(f"{READ}?history=1")
    assert body["failures"]["streak"] == 2
    assert body["failures"]["last_failure"] == body["last"] == body["history"]["items"][0]
    assert body["failures"]["last_ok"]["ts"] == "2026-03-01T12:02:07.000Z"
    assert (body["ok"], body["last"]["db"], body["last"]["db_ok"], body["last"]["error_type"]) == (
        False,
        False,
        False,
        "db",
    )
    assert [one["ok"] for one in body["history"]["items"]] == [False, False, True, False, True]
    assert set(body["last"]) == ITEM
    assert "history" not in await Operator(app).get(READ)


async def test_a_day_is_kept_and_a_minute_once(pool: asyncpg.Pool) -> None:
    for minute in (*range(0, MOST_BEATS + 40, 20), MOST_BEATS + 20):
        await write_beat(pool, beat(minute))
    await write_beat(pool, beat(MOST_BEATS + 20, ok=False))
    beats = await newest_beats(pool)
    assert all(one.ok for one in beats)
    assert beats[0].minute == NOON + timedelta(minutes=MOST_BEATS + 20)
    assert beats[-1].minute >= beats[0].minute - timedelta(minutes=MOST_BEATS + 20)
    minutes = [one.minute for one in beats]
    assert minutes == sorted(set(minutes), reverse=True)


async def test_one_gateway_looks_and_another_takes_over(pool: asyncpg.Pool) -> None:
    one, other = uuid4(), uuid4()
    claims = await asyncio.gather(*(claim_heartbeat(pool, owner) for owner in (one, other) * 4))
    winner, loser = (one, other) if claims[0] else (other, one)
    assert sum(claims) == 4
    assert await claim_heartbeat(pool, winner)
    assert not await claim_heartbeat(pool, loser)
    await pool.execute("update kaixu.heartbeat_lease set until = now() - interval '1 second'")
    assert await claim_heartbeat(pool, loser)
    assert not await claim_heartbeat(pool, winner)


async def test_beats_of_an_outage_are_shown_and_written_later(
    pool: asyncpg.Pool, dsn: str, app: Quart, services: Services
) -> None:
    dead = await asyncpg.create_pool(dsn, min_size=0, init=refuse)
    heartbeat = Heartbeat(dead, services.beats, url="http://127.0.0.1:1", owner=uuid4(), pause_s=0)
    with pytest.raises(DatabaseAway):
        await heartbeat.round()
    [waiting] = services.beats.unwritten
    assert waiting.error_type == "network"
    services.reports = dead
    body = await Operator(app).get(f"{READ}?history=1")
    assert (body["ok"], len(body["history"]["items"])) == (False, 1)
    heartbeat.pool = pool
    await heartbeat.write()
    await heartbeat.write()
    assert (await newest_beats(pool), len(services.beats.unwritten)) == ([waiting], 0)


async def refuse(connection: asyncpg.Connection) -> None:
    """A database that is away."""
    raise ConnectionRefusedError("away")


def test_beats_in_memory_are_bounded() -> None:
    beats = Beats()
    for minute in range(MOST_BEATS + 5):
        beats.unwritten.append(beat(minute))
    merged = beats.merged([beat(minute) for minute in range(20)])
    assert len(merged) == MOST_BEATS
    assert merged[0].minute == NOON + timedelta(minutes=MOST_BEATS + 4)


async def test_everybody_may_read_it_from_any_page_at_a_bounded_rate(app: Quart) -> None:
    client = app.test_client()
    response = await client.get(f"/api/{READ}", headers={"origin": "https://status.example"})
    assert response.headers["access-control-allow-origin"] in ("*", "https://status.example")
    answers = [(await Operator(app).ask("GET", READ))[0] for _ in range(121)]
    assert set(answers) == {200, 429}


@settings(max_examples=examples(200))
@given(st.floats(min_value=0, max_value=4e9))
def test_each_minute_has_one_look_however_long_the_last_one_took(moment: float) -> None:
    pause_s = until_next_minute_s(lambda: moment)
    assert 0 < pause_s <= 60
    looks_at = moment + pause_s
    assert abs(looks_at % 60 - 1) < 0.01
    # The one after it, if this one took 32 s, is in the next minute.
    assert round((looks_at + 32 + until_next_minute_s(lambda: looks_at + 32)) - looks_at) == 60


async def test_what_was_read_before_an_outage_is_still_told(
    pool: asyncpg.Pool, dsn: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.api.heartbeat.CACHED_S", 0.0)
    client = Operator(create_app(services))
    await write_beat(pool, beat(0))
    assert (await client.get(f"{READ}?history=1"))["last"]["ok"]
    services.reports = await asyncpg.create_pool(dsn, min_size=0, init=refuse)
    services.beats.unwritten.append(beat(1, ok=False))
    for _ in range(2):
        body = await client.get(f"{READ}?history=1")
        assert [one["ok"] for one in body["history"]["items"]] == [False, True]
        assert (body["failures"]["streak"], body["failures"]["last_ok"]["ts"]) == (1, "2026-03-01T12:00:07.000Z")
