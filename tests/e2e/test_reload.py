"""Reloads of a gateway that serves: what can change does, what is wrong changes nothing, and the command says which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.reports.reconcile import reconcile
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import Client, Process

PLUGIN = '''
"""Says its word; starts and closes as it is told, and writes that down."""
import asyncio
from pathlib import Path

from kaixu.plugin import ChatDelta, Finish, Lane, Options, PluginError, Usage, hookimpl


class WordOptions(Options):
    word: str
    fails: bool = False


class Word(Lane):
    def __init__(self, options):
        self.options = options
        self.closed = False

    def note(self, what):
        with Path(__file__).with_name("notes").open("a") as file:
            file.write(f"{what} {self.options.word}\\n")

    async def start(self):
        self.note("start")
        if self.options.fails:
            raise PluginError("it has no strength")

    async def aclose(self):
        self.closed = True
        self.note("close")

    async def chat(self, request, wire):
        assert not self.closed
        yield ChatDelta(self.options.word)
        if request.model == "slow":
            await asyncio.sleep(3600)
        yield Usage(1, 1)
        yield Finish("stop")


@hookimpl
def register_lanes(register):
    register("word", Word, WordOptions)
'''

LANE = """
  {name}:
    plugin: ./word.py
    word: {word}
    {more}
    models:
      ok: {{type: chat, price: {{input: 1, output: 2}}}}
      slow: {{type: chat, price: {{input: 1, output: 2}}}}
"""


def config(*lanes: tuple[str, str] | tuple[str, str, str], gateway: str = "") -> str:
    """A kaixu.yaml with these lanes: each its name, its word and further fields."""
    listed = "".join(LANE.format(name=lane[0], word=lane[1], more=lane[2] if len(lane) > 2 else "") for lane in lanes)
    return f"gateway: {{{gateway}}}\nlanes:{listed}" if lanes else f"gateway: {{{gateway}}}\n"


@pytest.fixture
async def gateway(tmp_path: Path, dsn: str) -> AsyncIterator[Process]:
    """A gateway with one lane `up` that says "old"."""
    home = tmp_path / "gateway"
    home.mkdir()
    (home / "word.py").write_text(PLUGIN)
    process = Process(home, dsn, config(("up", "old"), gateway="grace_s: 1"), ALLOWED_ORIGINS="https://always.example")
    yield await process.start()
    await process.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client's connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
async def client(gateway: Process, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> Client:
    """A caller with a key."""
    _, key = await virtual_key(pool, await customer(pool))
    return Client(http, gateway.url, key)


async def reload(gateway: Process, text: str) -> tuple[int, dict[str, Any], str]:
    """Change kaixu.yaml and reload: exit code, what it printed, what it said on stderr."""
    gateway.config.write_text(text)
    ran = await gateway.command("reload", "--json")
    assert "Traceback" not in ran.stderr
    return ran.returncode, json.loads(ran.stdout), ran.stderr


async def word(client: Client) -> str:
    """What the lane says."""
    status, body = await client.chat()
    assert status == 200, body
    return str(body["output_text"])


def notes(gateway: Process) -> list[str]:
    """What the lanes have written down."""
    return (gateway.home / "notes").read_text().splitlines()


async def noted(gateway: Process, line: str) -> None:
    """Return when a lane has written this down."""
    async with asyncio.timeout(20):
        while line not in notes(gateway):
            await asyncio.sleep(0.05)


async def test_a_changed_file_is_in_force_when_the_command_returns(gateway: Process, client: Client) -> None:
    assert await word(client) == "old"
    code, said, _ = await reload(gateway, config(("up", "new"), ("more", "more")))
    assert (code, said["refused"], said["lanes"]) == (0, None, {"up": "on", "more": "on"})
    assert await word(client) == "new"
    await noted(gateway, "close old")


async def test_a_secret_in_a_file_is_read_again_by_a_reload(gateway: Process, client: Client) -> None:
    secret = gateway.home / "secret"
    secret.write_text("first-secret\n")
    text = config(("up", "${file:secret}"))
    assert (await reload(gateway, text))[0] == 0
    assert await word(client) == "first-secret"
    secret.write_text("second-secret\n")
    assert (await reload(gateway, text))[0] == 0
    assert await word(client) == "second-secret"
    secret.unlink()
    code, said, stderr = await reload(gateway, text)
    assert (code, said["refused"]) == (1, f"kaixu.yaml:5:5: there is no file {secret}")
    assert await word(client) == "second-secret"
    checked = await gateway.command("check", "--json")
    shown = (stderr, checked.stdout, checked.stderr, gateway.log.read_text())
    assert not any("first-secret" in one or "second-secret" in one for one in shown)


async def test_a_call_that_waits_for_its_admission_keeps_its_lane(
    gateway: Process, client: Client, pool: asyncpg.Pool
) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    async with pool.acquire() as connection, connection.transaction():
        # One customer's lock holds up the admission of a first call, and that holds up the next.
        await connection.execute(
            "select 1 from kaixu.customer where id = (select min(id) from kaixu.customer) for update"
        )
        first = asyncio.ensure_future(client.chat())
        async with asyncio.timeout(20):
            waits = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            while not await connection.fetchval(waits):
                await asyncio.sleep(0.02)
        call = asyncio.ensure_future(Client(client.http, gateway.url, key).chat())
        await client.http.get(f"{gateway.url}/api/health")  # answered after that call has been heard
        assert (await reload(gateway, config(("up", "new"))))[0] == 0
        status, body = await call
    assert (status, body["output_text"]) == (200, "old")
    assert (await first)[0] in (200, 503)
    await noted(gateway, "close old")
    await assert_books_balance(pool)


async def test_a_call_is_billed_by_the_price_version_that_it_was_admitted_with(
    gateway: Process, client: Client, pool: asyncpg.Pool
) -> None:
    def cached(usd: int) -> str:
        cache = f"cache: {{ttl: 10m, any_temperature: true}}, cached_price: {{input: {usd}, output: {usd}}}"
        return config(("up", "old")).replace("price: {input: 1, output: 2}", f"price: {{input: 1, output: 2}}, {cache}")

    await reload(gateway, cached(3))
    assert (await client.chat())[0] == 200
    async with asyncio.timeout(20):
        while not await pool.fetchval("select count(*) from kaixu.response"):
            await asyncio.sleep(0.05)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select 1 from kaixu.customer for update")
        call = asyncio.ensure_future(client.chat())
        async with asyncio.timeout(20):
            waits = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            )
            while not await connection.fetchval(waits):
                await asyncio.sleep(0.02)
        assert (await reload(gateway, cached(5)))[0] == 0
    assert (await call)[0] == 200
    async with pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []
    [first, second] = await pool.fetch(
        """
        select e.cost_nusd, e.units -> 'call' ->> 'cache' as cache, p.rates ->> 'output' as output
          from kaixu.usage_event e join kaixu.price p on p.id = e.price_id order by e.id
        """
    )
    assert (first["cache"], second["cache"]) == (None, "hit")
    assert (second["cost_nusd"], int(second["output"])) == (6000, 3_000_000_000)


async def test_a_stop_closes_the_lanes_that_a_reload_has_retired(gateway: Process, client: Client) -> None:
    call = asyncio.ensure_future(client.stream("slow", leave_after=1))
    assert (await call)[0] == 200
    running = asyncio.ensure_future(client.stream("slow"))
    async with asyncio.timeout(20):
        while True:
            async with client.http.get(f"{client.url}/api/health") as response:
                if (await response.json())["in_flight"]:
                    break
            await asyncio.sleep(0.02)
    assert (await reload(gateway, config(("up", "new"))))[0] == 0
    assert await gateway.stop() == 0
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(notes(gateway)) == ["close new", "close old", "start new", "start old"]


@pytest.mark.parametrize(
    ("lanes", "said"),
    [
        ((("more", "more"), ("up", "new", "fails: true")), "lane `up` serves and would fail: it has no strength"),
        ((("more", "more"), ("up", "new", "speed: 1")), "`speed` is not a field of lane `up`"),
    ],
    ids=["a lane that served does not start", "a field of the plugin is wrong"],
)
async def test_a_refused_reload_changes_nothing_and_closes_what_it_had_started(
    lanes: tuple[Any, ...], said: str, gateway: Process, client: Client
) -> None:
    text = config(*lanes)
    code, printed, err = await reload(gateway, text)
    assert code == 1
    assert said in printed["refused"]
    assert said in err
    assert await word(client) == "old"
    assert "close old" not in notes(gateway)
    started = [line.split()[1] for line in notes(gateway) if line.startswith("start")]
    closed = {line.split()[1] for line in notes(gateway) if line.startswith("close")}
    assert set(started) - closed == {"old"}
    assert "the old one stays" in gateway.log.read_text()
    assert (await reload(gateway, config(("up", "new"))))[0] == 0  # and the next one is not in its way
    assert await word(client) == "new"


async def test_a_required_lane_that_does_not_start_refuses_the_reload(gateway: Process, client: Client) -> None:
    code, printed, _ = await reload(
        gateway, config(("more", "more"), ("up", "new"), ("must", "must", "fails: true\n    required: true"))
    )
    assert code == 1
    assert "lane `must` is required and failed: it has no strength" in printed["refused"]
    assert set(notes(gateway)) >= {"start more", "close more", "close new", "close must"}
    assert await word(client) == "old"


async def test_a_plugin_file_that_breaks_is_refused_and_the_old_text_goes_on(gateway: Process, client: Client) -> None:
    (gateway.home / "word.py").write_text(PLUGIN + "\nraise RuntimeError('half-written')\n")
    code, printed, _ = await reload(gateway, config(("up", "new")))
    assert code == 1
    assert "half-written" in printed["refused"]
    assert await word(client) == "old"


async def test_a_new_lane_that_fails_is_said_and_the_others_are_swapped_in(gateway: Process, client: Client) -> None:
    code, printed, _ = await reload(gateway, config(("up", "new"), ("more", "more", "fails: true")))
    assert (code, printed["lanes"]) == (0, {"up": "on", "more": "failed: it has no strength"})
    assert await word(client) == "new"


async def test_an_empty_file_is_refused_and_one_without_lanes_is_said(gateway: Process, client: Client) -> None:
    code, printed, _ = await reload(gateway, "# an editor is at work\n")
    assert (code, printed["refused"]) == (1, "kaixu.yaml:1:1: the file is empty")
    assert await word(client) == "old"
    code, printed, _ = await reload(gateway, config())
    assert code == 0
    assert printed["notes"] == [
        "no lanes are declared, so no model can be called",
        "lane up no longer serves: it was removed",
    ]
    assert "no lanes are declared" in gateway.log.read_text()
    assert (await client.chat())[0] == 400


async def test_fields_of_the_gateway_are_in_force_at_once_or_named_as_waiting(
    gateway: Process, client: Client, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    async def allowed(origin: str) -> bool:
        async with http.get(f"{gateway.url}/api/health", headers={"origin": origin}) as response:
            return response.headers.get("access-control-allow-origin") == origin

    async def lifetime_s() -> float:
        call = asyncio.ensure_future(client.stream("slow"))
        async with asyncio.timeout(20):
            while (
                held := await pool.fetchval("select extract(epoch from expires_at - now()) from kaixu.reservation")
            ) is None:
                await asyncio.sleep(0.02)
        call.cancel()
        while await pool.fetchval("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.02)
        return float(held)

    assert await lifetime_s() > 60
    assert not await allowed("https://new.example")
    fields = (
        "allow_origins: ['https://new.example'], body_limit_bytes: 2048, max_messages: 1, reservation_s: 20, "
        "max_in_flight: 1, server: granian, blobs: {url: 's3://bucket/prefix'}"
    )
    code, printed, _ = await reload(gateway, config(("up", "new"), gateway=fields))
    assert (code, printed["restart"]) == (0, ["server", "blobs"])
    assert "used only after a restart: gateway.server, gateway.blobs" in gateway.log.read_text()
    assert await allowed("https://new.example")
    assert await allowed("https://always.example")
    assert await lifetime_s() < 21
    two = [{"role": "user", "content": "a"}] * 2
    assert (await client.chat(messages=two))[0] == 422
    assert (await client.chat(messages=[{"role": "user", "content": "a" * 3000}]))[0] == 413
    async with http.post(f"{gateway.url}/api/admin-login", data=b"a" * 3000) as response:
        assert response.status == 413
    call = asyncio.ensure_future(client.stream("slow"))
    async with asyncio.timeout(20):
        while not await pool.fetchval("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.02)
    assert (await client.chat())[0] == 503
    call.cancel()


async def test_a_hold_outlives_a_reload_that_renews_less_often(
    gateway: Process, client: Client, pool: asyncpg.Pool
) -> None:
    assert (await reload(gateway, config(("up", "old"), gateway="reservation_s: 10")))[0] == 0
    call = asyncio.ensure_future(client.stream("slow"))
    async with asyncio.timeout(60):
        while not await pool.fetchval("select count(*) from kaixu.reservation"):
            await asyncio.sleep(0.02)
    assert (await reload(gateway, config(("up", "old"), gateway="reservation_s: 3600")))[0] == 0
    async with asyncio.timeout(60):
        while not await pool.fetchval(
            "select bool_and(expires_at > now() + interval '1 hour' * 0.9) from kaixu.reservation"
        ):
            await asyncio.sleep(0.05)
    call.cancel()


async def test_reload_without_a_gateway_is_one_line(gateway: Process, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "serve.pid").write_text("1\n")  # a number that a stranger has by now
    ran = await gateway.command("reload", KAIXU_HOME=str(elsewhere))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"no gateway runs with data folder {elsewhere}\n")
    assert str(gateway.home) in ran.stderr


async def test_a_second_gateway_on_the_same_folder_is_refused_and_the_first_still_reloads(
    gateway: Process, client: Client
) -> None:
    ran = await gateway.command("serve", KAIXU_BIND="127.0.0.1:0")
    assert gateway.process is not None
    assert ran.returncode == 1
    assert f"process {gateway.process.pid}" in ran.stderr
    assert "KAIXU_HOME" in ran.stderr
    assert (gateway.home / "serve.pid").read_text() == f"{gateway.process.pid}\n"
    assert (await reload(gateway, config(("up", "new"))))[0] == 0
    assert await word(client) == "new"
    gateway.kill()
    ran = await gateway.command("reload")
    assert (ran.returncode, "no gateway runs" in ran.stderr) == (1, True)
    await gateway.start()
    assert await word(client) == "new"
