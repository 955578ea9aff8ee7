"""Gateway processes as operators run them: `kaixu serve` on a real port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

from .kaixu import Started, run_kaixu, start_kaixu

SECRETS = {
    "ADMIN_PASSWORD": "operator-password-for-tests",
    "JWT_SECRET": "jwt-secret-for-tests-0123456789",
    "KEY_PEPPER": "key-pepper-for-tests-0123456789",
    "DB_ENCRYPTION_KEY": "encryption-key-for-tests-0123456789",
}


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def config_for(vendor_url: str, *models: str, gateway: str = "", lane: str = "", model: str = "") -> str:
    """A kaixu.yaml with one lane `up` to the fake vendor: 1 USD per million input tokens, 2 USD per million output."""
    listed = "\n".join(
        f"      {name}: {{type: chat, price: {{input: 1, output: 2}}, cost: {{input: 0.5, output: 1}}, {model}}}"
        for name in models
    )
    return f"""
gateway: {{{gateway}}}
lanes:
  up:
    plugin: openai
    base_url: {vendor_url}
    api_key: vendor-key
    retries: 0
    {lane}
    models:
{listed}
"""


class Process:
    """One `kaixu serve`."""

    #: Further arguments on the command line.
    options: tuple[str, ...] = ()

    def __init__(self, home: Path, dsn: str | None, config: str, **environment: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.config = home / "kaixu.yaml"
        self.config.write_text(config)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "KAIXU_HOME": str(home),
            "KAIXU_CONFIG": str(self.config),
            "KAIXU_BIND": f"127.0.0.1:{self.port}",
            **SECRETS,
            **({"DATABASE_URL": dsn} if dsn else {}),
            **environment,
        }
        self.process: Started | None = None
        self.log = home / "serve.log"

    async def start(self) -> Process:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = self.launch(log)
        async with aiohttp.ClientSession() as http:
            for _ in range(600):
                assert self.process.poll() is None, self.log.read_text()
                try:
                    async with http.get(f"{self.url}/api/health") as response:
                        if response.status == 200:
                            return self
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def launch(self, log: BinaryIO) -> Started:
        """The process, not yet ready."""
        return start_kaixu("serve", *self.options, environment=self.environment, out=log)

    async def command(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`kaixu …` in the environment of this process."""
        return await asyncio.to_thread(run_kaixu, *words, environment=self.environment | environment, folder=self.home)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)


class Client:
    """A caller with a key."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str, **headers: str) -> None:
        self.http = http
        self.url = url
        self.headers = {"authorization": f"Bearer {key}", **headers}

    async def chat(self, model: str = "ok", **fields: Any) -> tuple[int, dict[str, Any]]:
        """A plain call: its status and body."""
        body = {
            "provider": "up",
            "model": model,
            "messages": [{"role": "user", "content": "hello"}],
            **fields,
        }
        async with self.http.post(f"{self.url}/api/gateway-chat", json=body, headers=self.headers) as response:
            return response.status, await response.json()

    async def stream(
        self, model: str = "ok", *, leave_after: int | None = None, **fields: Any
    ) -> tuple[int, list[tuple[str, Any]]]:
        """A streamed call: its status and frames; the client disconnects after `leave_after` deltas."""
        import json

        body = {
            "provider": "up",
            "model": model,
            "messages": [{"role": "user", "content": "hello"}],
            **fields,
        }
        frames: list[tuple[str, Any]] = []
        async with self.http.post(f"{self.url}/api/gateway-stream", json=body, headers=self.headers) as response:
            if response.status != 200:
                return response.status, [("refused", await response.json())]
            buffer = b""
            async for chunk in response.content.iter_any():
                buffer += chunk
                while b"\n\n" in buffer:
                    frame, buffer = buffer.split(b"\n\n", 1)
                    event, data = frame.split(b"\n", 1)
                    frames.append((event[7:].decode(), json.loads(data[6:])))
                    if leave_after is not None and sum(name == "delta" for name, _ in frames) >= leave_after:
                        response.close()
                        return 200, frames
        return 200, frames
