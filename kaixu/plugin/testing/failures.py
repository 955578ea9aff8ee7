"""What the contract suites share to look at failures: the statuses of vendors, what is raised, and what is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

#: What a vendor may say instead of an answer.
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)


class Overheard(logging.Handler):
    """Everything that is logged in the block."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(self.format(record))

    def __enter__(self) -> Overheard:
        self.level_before = logging.getLogger().level
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        logging.getLogger().setLevel(self.level_before)


def caught(ask: Callable[[], Awaitable[Any]]) -> BaseException | None:
    """What it raises, or None."""

    async def run() -> BaseException | None:
        try:
            await ask()
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - what it is, is what is tested
            return error
        return None

    return asyncio.run(run())
