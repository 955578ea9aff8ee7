"""`/v1/chat/completions`, plain and streamed: ours beside LiteLLM's proxy and Portkey's gateway, same upstream, same load.

Neither of them meters here: LiteLLM runs without its database and without keys, Portkey has none. Ours has everything
on. They are installed into bench/.run from locks/bench-litellm.txt and bench/node/package-lock.json.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from bench.load import HERE, ROUNDS, SECONDS, Load, table, wait_for, wrk
from bench.stage import PLAIN, STREAMED
from tests.support.process import free_port

RUN = HERE / ".run"


@dataclass
class Gateway:
    """A gateway under load: its address and what its calls need."""

    name: str
    url: str
    key: str
    plain: dict[str, str]
    streamed: dict[str, str]


def litellm(upstream: str, port: int) -> tuple[subprocess.Popen[bytes], Gateway]:
    """LiteLLM's proxy, one worker."""
    folder = RUN / "litellm"
    command = folder / "bin" / "litellm"
    if not command.exists():
        venv.create(folder, with_pip=True)
        lock = HERE.parent / "locks" / "bench-litellm.txt"
        install = lock.with_name("install.py")
        subprocess.run([folder / "bin" / "python", install, lock, "--packages-only"], check=True)
    config = RUN / "litellm.yaml"
    config.write_text(
        f"""
model_list:
  - {{model_name: plain, litellm_params: {{model: openai/m, api_base: "{upstream}/plain/v1", api_key: vendor-key}}}}
  - {{model_name: streamed, litellm_params: {{model: openai/m, api_base: "{upstream}/v1", api_key: vendor-key}}}}
litellm_settings: {{telemetry: false}}
"""
    )
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_LOG": "ERROR",
    }
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    process = subprocess.Popen(
        [str(command), *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    return process, Gateway("LiteLLM", url, "sk-any", {"MODEL": "plain"}, {"MODEL": "streamed", "STREAM": "1"})


def portkey(upstream: str, port: int) -> tuple[subprocess.Popen[bytes], Gateway]:
    """Portkey's gateway."""
    folder = RUN / "portkey"
    node = Path(sys.executable).parent
    server = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not server.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            (folder / name).write_bytes((HERE / "node" / name).read_bytes())
        path = f"{node}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(
            ["npm", "ci", "--silent", "--no-audit", "--no-fund"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=True,
        )
    process = subprocess.Popen(
        [str(node / "node"), str(server), "--headless", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    plain = {"MODEL": "m", "PORTKEY_HOST": f"{upstream}/plain/v1"}
    streamed = {"MODEL": "m", "PORTKEY_HOST": f"{upstream}/v1", "STREAM": "1"}
    return process, Gateway("Portkey", url, "vendor-key", plain, streamed)


#: The loads of each gateway by name, of one kind of call and number of connections.
Loads = dict[tuple[str, int], dict[str, list[Load]]]


async def beside(
    ours: dict[str, str], bare: str, key: str, upstream: str, *, with_others: bool = True
) -> tuple[str, Loads]:
    """The table, as Markdown, and what it is made of. `ours`: our gateways' addresses by name; `bare`: the proxy's."""
    RUN.mkdir(exist_ok=True)
    others = [litellm(upstream, free_port()), portkey(upstream, free_port())] if with_others else []
    gateways = [
        Gateway("bare proxy", f"{bare}/v1/chat/completions", key, PLAIN, {}),
        *(Gateway(name, f"{url}/v1/chat/completions", key, PLAIN, STREAMED) for name, url in ours.items()),
        *(gateway for _, gateway in others),
    ]
    rows = [["calls", "connections", "gateway", "calls/s", "p50", "p99", "failed", *(f"{name} / it" for name in ours)]]
    try:
        for _, gateway in others:
            await wait_for(gateway.url, 90)
        loads: Loads = {}
        for kind, connections in (("plain", 1), ("plain", 32), ("plain", 128), ("streamed", 1), ("streamed", 32)):
            which = [one for one in gateways if one.plain == PLAIN or connections < 128]  # the others are too slow
            if kind == "streamed":
                which = [one for one in which if one.streamed]
            loads[kind, connections] = await measured(which, kind, connections)
            rows += rows_of(loads[kind, connections], list(ours), kind, connections)
    finally:
        for process, _ in others:
            process.kill()
            process.wait(30)
    return table(rows), loads


async def measured(gateways: list[Gateway], kind: str, connections: int) -> dict[str, list[Load]]:
    """The loads of one kind of call; the gateways run in turn, so that changes of the machine's load affect all."""
    loads: dict[str, list[Load]] = {gateway.name: [] for gateway in gateways}
    for turn in range(ROUNDS + 1):
        for gateway in gateways:
            more = gateway.plain if kind == "plain" else gateway.streamed
            seconds = SECONDS if turn else 2
            load = await asyncio.to_thread(wrk, gateway.url, connections, gateway.key, seconds, "openai.lua", **more)
            if turn:  # the first round is a warm-up
                loads[gateway.name].append(load)
    return loads


def rows_of(loads: dict[str, list[Load]], ours: list[str], kind: str, connections: int) -> list[list[str]]:
    """The rows of one kind of call: medians, and the median of the ratios by round."""
    median = statistics.median
    rows = []
    for name, measures in loads.items():
        ratios = [
            median(mine.rate / its.rate for mine, its in zip(loads[one], measures, strict=True))
            if it_answered(measures)
            else 0
            for one in ours
        ]
        rows.append(
            [
                kind,
                str(connections),
                name,
                f"{median(load.rate for load in measures):,.0f}",
                f"{median(load.p50_ms for load in measures):.2f} ms",
                f"{median(load.p99_ms for load in measures):.1f} ms",
                str(sum(load.failed for load in measures)),
                *("" if name in ours or not ratio else f"{ratio:.1f}×" for ratio in ratios),
            ]
        )
        sys.stdout.write(f"{rows[-1]}\n")
    return rows


def it_answered(measures: list[Load]) -> bool:
    """Check that the gateway answers without errors."""
    return all(load.failed * 2 < load.rate for load in measures)
