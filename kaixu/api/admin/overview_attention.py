"""What an operator should look at, as this process knows it: lanes, breakers, prices, mails, settlements."""

from __future__ import annotations

from collections.abc import Iterator

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.config.price import CHARGED, losses
from kaixu.edge.services import Services
from kaixu.metering.breakers import Breakers, Place, place_of
from kaixu.reports.attention import DatabaseAttention, Item, database_items


def attention_items(services: Services, state: DatabaseAttention) -> list[Item]:
    """Everything, of this process and of the database."""
    broken = broken_places(services.catalog, services.gate.breakers)
    return [
        *section_items(services.catalog),
        *(breaker_item(model, one, services.gate.breakers) for model, one in broken.values()),
        *process_items(services),
        *database_items(state, without=broken),
        *price_items(services.catalog),
    ]


def section_items(catalog: Catalog) -> Iterator[Item]:
    """Lanes that are not on, integrations that have failed, mistakes in kaixu.yaml."""
    for lane in catalog.lanes.values():
        if lane.state != "on":
            how = "has failed" if lane.state == "failed" else "is off"
            text = f"Lane {lane.name} {how}" + (f": {lane.reason}" if lane.reason else "")
            yield Item("lane", "bad" if lane.state == "failed" else "warn", text, "lanes", {"lane": lane.name})
    for integration in catalog.integrations.values():
        if integration.state == "failed":
            text = f"Integration {integration.name} has failed" + (
                f": {integration.reason}" if integration.reason else ""
            )
            yield Item("integration", "bad", text, "lanes", {"name": integration.name})
    if catalog.mistakes:
        more = f", and {len(catalog.mistakes) - 1} more" if len(catalog.mistakes) > 1 else ""
        text = f"Mistake in kaixu.yaml: {catalog.mistakes[0]}{more}"
        yield Item("config", "bad", text, "lanes")


def broken_places(catalog: Catalog, breakers: Breakers) -> dict[Place, tuple[Deployment, Deployment]]:
    """The places whose breaker is not closed, each with a model that it serves and its deployment there."""
    return {
        place_of(one): (model, one)
        for model in catalog.deployments
        for one in model.choices
        if one.is_on and breakers.state_of(one) != "closed"
    }


def breaker_item(model: Deployment, one: Deployment, breakers: Breakers) -> Item:
    """A deployment that is avoided for a while; bad if no other one serves its model."""
    serving = sum(breakers.state_of(other) == "closed" for other in model.ready)
    failure = breakers.recent.of(one).last_failure
    state = breakers.state_of(one)
    text = f"{model.provider}/{model.model}: breaker of {one.upstream} on lane {one.state.name} is {state}"
    if failure is not None:
        text += f" ({failure.without_words})"
    text += "; another deployment serves" if serving else "; no other deployment serves"
    return Item("breaker", "warn" if serving else "bad", text, "lanes", {"lane": one.state.name})


def process_items(services: Services) -> Iterator[Item]:
    """What this process cannot get rid of."""
    if services.gate.ledger.waiting:
        text = "Settlements of this gateway wait for the database in its spool"
        yield Item("settlements", "bad", text, "monitor", {"level": "error"})
    if services.mail_health.failure is not None:
        text = f"This gateway cannot send mails: {services.mail_health.failure}"
        yield Item("mail", "bad", text, "monitor")


def price_items(catalog: Catalog) -> Iterator[Item]:
    """Models whose price is below what their vendor charges."""
    for model in catalog.deployments:
        for one in model.choices:
            if kinds := losses(one.price, one.cost, CHARGED[one.kind]):
                words = ", ".join(kinds).replace("_", " ")
                where = f" on lane {one.state.name}" if model.others else ""
                text = f"{model.provider}/{model.model}{where}: the price is below the vendor's for {words}"
                parameters = {"lane": model.provider, "model": model.model}
                yield Item("price", "warn", text, "lanes", parameters)
