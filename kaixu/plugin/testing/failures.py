"""Tools of the contract tests for failures: vendors' statuses, captured exceptions and logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

#: Failure statuses of vendors.
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)


class CapturedLog(logging.Handler):
    """Captures everything that is logged in the block."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Store one line."""
        self.lines.append(self.format(record))

    def __enter__(self) -> CapturedLog:
        self.level_before = logging.getLogger().level
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        logging.getLogger().setLevel(self.level_before)


def error_of(ask: Callable[[], Awaitable[Any]]) -> BaseException | None:
    """The exception that a call raises, or None."""

    async def run() -> BaseException | None:
        try:
            await ask()
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - the caller checks its type
            return error
        return None

    return asyncio.run(run())
