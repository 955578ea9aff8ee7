"""Surfaces and the brain are looked at in turns that any number of gateways share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import web

from kaixu.config.environment import Settings
from kaixu.config.platforms_section import PlatformsSection
from kaixu.config.station import station_of
from kaixu.config.station_section import StationSection
from kaixu.jobs.remote_checks import RemoteChecks
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.store.remote_checks import BRAIN, Look, claim_turns, prune_checks, remote_checks, write_look


class Elsewhere:
    """The other servers: what each path answers, and who asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.seen: list[tuple[str, str | None]] = []

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def answer(self, request: web.Request) -> web.Response:
        """What the path answers: a status, or a body."""
        self.seen.append((request.path, request.headers.get("authorization")))
        answer = self.answers.get(request.path, 404)
        if isinstance(answer, int):
            return web.Response(status=answer, text="secret words")
        return web.Response(body=answer)


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """They run."""
    elsewhere = Elsewhere()
    await elsewhere.start()
    yield elsewhere
    await elsewhere.runner.cleanup()


class Gateway:
    """One gateway's looks, and what it records."""

    def __init__(self, pool: asyncpg.Pool, **section: Any) -> None:
        async def write(*_: object) -> None:
            """Nothing: the tests read the queue."""

        self.monitor = Monitor(write)
        self.platforms = PlatformsSection()
        self.station = station_of(StationSection.model_validate(section), Settings())
        self.checks = RemoteChecks(pool, self.monitor, lambda: self.platforms, lambda: self.station)

    def has(self, **health: str) -> None:
        """Surfaces with these health addresses."""
        surfaces = {name: {"title": name, "launch_url": "/", "health_url": url} for name, url in health.items()}
        self.platforms = PlatformsSection.model_validate({"surfaces": surfaces})

    @property
    def news(self) -> list[tuple[str, str | None]]:
        """What was recorded."""
        return [(event.kind, event.app_id) for event in self.monitor._waiting]

    @property
    def last(self) -> MonitorEvent:
        """What was recorded last."""
        return self.monitor._waiting[-1]


async def make_due(pool: asyncpg.Pool) -> None:
    """Let the time until the next look pass."""
    await pool.execute("update kaixu.remote_check set due_at = now() - interval '1 second'")


async def test_a_surface_is_looked_at_when_it_is_due(pool: asyncpg.Pool, elsewhere: Elsewhere) -> None:
    gateway = Gateway(pool)
    gateway.has(space=f"{elsewhere.url}/health")
    elsewhere.answers["/health"] = 503
    await gateway.checks.round()
    await gateway.checks.round()
    assert len(elsewhere.seen) == 1
    target = ("surface:space", f"{elsewhere.url}/health")
    found = (await remote_checks(pool, [target]))["surface:space"]
    assert (found.ok, found.status, found.error) == (False, 503, "HTTP 503")
    assert gateway.news == [("surface_down", "space")]
    assert gateway.last.shown_kind == "alert"
    await make_due(pool)
    await gateway.checks.round()
    again = (await remote_checks(pool, [target]))["surface:space"]
    assert (again.changed_at, again.checked_at > found.checked_at) == (found.changed_at, True)
    assert len(gateway.news) == 1  # nothing new
    elsewhere.answers["/health"] = b"fine"
    await make_due(pool)
    await gateway.checks.round()
    well = (await remote_checks(pool, [target]))["surface:space"]
    assert (well.ok, well.error, well.changed_at > found.changed_at) == (True, None, True)
    assert gateway.news[1:] == [("surface_up", "space")]


async def test_what_is_well_from_the_beginning_is_no_news(pool: asyncpg.Pool, elsewhere: Elsewhere) -> None:
    gateway = Gateway(pool)
    gateway.has(space=f"{elsewhere.url}/health")
    elsewhere.answers["/health"] = b"fine"
    await gateway.checks.round()
    assert gateway.news == []


async def test_without_anything_to_look_at_nothing_is_asked(pool: asyncpg.Pool) -> None:
    await Gateway(pool).checks.round()
    assert await pool.fetchval("select count(*) from kaixu.remote_check") == 0


async def test_gateways_share_the_turns(pool: asyncpg.Pool, elsewhere: Elsewhere) -> None:
    gateways = [Gateway(pool) for _ in range(6)]
    for at in range(25):
        elsewhere.answers[f"/{at}"] = 500
    for gateway in gateways:
        gateway.has(**{f"surface{at}": f"{elsewhere.url}/{at}" for at in range(25)})
    while len(elsewhere.seen) < 25:
        await asyncio.gather(*(gateway.checks.round() for gateway in gateways))
    await asyncio.gather(*(gateway.checks.round() for gateway in gateways))
    assert sorted(path for path, _ in elsewhere.seen) == sorted(f"/{at}" for at in range(25))
    news = [one for gateway in gateways for one in gateway.news]
    assert sorted(news) == sorted(("surface_down", f"surface{at}") for at in range(25))


async def test_whoever_is_late_writes_nothing(pool: asyncpg.Pool) -> None:
    target = ("surface:space", "http://space.example/")
    [first] = await claim_turns(pool, [target])
    assert await claim_turns(pool, [target]) == []
    await make_due(pool)  # the first one has died, or takes too long
    [second] = await claim_turns(pool, [target])
    written = await write_look(pool, second, Look(True, 200, 5, None), every_s=60)
    assert written is not None
    assert await write_look(pool, first, Look(False, None, 9000, "late"), every_s=60) is None
    assert (await remote_checks(pool, [target]))["surface:space"].ok


async def test_another_address_is_another_check(pool: asyncpg.Pool, elsewhere: Elsewhere) -> None:
    gateway = Gateway(pool)
    gateway.has(space=f"{elsewhere.url}/old")
    await gateway.checks.round()
    gateway.has(space=f"{elsewhere.url}/new")
    assert await remote_checks(pool, [("surface:space", f"{elsewhere.url}/new")]) == {}
    await gateway.checks.round()
    assert [path for path, _ in elsewhere.seen] == ["/old", "/new"]
    await pool.execute("update kaixu.remote_check set due_at = now() - interval '8 days' where url like '%old'")
    await prune_checks(pool)
    assert await pool.fetchval("select count(*) from kaixu.remote_check") == 1


@pytest.mark.parametrize("path", ["/admin/overview", "/api/admin/overview", "/overview"])
async def test_the_brain_is_asked_on_each_path_with_its_token(
    pool: asyncpg.Pool, elsewhere: Elsewhere, path: str
) -> None:
    gateway = Gateway(pool, brain={"url": f"{elsewhere.url}/", "token": "brain-token"})
    elsewhere.answers[path] = msgspec.json.encode({"orders": [1, 2], "text": "\u0000"})
    await gateway.checks.round()
    found = (await remote_checks(pool, [(BRAIN, elsewhere.url)], with_remote=True))[BRAIN]
    assert (found.ok, found.endpoint, found.error) == (True, path, None)
    assert msgspec.json.decode(found.remote or "") == {"orders": [1, 2], "text": "\u0000"}
    assert {token for _, token in elsewhere.seen} == {"Bearer brain-token"}
    assert (await remote_checks(pool, [(BRAIN, elsewhere.url)]))[BRAIN].remote is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (500, "HTTP 500"),
        (b"[]", "its reply is not a JSON object"),
        (b"<html>secret", "its reply is not a JSON object"),
        (b"{" + b'"a": ' * 2, "its reply is not a JSON object"),
        (b"[" * 60_000, "its reply is not a JSON object"),
        (b'{"a": "\xff"}', "its reply is not a JSON object"),
        (b"x" * 70_000, "its reply is longer than 65536 bytes"),
    ],
    ids=["status", "list", "html", "cut", "deep", "bytes", "long"],
)
async def test_what_the_brain_says_wrongly_is_told_in_words_of_ours(
    pool: asyncpg.Pool, elsewhere: Elsewhere, answer: Any, error: str
) -> None:
    gateway = Gateway(pool, brain={"url": elsewhere.url})
    elsewhere.answers = dict.fromkeys(("/admin/overview", "/api/admin/overview", "/overview"), answer)
    await gateway.checks.round()
    found = (await remote_checks(pool, [(BRAIN, elsewhere.url)], with_remote=True))[BRAIN]
    assert (found.ok, found.error, found.remote, found.endpoint) == (False, error, None, None)


async def test_a_brain_that_is_not_there_is_asked_once(pool: asyncpg.Pool) -> None:
    gateway = Gateway(pool, brain={"url": "http://127.0.0.1:1"})
    await gateway.checks.round()
    found = (await remote_checks(pool, [(BRAIN, "http://127.0.0.1:1")]))[BRAIN]
    assert (found.ok, found.error) == (False, "no connection")
