"""Awaits what must not be lost when the waiting task is cancelled."""

from __future__ import annotations

import asyncio
from typing import TypeVar

Answer = TypeVar("Answer")


async def finish(answer: asyncio.Future[Answer]) -> Answer:
    """Await `answer` to its end even if the waiting task is cancelled meanwhile; then raise the cancellation."""
    cancelled: asyncio.CancelledError | None = None
    while not answer.done():
        try:
            await asyncio.shield(answer)
        except asyncio.CancelledError as error:
            if answer.cancelled():
                raise
            cancelled = error
        except Exception:  # noqa: BLE001 - raised again by result() below
            break
    if cancelled is not None:
        raise cancelled
    return answer.result()
