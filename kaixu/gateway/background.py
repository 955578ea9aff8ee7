"""The background tasks of a gateway: what is done all the time, beside the calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import asyncpg

from kaixu.accounts.customer_deletion import finish_deletions
from kaixu.accounts.plans import finish_plans
from kaixu.collections.keeper import CollectionKeeper
from kaixu.collections.reembedder import Reembedder
from kaixu.invoices.closing import finalize_in_background
from kaixu.invoices.mail_again import invoice_pdf_of
from kaixu.jobs.failure_handlers import FailureHandlers
from kaixu.jobs.job_webhooks import JobWebhooks
from kaixu.jobs.mail_message import File
from kaixu.jobs.mail_sender import MailSender
from kaixu.jobs.money_upkeep import look_after_credit
from kaixu.jobs.remote_checks import RemoteChecks
from kaixu.jobs.schedules import Scheduler
from kaixu.jobs.webhook_sender import WebhookSender
from kaixu.metering.plan_prices import PlanPrices
from kaixu.metering.recovery import Recovery
from kaixu.metering.rollups import UsageRollups
from kaixu.ops.tasks import every
from kaixu.store.blob_sweep import BlobSweep
from kaixu.store.pool import maintenance

from .alerting import first_soon
from .event_indexes import build_event_indexes
from .upkeep import Upkeep

if TYPE_CHECKING:
    from .process import Gateway

HOUR_S = 3600.0
MINUTE_S = 60.0

#: Seconds between checks for collections that need work.
COLLECTIONS_S = 2.0

#: Seconds between rounds that move noted usage into the roll-ups.
ROLLUPS_S = 10.0

#: Seconds between checks for customers with earlier versions of their plans, and for price factors of plans.
PLANS_S = 60.0

#: Seconds between checks for interrupted deletions of customers.
DELETIONS_S = 60.0

#: Seconds between checks for credit of months that are over, and for balances to be compared again.
CREDIT_S = 2.0

#: Seconds between checks for schedules and webhooks that are due.
DUE_S = 0.5

#: Seconds between rounds that remove blobs whose time is over.
BLOBS_S = 2.0

#: Seconds between checks for surfaces that are to be looked at.
SURFACES_S = 5.0


def start_background(gateway: Gateway, dsn: str) -> Recovery:
    """Start the background tasks; the task that takes care of lost calls."""

    async def invoice_file(invoice_id: int) -> File:
        name, data = await invoice_pdf_of(gateway.pool, invoice_id)
        return File(f"{name.replace('/', '-')}.pdf", "application/pdf", data)

    async def finalize_invoices() -> None:
        await finalize_in_background(gateway.pool, gateway.current.invoices, gateway.services.statements)

    gate = gateway.services.gate
    recovery = Recovery(
        gate.ledger,
        gateway.monitor,
        charge_lost=gateway.current.section.on_lost == "charge",
        revive=gateway.revive if gateway.embedded else None,
    )
    long_work = partial(maintenance, dsn, pooler=gateway.settings.kaixu_pooler)
    keeper = CollectionKeeper(gateway.pool, long_work)
    reembedder = Reembedder(gateway.pool, gate, gateway.current, gateway.collection_limits, gateway.monitor)
    scheduler = Scheduler(gateway.pool, gateway.current, gateway.sealer, gateway.worker.nudge)
    job_webhooks = WebhookSender(
        JobWebhooks(gateway.pool, gateway.sealer, gateway.secrets.jwt_secrets, gateway.jobs_section)
    )
    spawn = gateway.tasks.spawn
    spawn(gateway.monitor.run(), "monitor")
    spawn(gateway.observers.run(), "observers")
    spawn(recovery.run(), "recovery")
    upkeep = Upkeep(gateway.pool, gateway.settings, gateway.alerting, gateway.services.monitor_archive)
    spawn(every(HOUR_S, upkeep.round, "upkeep"), "upkeep")
    spawn(build_event_indexes(gateway.pool, long_work), "indexes of usage events")
    blobs = BlobSweep(gateway.blob_files, lambda: gateway.pool)
    spawn(every(BLOBS_S, blobs.round, "removal of blobs"), "blobs")
    spawn(every(HOUR_S, blobs.search, "comparison of blobs with their files"), "files of blobs")
    rollups = UsageRollups(gateway.pool, lambda: gateway.current.section.reporting_zone, long_work)
    spawn(every(ROLLUPS_S, rollups.round, "roll-ups of usage"), "roll-ups")
    spawn(every(PLANS_S, partial(look_after_plans, gateway.pool, gate.plan_prices), "plans of customers"), "plans")
    finishing = partial(finish_deletions, gateway.pool, gateway.remove_from_integrations)
    spawn(every(first_soon(DELETIONS_S, 5.0), finishing, "deletion of customers"), "deletions")
    spawn(every(CREDIT_S, partial(look_after_credit, gateway.pool), "credit of customers"), "credit")
    spawn(every(HOUR_S, finalize_invoices, "invoices"), "invoices")
    spawn(every(COLLECTIONS_S, keeper.round, "maintenance of collections"), "collections")
    spawn(every(COLLECTIONS_S, reembedder.round, "re-embedding"), "re-embedding")
    spawn(gateway.worker.run(), "jobs")
    failures = FailureHandlers(gateway.pool, gate, gateway.current, gateway.sealer)
    spawn(every(DUE_S, failures.round, "handling of failed jobs"), "failed jobs")
    spawn(every(DUE_S, scheduler.round, "scheduler"), "schedules")
    spawn(every(DUE_S, job_webhooks.round, "delivery of job webhooks"), "job webhooks")
    files = {"invoice": invoice_file}
    health = gateway.services.mail_health
    mails = MailSender(gateway.pool, gateway.sealer, lambda: gateway.current.mail, files, health)
    spawn(every(DUE_S, mails.round, "delivery of mails"), "mails")
    spawn(every(MINUTE_S, mails.give_up_late, "outbox of mails"), "late mails")
    looks = RemoteChecks(
        gateway.pool, gateway.monitor, lambda: gateway.services.platforms, lambda: gateway.services.station
    )
    spawn(every(SURFACES_S, looks.round, "looking at surfaces"), "surfaces")
    gateway.alerting.start(gateway.tasks, gate.breakers.recent, gateway.sealer)
    return recovery


async def look_after_plans(pool: asyncpg.Pool, prices: PlanPrices | None) -> None:
    """Notice price factors that another process has stored, and give customers the newest versions of their plans."""
    if prices is not None:
        await prices.refresh()
    await finish_plans(pool)
