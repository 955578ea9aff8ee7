"""The model's process, seen from the gateway: started behind its back, waited for, started again, ended."""

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

# The other half of what a vendor-like server needs lives there; both come in one package.
from kaixu_openai import OpenAI, OpenAIOptions
from pydantic import SecretStr

from kaixu.plugin import ChatRequest, Unavailable

log = logging.getLogger(__name__)

SERVER = Path(__file__).with_name("server.py")
#: How long a call waits for the model to be loaded, in seconds.
LONGEST_WAIT_S = 120.0
#: A process that keeps dying is started this often in that many seconds, not more.
MOST_STARTS = 3
STARTS_WINDOW_S = 60.0
#: How long the process may take to leave when it is told to, in seconds; then it is killed.
LONGEST_GOODBYE_S = 5.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is told in the first line of its input."""

    model_file: str | None
    model_dir: str
    context_tokens: int
    parallel: int
    threads: int | None
    prompt: str
    template: str
    api_key: str = ""


class Said(msgspec.Struct, frozen=True):
    """The one line that the process says: where it listens, or why it does not."""

    port: int | None = None
    prompt: str = ""
    failed: str | None = None


class Model(OpenAI):
    """A loaded model: an OpenAI-compatible vendor that also counts with every token, so that a cut answer is exact."""

    def __init__(self, port: int, api_key: str, prompt: str) -> None:
        url = f"http://127.0.0.1:{port}/v1"
        super().__init__(OpenAIOptions(base_url=url, api_key=SecretStr(api_key), max_tokens_field="max_tokens"))
        # llama.cpp promises to keep a connection and hangs up after each stream: the next call would find it dead.
        self.headers["connection"] = "close"
        self.prompt = prompt

    def body(self, request: ChatRequest) -> dict[str, Any]:
        return super().body(request) | {"timings_per_token": True}


class Child:
    """The process and what it said. Nothing of it runs in the gateway: a call looks whether it lives."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.process: Process | None = None
        self.model: Model | None = None
        self.api_key = ""
        self.starts: list[float] = []
        self.closed = False
        self.lock = asyncio.Lock()

    async def start(self) -> None:
        """Start the process; it loads the model while we go on."""
        self.model = None
        self.starts.append(monotonic())
        self.api_key = token_urlsafe(32)
        # A session of its own: a Ctrl-C in the terminal is for the gateway, which then ends it in order.
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(SERVER), stdin=PIPE, stdout=PIPE, start_new_session=True
        )
        assert self.process.stdin is not None
        # Through the pipe and not as an argument, for those can be read by everyone on the machine.
        settings = msgspec.structs.replace(self.settings, api_key=self.api_key)
        self.process.stdin.write(msgspec.json.encode(settings) + b"\n")

    async def ready(self) -> Model:
        """The loaded model. Raises `Unavailable` when it does not come in time, or not at all."""
        if self.model is not None and alive(self.process):
            return self.model
        try:
            async with asyncio.timeout(LONGEST_WAIT_S), self.lock:
                return await self.loaded()
        except TimeoutError as error:
            raise Unavailable("the local model is still being loaded", retry_after_s=10) from error

    async def loaded(self) -> Model:
        """Wait for the process's line; start it again where it has died. Under the lock."""
        self.must_be_open()
        if not alive(self.process):
            self.may_start()
            await self.start()
            if self.closed:  # meanwhile, when there was nothing to end yet
                await self.end()
                self.must_be_open()
        if self.model is not None:
            return self.model
        process = self.process
        assert process is not None
        assert process.stdout is not None
        # Cancelled here, the line stays in the reader for the next call.
        line = await process.stdout.readline()
        self.must_be_open()
        said = msgspec.json.decode(line, type=Said) if line.endswith(b"\n") else Said(failed="it died")
        if said.port is None:
            await self.end()
            log.error("the local model could not be loaded: %s", said.failed)
            raise Unavailable("the local model could not be loaded", hint="Tell your operator: the log says why.")
        self.model = Model(said.port, self.api_key, said.prompt)
        return self.model

    def must_be_open(self) -> None:
        """Raises `Unavailable` once the lane has been closed."""
        if self.closed:
            raise Unavailable("the local model has been closed", retry_after_s=5)

    def may_start(self) -> None:
        """Raises `Unavailable` when the process has been started too often of late."""
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
        """Close its input, which tells it to leave; kill it if it does not."""
        process, self.process, self.model = self.process, None, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(LONGEST_GOODBYE_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def alive(process: Process | None) -> bool:
    """Whether it runs at this moment. The event loop learns of a death a little later, and calls would go nowhere."""
    if process is None or process.returncode is not None:
        return False
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return True
    try:
        # Looks, and leaves the exit status to the event loop.
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # it has been collected
        return False
