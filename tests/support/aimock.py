"""aimock: a fake vendor with OpenAI's, Anthropic's and Google's protocols. It exits when its input is closed.

Fixtures define its answers: a `match` and a `response`, tried in order, the same for all protocols.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

NODE = Path(sys.executable).parent / "node"
MODULES = Path(__file__).parents[1] / "node"
#: Prints its port when it listens; exits when its input ends, even if the test process is killed.
PROGRAM = """
import { LLMock } from "@copilotkit/aimock";
process.stdin.resume().on("end", () => process.exit());
const mock = new LLMock({ port: 0, logLevel: "silent" });
await mock.start();
console.log(mock.port);
"""

Fixture = dict[str, Any]


class Aimock:
    """One aimock, as a context: inside it listens at `url`, leaving it ends its process."""

    def __init__(self, fixtures: Sequence[Fixture] = ()) -> None:
        self.fixtures = fixtures
        self.held = ExitStack()
        self.url = ""

    def __enter__(self) -> Self:
        with ExitStack() as held:
            process = held.enter_context(running())
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            assert port, "aimock did not start; were its packages installed? (make test, or npm ci in tests/node)"
            self.url = f"http://127.0.0.1:{port}"
            self.control = held.enter_context(httpx.Client(base_url=f"{self.url}/__aimock", trust_env=False))
            self.answer(*self.fixtures)
            self.held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.held.close()

    def answer(self, *fixtures: Fixture) -> None:
        """Append fixtures."""
        self.ask("POST", "/fixtures", {"fixtures": fixtures})

    def chaos(self, **rates: float) -> None:
        """Set the failure rates: `dropRate` (500), `malformedRate`, `rateLimitRate` (429), `disconnectRate`."""
        self.ask("POST", "/chaos", rates)

    def calm(self) -> None:
        """Reset the failure rates and the journal."""
        self.ask("DELETE", "/chaos")
        self.ask("POST", "/reset/journal")

    def fail_once(self, status: int) -> None:
        """The next call gets this status."""
        self.ask("POST", "/error", {"status": status, "body": {"message": "vendor secret"}})

    def journal(self) -> list[dict[str, Any]]:
        """All requests and answers, oldest first; `body` is always in OpenAI's format."""
        journal: list[dict[str, Any]] = self.ask("GET", "/journal")
        return journal

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of its control API."""
        answer = self.control.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()


@contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
    """The process. Closing its input ends it; it is killed if it does not exit."""
    command = [str(NODE), "--input-type=module", "--eval", PROGRAM]
    with subprocess.Popen(command, cwd=MODULES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield process
            process.stdin.close()
            process.wait(5)
        finally:
            process.kill()  # does nothing if it has exited
