"""Swapping a changed kaixu.yaml into a gateway that serves: all of it, or nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from kaixu.catalog.build import assemble
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.importing import put_back_on_failure
from kaixu.config.document import Document
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError, Mistake
from kaixu.metering.admission import finish
from kaixu.ops.events import MonitorEvent
from kaixu.plugin.errors import DatabaseAway

from .claim import Reloaded
from .field_notes import field_notes
from .servers import insist_on_server

if TYPE_CHECKING:
    from .process import Gateway

log = logging.getLogger(__name__)

#: Fields of `gateway:` that are read at start only.
AT_START = ("server", "database")

#: A request that has resolved its model is at the gate by then.
ON_ITS_WAY_S = 1.0


async def reload(gateway: Gateway, began_ns: int) -> Reloaded:
    """Swap in a changed kaixu.yaml. Raises what is wrong with it, and then the old one stays.

    Calls in flight, and those that wait for their admission, keep their lanes; these
    are closed when the last of them has settled.
    """
    document = load(gateway.settings.kaixu_config, os.environ)
    refuse_emptied(gateway, document)
    insist_on_server(document.gateway.server)
    old = gateway.services.catalog
    with put_back_on_failure():
        catalog = assemble(document, gateway.settings.kaixu_config.resolve().parent)
        try:
            catalog.insist(strict=True)
            async with gateway.pool.acquire() as connection:
                await gateway.provide_tables(catalog, connection)
            prices = await gateway.price_ids(catalog)
            await catalog.start()
            catalog.insist_on(old)
        except BaseException:
            await finish(asyncio.ensure_future(catalog.aclose()))
            raise
    services = gateway.services
    services.gate.price_ids |= prices  # a call on its way may still want an old model
    services.catalog = catalog
    gateway.retired.append(old)
    gateway.tasks.spawn(retire(gateway, old), "retire lanes")
    restart = adopt(gateway, document.gateway)
    services.monitor.record(MonitorEvent(kind="reload"))
    outcome = Reloaded(
        os.getpid(),
        began_ns,
        lanes={
            name: one.state if one.reason is None else f"{one.state}: {one.reason}"
            for name, one in catalog.lanes.items()
        },
        restart=restart,
        notes=[*notes_of(catalog), *notes_of_lost(old, catalog)],
    )
    log.warning("kaixu.yaml was reloaded: %d lanes", len(catalog.lanes))
    for note in outcome.notes:
        log.warning("%s", note)
    if restart:
        log.warning("changed, and in force after a restart only: %s", ", ".join(f"gateway.{name}" for name in restart))
    return outcome


def adopt(gateway: Gateway, section: GatewaySection) -> list[str]:
    """Go by a changed `gateway:` section; return the fields that wait for a restart."""
    services = gateway.services
    before, services.gateway = services.gateway, section
    services.gate.calls.most = section.max_in_flight
    services.gate.calls.most_per_key = section.max_in_flight_per_key
    services.gate.ledger.lifetime_s = section.reservation_s
    gateway.recovery.charge_lost = section.on_lost == "charge"
    gateway.app.adopt(services)
    if section.reservation_s > before.reservation_s:
        gateway.tasks.spawn(renew_at_the_old_pace(gateway, before.reservation_s), "renew holds")
    return [name for name in AT_START if getattr(section, name) != getattr(gateway.started_with, name)]


async def renew_at_the_old_pace(gateway: Gateway, lifetime_s: int) -> None:
    """Holds that were made to last `lifetime_s` must not run out before the next renewal, which comes later now."""
    admitted = set(gateway.services.gate.calls.entering)
    while True:
        waiting = not admitted.isdisjoint(gateway.services.gate.calls.entering)
        try:
            await gateway.services.gate.ledger.renew()
        except DatabaseAway:
            return  # once it is back, all holds are made anew
        if not waiting:
            return
        await asyncio.sleep(lifetime_s / 4)


async def retire(gateway: Gateway, catalog: Catalog) -> None:
    """Close the lanes of an old catalog once no call uses them any more."""
    gate = gateway.services.gate
    await asyncio.sleep(ON_ITS_WAY_S)
    lanes = {id(state) for state in catalog.lanes.values()}
    # Nothing is in a hurry here.
    while any(id(one.state) in lanes for model in gate.calls.deployments() for one in model.choices):  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    gateway.retired.remove(catalog)
    await finish(asyncio.ensure_future(catalog.aclose()))


def refuse_emptied(gateway: Gateway, document: Document) -> None:
    """Raises `ConfigError` for a file with nothing in it: an editor is at work, or something went wrong."""
    if gateway.services.catalog.lanes and not document.model_fields_set:
        raise ConfigError([Mistake.at(document.reading.place(()), "the file is empty")])


def notes_of(catalog: Catalog) -> list[str]:
    """What is not wrong, and hardly meant so."""
    empty = [] if catalog.lanes else ["no lanes are declared: there is no model that could be called"]
    return [*empty, *field_notes(catalog)]


def notes_of_lost(old: Catalog, new: Catalog) -> list[str]:
    """The lanes that served and do so no more, because the file says so."""
    lost = []
    for name, before in old.lanes.items():
        after = new.lanes.get(name)
        if before.state == "on" and (after is None or after.state != "on"):
            lost.append(f"lane {name} serves no more: {'it was removed' if after is None else after.reason}")
    return lost
