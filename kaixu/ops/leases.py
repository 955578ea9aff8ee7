"""Renew a lease while its work runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from kaixu.plugin.errors import KaixuError

log = logging.getLogger(__name__)

#: Renewals per lease duration, so that several may fail before the lease ends.
RENEWALS = 4


@asynccontextmanager
async def renewing(
    renew: Callable[[], Awaitable[object]], *, lease_s: Callable[[], float], what: str
) -> AsyncIterator[None]:
    """Call `renew` several times per lease duration while the block runs.

    A renewal that fails is logged under `what`, and the next one is tried. `lease_s` is read before each renewal,
    because a reload may change it.
    """
    task = asyncio.get_running_loop().create_task(renew_until_cancelled(renew, lease_s, what), name=f"renew {what}")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def renew_until_cancelled(
    renew: Callable[[], Awaitable[object]], lease_s: Callable[[], float], what: str
) -> None:
    """The loop of `renewing`."""
    while True:
        await asyncio.sleep(lease_s() / RENEWALS)
        try:
            await renew()
        except KaixuError as error:
            log.warning("%s not renewed: %s", what, error.message)
        except Exception:
            # The work goes on, so the lease must be renewed.
            log.exception("%s not renewed", what)
