"""Everything about alerts that one gateway process runs: noticing, dispatching, delivering, forgetting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg

from kaixu.catalog.current import CurrentConfig
from kaixu.config.environment import Secrets, Settings
from kaixu.jobs.alert_dispatch import AlertDispatch
from kaixu.jobs.alert_receivers import AlertReceivers
from kaixu.jobs.alert_webhooks import AlertDelivery, CustomerAlertWebhooks
from kaixu.jobs.webhook_guard import AddressGuard
from kaixu.metering.cap_watch import CapWatch
from kaixu.metering.recent_calls import RecentCalls
from kaixu.metering.vendor_watch import REPORT_S, VendorWatch
from kaixu.ops.events import Monitor
from kaixu.ops.sealing import Sealer
from kaixu.ops.tasks import Tasks, every
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.alerts import check_margins, prune_alerts
from kaixu.store.cap_alerts import prune_cap_alerts
from kaixu.store.vendor_state import prune_vendor_state
from kaixu.store.webhook_deliveries import prune_receiver_failures

#: Seconds between rounds of dispatching and delivering.
DUE_S = 0.5

#: Seconds between checks of caps that were noted, and of margins.
NOTED_CAPS_S = 2.0
MARGINS_S = 900.0

#: How long closing waits for the alerts of the last calls.
FINISH_S = 5.0


class Alerting:
    """The alerts of one process. `current` is read at each use, so a reload applies."""

    def __init__(
        self, pool: asyncpg.Pool, monitor: Monitor, settings: Settings, secrets: Secrets, current: CurrentConfig
    ) -> None:
        self.pool = pool
        self.settings = settings
        self.secrets = secrets
        self.current = current
        receivers = AlertReceivers(settings, secrets, current)
        self.receivers = receivers
        self.caps = CapWatch(pool, receivers.thresholds)
        self.dispatch = AlertDispatch(pool, monitor, receivers)

    def start(self, tasks: Tasks, recent: RecentCalls, sealer: Sealer) -> None:
        """Start the background tasks."""
        vendors = VendorWatch(self.pool, recent)
        guard = AddressGuard(lambda: self.current.section.jobs)
        customers = CustomerAlertWebhooks(self.pool, sealer, self.secrets.jwt_secrets, guard)
        delivery = AlertDelivery(self.pool, self.receivers, customers, tasks)
        tasks.spawn(self.caps.run(), "alerts of caps")
        tasks.spawn(every(NOTED_CAPS_S, self.caps.check_noted, "alerts of noted caps"), "noted caps")
        tasks.spawn(every(REPORT_S, vendors.round, "alerts of vendors"), "vendors")
        tasks.spawn(every(first_soon(MARGINS_S), self.check_margins, "alerts of margins"), "margins")
        tasks.spawn(every(DUE_S, self.dispatch.round, "dispatch of alerts"), "alerts")
        tasks.spawn(every(DUE_S, delivery.round, "delivery of alerts"), "alert webhooks")
        tasks.spawn(every(DUE_S, delivery.customers_round, "delivery of customers' alerts"), "customers' webhooks")

    async def check_margins(self) -> None:
        """Raise the alerts of margins below zero."""
        await check_margins(self.pool, least_loss_nusd=self.current.alerts.least_loss_nusd)

    async def finish(self) -> None:
        """Raise and dispatch the alerts of the last calls; what takes too long is made up for by another gateway."""
        with contextlib.suppress(TimeoutError, DatabaseAway):
            async with asyncio.timeout(FINISH_S):
                await self.caps.flush()
                await self.dispatch.round()

    async def prune(self) -> None:
        """Forget alerts and states that are old."""
        days = self.settings.monitor_retention_days
        await prune_alerts(self.pool, days=days)
        await prune_vendor_state(self.pool, days=days)
        await prune_receiver_failures(self.pool, days=days)
        await prune_cap_alerts(self.pool)


def first_soon(seconds: float, first_s: float = 20.0) -> Callable[[], float]:
    """Pauses of `seconds`, but a short one at first: a process that is often restarted must have its turn, too."""
    pauses = iter([first_s])
    return lambda: next(pauses, seconds)
