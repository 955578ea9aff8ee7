"""Starts, restarts and ends the model's process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from time import monotonic
from typing import Any

import msgspec

# The process speaks OpenAI's protocol; both plugins come in one package.
from kaixu_openai import OpenAI, OpenAIOptions
from pydantic import SecretStr

from kaixu.plugin import ChatRequest, Unavailable

log = logging.getLogger(__name__)

SERVER = Path(__file__).with_name("server.py")
#: How long a call waits for the model to load.
LOAD_TIMEOUT_S = 120.0
#: A process that keeps dying is started at most this often in that many seconds.
MOST_STARTS = 3
STARTS_WINDOW_S = 60.0
#: How long the process may take to exit before it is killed.
EXIT_TIMEOUT_S = 5.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the process: the first line of its input."""

    model_file: str | None
    model_dir: str
    context_tokens: int
    parallel: int
    threads: int | None
    prompt: str
    template: str
    api_key: str = ""


class StartReport(msgspec.Struct, frozen=True):
    """The one line that the process prints: its port, or why it failed."""

    port: int | None = None
    prompt: str = ""
    failed: str | None = None


class Model(OpenAI):
    """A loaded model: an OpenAI-compatible vendor that reports usage with every token, also of cut answers."""

    def __init__(self, port: int, api_key: str, prompt: str) -> None:
        url = f"http://127.0.0.1:{port}/v1"
        super().__init__(OpenAIOptions(base_url=url, api_key=SecretStr(api_key), max_tokens_field="max_tokens"))
        # llama.cpp announces keep-alive but closes the connection after each stream: the next call would fail.
        self.headers["connection"] = "close"
        self.prompt = prompt

    def body(self, request: ChatRequest) -> dict[str, Any]:
        return super().body(request) | {"timings_per_token": True}


class Child:
    """The process and its state. No background task watches it: each call checks whether it is alive."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: Process | None = None
        self.model: Model | None = None
        self.api_key = ""
        self.starts: list[float] = []
        self.closed = False
        self.lock = asyncio.Lock()

    async def start(self) -> None:
        """Start the process; it loads the model in the background."""
        self.model = None
        self.starts.append(monotonic())
        self.api_key = token_urlsafe(32)
        # A session of its own: Ctrl-C in the terminal reaches only the gateway, which ends the process in order.
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(SERVER), stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        assert self.process.stdin is not None
        # Sent through the pipe: everyone on the machine can read the arguments of a process.
        settings = msgspec.structs.replace(self.settings, api_key=self.api_key)
        self.process.stdin.write(msgspec.json.encode(settings) + b"\n")

    async def ready(self) -> Model:
        """The loaded model. Raises `Unavailable` if it does not load, or not in time."""
        if self.model is not None and alive(self.process):
            return self.model
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S), self.lock:
                return await self.loaded()
        except TimeoutError as error:
            raise Unavailable("the local model is still being loaded", retry_after_s=10) from error

    async def loaded(self) -> Model:
        """Wait for the report of the process; restart it if it has died. The caller holds the lock."""
        self.require_open()
        if not alive(self.process):
            self.limit_starts()
            await self.start()
            if self.closed:  # closed meanwhile, when there was no process to end yet
                await self.end()
                self.require_open()
        if self.model is not None:
            return self.model
        process = self.process
        assert process is not None
        assert process.stdout is not None
        # If this call is cancelled here, the line stays in the reader for the next call.
        line = await process.stdout.readline()
        self.require_open()
        report = msgspec.json.decode(line, type=StartReport) if line.endswith(b"\n") else StartReport(failed="it died")
        if report.port is None:
            await self.end()
            log.error("the local model could not be loaded: %s", report.failed)
            raise Unavailable("the local model could not be loaded", hint="Tell your operator: the log says why.")
        self.model = Model(report.port, self.api_key, report.prompt)
        return self.model

    def require_open(self) -> None:
        """Raises `Unavailable` once the lane has been closed."""
        if self.closed:
            raise Unavailable("the local model has been closed", retry_after_s=5)

    def limit_starts(self) -> None:
        """Raises `Unavailable` if the process was started too often recently."""
        now = monotonic()
        self.starts = [start for start in self.starts if now - start < STARTS_WINDOW_S]
        if len(self.starts) >= MOST_STARTS:
            wait_s = int(self.starts[0] + STARTS_WINDOW_S - now) + 1
            raise Unavailable("the local model keeps failing", hint="Tell your operator.", retry_after_s=wait_s)

    async def aclose(self) -> None:
        """End the process, whatever it is doing."""
        self.closed = True
        await self.end()

    async def end(self) -> None:
        """Close its input, which makes it exit; kill it if it does not."""
        process, self.process, self.model = self.process, None, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def alive(process: Process | None) -> bool:
    """Whether the process runs now. The event loop notices its end later, and calls would fail until then."""
    if process is None or process.returncode is not None:
        return False
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return True
    try:
        # Only looks: the event loop still gets the exit status.
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # already reaped
        return False
