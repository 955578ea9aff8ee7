"""Several worker processes, when the data folder, a signal or a file comes at the wrong moment."""

from __future__ import annotations

import os
import signal

import aiohttp
import asyncpg
import pytest

from kaixu.gateway import stopping
from kaixu.gateway.stopping import StopSignals
from tests.support.money import customer, virtual_key
from tests.support.process import Client

from .conftest import Start
from .test_processes import FEW, TOKEN, about, figures, serving, until


async def test_workers_are_replaced_and_stopped_also_while_the_data_folder_takes_no_files(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1, gateway=f"processes: 2, {FEW}", METRICS_TOKEN=TOKEN)
    workers = (await serving(gateway, 2)).workers
    in_the_way = [gateway.home / f"{name}.draft" for name in ("serve", "reload")]
    for path in in_the_way:
        path.mkdir()
    os.kill(workers[1].pid, signal.SIGKILL)
    for _ in range(1200):
        found = await figures(http, gateway)
        if found["kaixu_worker_restarts_total"] == [({}, 1)] and ({"state": "ready"}, 2) in found["kaixu_workers"]:
            break
    else:
        raise AssertionError(gateway.log.read_text())
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    await until(lambda: gateway.log.read_text().count("data folder cannot be written to") >= 2, "the log says why")
    for path in in_the_way:
        path.rmdir()
    done = await gateway.command("reload")
    assert done.returncode == 0, done.stderr
    os.kill(workers[0].pid, signal.SIGKILL)
    await until(lambda: about(gateway).workers[0].pid != workers[0].pid, "commands see the state again")
    await serving(gateway, 2)
    _, key = await virtual_key(pool, await customer(pool))
    assert (await Client(http, gateway.url, key).chat())[0] == 200
    in_the_way[0].mkdir()
    os.kill(gateway.process.pid, signal.SIGSTOP)
    try:
        async with http.get(f"{gateway.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}) as response:
            # Sums without the other workers would look like counters that begin anew.
            assert (response.status, (await response.json())["code"]) == (503, "UNAVAILABLE")
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)
    assert await gateway.stop() == 0


async def test_leaving_is_no_signal_so_it_never_shortens_the_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "SAME_S", 0)
    replaced = StopSignals()
    replaced.leave()  # a restart has replaced it
    replaced.terminate()  # the gateway is stopped
    replaced.leave()  # the supervisor ends
    assert replaced.drained.is_set()
    assert not replaced.now.is_set()
    replaced.terminate()
    assert replaced.now.is_set()
    stopped = StopSignals()
    stopped.terminate()
    assert not stopped.drained.is_set()
    stopped.leave()  # the supervisor was killed
    assert stopped.drained.is_set()
    stopped.leave()
    assert not stopped.now.is_set()
