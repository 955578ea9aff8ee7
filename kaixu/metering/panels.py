"""Loads panels of integrations: read-only, within a time limit, a few at once. A panel costs nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.catalog.catalog import IntegrationState
from kaixu.plugin.access import Caller
from kaixu.plugin.errors import DatabaseBusy, UpstreamError, UpstreamTimeout
from kaixu.plugin.operation import Free
from kaixu.plugin.panel import Panel

from .charges import Meter
from .gate import Gate
from .integration_wire import IntegrationWire
from .integrations import customer_data_for
from .operation_call import handler_limits, limits_for
from .panel_view import PanelView

log = logging.getLogger(__name__)

#: How many panels of one integration are loaded at a time in each process, and how long further ones wait. Fewer than
#: its connections to the database: panels must not hold up its operations.
AT_ONCE = 2
WAIT_S = 5.0

#: How long a load that is cancelled may take to end.
GRACE_S = 1.0


class PanelLoads:
    """The loads of one gateway's panels."""

    def __init__(self) -> None:
        self._places: dict[str, asyncio.Semaphore] = {}
        self._running: set[asyncio.Task[Any]] = set()

    async def load(
        self,
        gate: Gate,
        integration: IntegrationState,
        panel: Panel,
        *,
        customer_id: int | None,
        caller: Caller,
        month: str,
        filters: Mapping[str, str],
        request_id: str,
    ) -> tuple[Sequence[Any], frozenset[str]]:
        """The parts that a panel returns, not checked yet, and the secrets that were sent for it. Raises `KaixuError`.

        A load that does not end although it is cancelled keeps its place, so that it cannot take more than `AT_ONCE`.
        """
        name = f"{integration.name}: {panel.title}"
        wire = IntegrationWire(
            gate.transport,
            gate.public_transport,
            limits_for(panel.timeout_s),
            request_id,
            hosts=integration.hosts,
            meter=Meter(Free("a panel reads"), 0),
        )
        view = PanelView(
            gate,
            integration,
            wire=wire,
            customer_data=customer_data_for(gate, integration, customer_id, wire, request_id),
            customer_id=customer_id,
            caller=caller,
            month=month,
            filters=filters,
            request_id=request_id,
        )
        place = self._places.setdefault(integration.name, asyncio.Semaphore(AT_ONCE))
        try:
            async with asyncio.timeout(WAIT_S):
                await place.acquire()
        except TimeoutError:
            raise DatabaseBusy(
                f"{AT_ONCE} panels of `{integration.name}` are being loaded already",
                hint="Try again shortly.",
                retry_after_s=1,
            ) from None
        task = asyncio.get_running_loop().create_task(run(view, wire, panel, name), name=f"panel {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: place.release())
        try:
            done, _ = await asyncio.wait({task}, timeout=panel.timeout_s + GRACE_S)
            if not done:
                log.error("panel %s does not end after its time limit", name)
                raise UpstreamTimeout(f"`{name}` took longer than {panel.timeout_s:g} s", code="OPERATION_TIMEOUT")
        finally:
            wire.close()
            if not task.done():
                task.cancel()
                task.add_done_callback(forget)
        parts = task.result()
        if not isinstance(parts, list | tuple):
            log.error("panel %s returned %s, not a list of parts", name, type(parts).__name__)
            raise UpstreamError(f"`{name}` failed", hint="Tell your operator.", code="INTEGRATION_FAILED")
        return parts, frozenset(wire.lent_secrets)


async def run(view: PanelView, wire: IntegrationWire, panel: Panel, name: str) -> Any:
    """What `load` returns; its exceptions become `KaixuError`s."""
    try:
        async with handler_limits(view, name, panel.timeout_s):
            return await panel.load(view)
    finally:
        wire.close()


def forget(task: asyncio.Task[Any]) -> None:
    """Take note of how a load ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
