"""An integration is opened before its first call and closed after its last one, also when a reload replaces it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import Process
from tests.vendors.stage import database, gateway

PLUGIN = '''
"""Opens and closes as it is told, and writes that down."""
import asyncio
from pathlib import Path

import msgspec

from kaixu.plugin import Free, Integration, Operation, Options, Panel, PluginError, hookimpl, panels

HOME = Path(__file__).parent
word = None


class LifeOptions(Options):
    word: str
    fails: str = ""


class Words(msgspec.Struct):
    until: str = ""


def note(what):
    with (HOME / "notes").open("a") as file:
        file.write(f"{what} {word}\\n")


async def until(name):
    while not (HOME / name).exists():
        await asyncio.sleep(0.02)


async def connect(options):
    global word
    word = options.word
    note("open")
    match options.fails:
        case "plainly":
            raise PluginError("it has no account at the vendor")
        case "oddly":
            raise OSError("secret-of-the-vendor")


async def disconnect():
    note("close")


async def say(call):
    if call.body.until:
        note("call")
        await until(call.body.until)
        note("called")
    return Words(word)


async def load(view):
    if (HOME / "slow").exists():
        note("panel")
        await until("panel-may-end")
        note("shown")
    return [panels.Stat("Word", word)]


def declared(name):
    return Integration(
        name, [Operation(f"{name}.say", say, Words, Free("a test"))], options=LifeOptions, open=connect,
        close=disconnect, panels=[Panel("Life", "Word", load)])


@hookimpl
def register_integrations(register):
    register(declared(Path(__file__).stem))
'''


def config(*sections: tuple[str, str, str]) -> str:
    """A kaixu.yaml: of each integration its name, its word, and how its `open` fails."""
    lines = [f"  {name}: {{plugin: ./{name}.py, word: {word}, fails: '{fails}'}}" for name, word, fails in sections]
    return "\n".join(["integrations:", *lines, ""])


class Stage:
    """One gateway, a caller, and what the integrations have written down."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, key: str) -> None:
        self.process = process
        self.http = http
        self.key = {"authorization": f"Bearer {key}"}

    async def say(self, name: str = "life", until: str = "") -> tuple[int, dict[str, Any]]:
        url = f"{self.process.url}/v1/{name}/say"
        async with self.http.post(url, json={"until": until}, headers=self.key) as answer:
            return answer.status, await answer.json()

    async def panel(self) -> str:
        url = f"{self.process.url}/gateway/integrations/life/panel/word"
        async with self.http.get(url, headers={"cookie": f"__Host-kaixu-session={admin_token()}"}) as answer:
            assert answer.status == 200
            return await answer.text()

    async def reload(self, *sections: tuple[str, str, str]) -> tuple[int, dict[str, Any]]:
        self.process.config.write_text(config(*sections))
        ran = await self.process.command("reload", "--json")
        return ran.returncode, json.loads(ran.stdout)

    def let(self, name: str) -> None:
        (self.process.home / name).write_text("")

    def notes(self) -> list[str]:
        return (self.process.home / "notes").read_text().splitlines()

    async def noted(self, line: str) -> None:
        async with asyncio.timeout(20):
            while line not in self.notes():
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home: Path = tmp_path_factory.mktemp("life")
    for name in ("life", "plain", "odd"):
        (home / f"{name}.py").write_text(PLUGIN)
    first = config(("life", "one", ""), ("plain", "two", "plainly"), ("odd", "three", "oddly"))
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, first) as process:
        yield process


@pytest.fixture
async def pool(shared: Process) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield pool
    await pool.close()


@pytest.fixture
async def stage(shared: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> Stage:
    return Stage(shared, http, (await virtual_key(pool, await customer(pool)))[1])


async def test_one_that_does_not_open_is_off_with_a_sentence_and_the_others_serve(stage: Stage) -> None:
    assert await stage.say() == (200, {"until": "one"})
    for name in ("plain", "odd"):
        status, refused = await stage.say(name)
        assert (status, refused["code"]) == (503, "PLUGIN_FAILED")
        assert "account" not in refused["error"]
    code, outcome = await stage.reload(("life", "one", ""), ("plain", "two", "plainly"), ("odd", "three", "oddly"))
    assert (code, outcome["integrations"]) == (
        0,
        {
            "life": "on",
            "plain": "failed: it has no account at the vendor",
            "odd": "failed: it did not open: OSError",
        },
    )
    assert "close two" not in stage.notes()  # what never opened is not closed


async def test_a_reload_opens_the_new_one_first_and_closes_the_old_one_after_its_last_handler(stage: Stage) -> None:
    assert (await stage.reload(("life", "old", "")))[0] == 0
    stage.let("slow")
    call = asyncio.ensure_future(stage.say(until="call-may-end"))
    shown = asyncio.ensure_future(stage.panel())
    await stage.noted("call old")
    await stage.noted("panel old")
    assert (await stage.reload(("life", "new", "")))[0] == 0
    (stage.process.home / "slow").unlink()
    assert await stage.say() == (200, {"until": "new"})
    stage.let("call-may-end")
    assert await call == (200, {"until": "old"})
    # The panel still reads: for some rounds of the gateway's check nothing may be closed.
    await asyncio.sleep(2)
    assert "close old" not in stage.notes()
    stage.let("panel-may-end")
    assert "old" in await shown
    await stage.noted("close old")
    lines = [line for line in stage.notes() if line.split()[1] in ("old", "new")]
    assert sorted(lines[1:3]) == ["call old", "panel old"]
    assert [lines[0], *lines[3:]] == ["open old", "open new", "called old", "shown old", "close old"]


async def test_a_reload_whose_new_one_does_not_open_is_refused_and_the_old_one_goes_on(stage: Stage) -> None:
    assert (await stage.reload(("life", "stays", "")))[0] == 0
    code, outcome = await stage.reload(("plain", "fresh", ""), ("life", "never", "plainly"))
    assert code == 1
    assert outcome["refused"] == "integration `life` serves and would fail: it has no account at the vendor"
    assert await stage.say() == (200, {"until": "stays"})
    assert "close stays" not in stage.notes()
    assert "close fresh" in stage.notes()  # what was opened for it is closed
    assert "close never" not in stage.notes()


async def test_a_stop_closes_what_is_open(stage: Stage) -> None:
    assert (await stage.reload(("life", "last", "")))[0] == 0
    assert await stage.process.stop() == 0
    assert stage.notes().count("close last") == 1
