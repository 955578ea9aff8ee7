"""Apply a changed kaixu.yaml to a running gateway: all of it, or nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Protocol

import asyncpg

from kaixu.catalog.build import assemble
from kaixu.catalog.catalog import Catalog, IntegrationState, LaneState
from kaixu.catalog.importing import restored_on_failure
from kaixu.config.document import Document
from kaixu.config.environment import Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError, Mistake
from kaixu.edge.services import Services
from kaixu.metering.recovery import Recovery
from kaixu.ops.events import MonitorEvent
from kaixu.ops.finish import finish
from kaixu.ops.tasks import Tasks
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.query import DatabaseSession

from .alerting import Alerting
from .app import Application
from .claim import ReloadOutcome
from .field_notes import field_notes
from .link_notes import link_notes
from .plan_notes import plan_notes
from .price_ids import price_ids
from .section_notes import section_notes
from .servers import require_server

log = logging.getLogger(__name__)

#: Fields of `gateway:` that are read at start only.
AT_START = ("server", "database", "blobs", "processes")

#: The time within which a request that has looked up its model reaches the gate.
TO_THE_GATE_S = 1.0


class ReloadableGateway(Protocol):
    """What a reload needs of the gateway process."""

    settings: Settings
    services: Services
    started_with: GatewaySection
    retired: list[Catalog]
    recovery: Recovery
    tasks: Tasks
    app: Application
    pool: asyncpg.Pool
    alerting: Alerting

    async def migrate_integrations(self, catalog: Catalog, connection: DatabaseSession) -> None:
        """Migrate the tables of integrations."""
        ...

    async def apply_plans(self, document: Document) -> list[str]:
        """Store the plans, and give their customers the newest versions."""
        ...

    async def apply_money_in(self, document: Document, catalog: Catalog) -> None:
        """Store whether credit rolls over, and what integrations react to."""
        ...


async def reload(gateway: ReloadableGateway, began_ns: int) -> ReloadOutcome:
    """Apply a changed kaixu.yaml. Raises if it is invalid; the old one then stays in force.

    Running calls, and those that wait for admission, keep their lanes, which are closed after the last such call.
    """
    document = load(gateway.settings.kaixu_config, os.environ)
    require_content(gateway, document)
    require_server(document.gateway.server)
    old = gateway.services.catalog
    with restored_on_failure():
        catalog = assemble(document, gateway.settings.kaixu_config.resolve().parent)
        try:
            catalog.require(strict=True)
            async with gateway.pool.acquire() as connection:
                await gateway.migrate_integrations(catalog, connection)
            prices = await price_ids(gateway.pool, catalog)
            await catalog.start()
            catalog.require_no_loss(old)
            plans = await gateway.apply_plans(document)  # last: what these write is not taken back
            await gateway.apply_money_in(document, catalog)
        except BaseException:
            await finish(asyncio.ensure_future(catalog.aclose()))
            raise
    services = gateway.services
    services.gate.price_ids |= prices  # a running call is billed by the old catalog's prices
    services.current.catalog = catalog
    services.gate.breakers.recent.forget()
    services.current.take(document)
    gateway.alerting.caps.forget()
    gateway.retired.append(old)
    gateway.tasks.spawn(retire(gateway, old), "retire lanes")
    restart = apply_section(gateway, document.gateway)
    services.monitor.record(MonitorEvent(kind="reload"))
    outcome = ReloadOutcome(
        os.getpid(),
        began_ns,
        lanes=states_of(catalog.lanes),
        integrations=states_of(catalog.integrations),
        restart=restart,
        notes=[
            *config_notes(catalog),
            *plan_notes(document, catalog),
            *link_notes(
                document.selfservice, has_mail=document.mail is not None, gateway_url=gateway.settings.gateway_url
            ),
            *lost_lane_notes(old, catalog),
            *(f"plan `{name}` has a new version" for name in plans),
        ],
    )
    log.warning("kaixu.yaml was reloaded; lanes: %d, integrations: %d", len(catalog.lanes), len(catalog.integrations))
    for note in outcome.notes:
        log.warning("%s", note)
    if restart:
        log.warning("changed, but used only after a restart: %s", ", ".join(f"gateway.{name}" for name in restart))
    return outcome


def apply_section(gateway: ReloadableGateway, section: GatewaySection) -> list[str]:
    """Apply a changed `gateway:` section; return the changed fields that need a restart."""
    services = gateway.services
    before, services.current.section = services.gateway, section
    services.gate.calls.most = section.max_in_flight
    services.gate.calls.most_per_key = section.max_in_flight_per_key
    services.gate.ledger.lifetime_s = section.reservation_s
    gateway.recovery.charge_lost = section.on_lost == "charge"
    gateway.app.apply_settings(services)
    if section.reservation_s > before.reservation_s:
        gateway.tasks.spawn(renew_older_holds(gateway, before.reservation_s), "renew holds")
    return [name for name in AT_START if getattr(section, name) != getattr(gateway.started_with, name)]


async def renew_older_holds(gateway: ReloadableGateway, lifetime_s: int) -> None:
    """Renew holds with the shorter `lifetime_s`: the next regular renewal would be too late for them."""
    admitted = set(gateway.services.gate.calls.entering)
    while True:
        waiting = not admitted.isdisjoint(gateway.services.gate.calls.entering)
        try:
            await gateway.services.gate.ledger.renew()
        except DatabaseAway:
            return  # when it is back, all holds are created again
        if not waiting:
            return
        await asyncio.sleep(lifetime_s / 4)


async def retire(gateway: ReloadableGateway, catalog: Catalog) -> None:
    """Close the lanes and integrations of an old catalog once no call uses them."""
    gate = gateway.services.gate
    await asyncio.sleep(TO_THE_GATE_S)
    lanes = {id(state) for state in catalog.lanes.values()}
    # Polling is enough: nothing waits for this.
    while catalog.in_use or any(  # noqa: ASYNC110
        id(choice.state) in lanes for model in gate.calls.deployments() for choice in model.choices
    ):
        await asyncio.sleep(0.5)
    gateway.retired.remove(catalog)
    await finish(asyncio.ensure_future(catalog.aclose()))


def require_content(gateway: ReloadableGateway, document: Document) -> None:
    """Raises `ConfigError` for an empty file: probably an editor is just writing it."""
    if gateway.services.catalog.lanes and not document.model_fields_set:
        raise ConfigError([Mistake.at(document.reading.place(()), "the file is empty")])


def states_of(sections: Mapping[str, LaneState | IntegrationState]) -> dict[str, str]:
    """The state of each lane, or of each integration, and its reason."""
    return {name: one.state if one.reason is None else f"{one.state}: {one.reason}" for name, one in sections.items()}


def config_notes(catalog: Catalog) -> list[str]:
    """Notes on settings that are valid, but probably not intended."""
    empty = [] if catalog.lanes else ["no lanes are declared, so no model can be called"]
    return [*empty, *catalog.notes, *section_notes(catalog), *field_notes(catalog)]


def lost_lane_notes(old: Catalog, new: Catalog) -> list[str]:
    """Notes on lanes that the new file removes or switches off."""
    lost = []
    for name, before in old.lanes.items():
        after = new.lanes.get(name)
        if before.state == "on" and (after is None or after.state != "on"):
            lost.append(f"lane {name} no longer serves: {'it was removed' if after is None else after.reason}")
    return lost
