"""`health`: live, ready, degraded, and why. 200 only while the database answers. Reasons are for operators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from quart import Blueprint, Response, request

from kaixu import __version__
from kaixu.accounts.database import database_time
from kaixu.catalog.catalog import Catalog
from kaixu.edge.function_paths import at
from kaixu.edge.operators import is_operator
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.metering.preamble import preamble_hash
from kaixu.plugin.errors import DatabaseAway
from kaixu.plugin.keys import Keys

#: Longer than this is as good as no answer for who asks.
PATIENCE_S = 2.0


def health_routes(services: Services) -> Blueprint:
    """The route, bound to one gateway."""
    routes = Blueprint("health", __name__)

    @at(routes, "health", methods=["GET", "POST", "HEAD"])
    async def health() -> Response:
        database: dict[str, Any] = {"ok": True}
        try:
            async with asyncio.timeout(PATIENCE_S):
                database["now"] = (await database_time(services.pool)).isoformat()
        except (DatabaseAway, TimeoutError):
            database = {"ok": False, "error": "the database does not answer"}
        lanes = {name: state.state for name, state in services.catalog.lanes.items()}
        operator = is_operator(services, request.headers)
        why = [
            f"lane {name} is {state.state}" + (f": {state.reason}" if operator else "")
            for name, state in services.catalog.lanes.items()
            if state.state == "failed"
        ]
        if "on" not in lanes.values():
            why.append("no lane is on: there is no model that could be called")
        if services.gate.ledger.waiting:
            why.append("settlements wait in the spool")
        ready = bool(database["ok"]) and not services.gate.calls.stopping
        body = {
            "ok": ready,
            "status": "unready" if not ready else "degraded" if why else "ready",
            "live": True,
            "why": why,
            "ts": datetime.now(UTC).isoformat(),
            "build": {"id": __version__, "schema": "kaixu-1", "kaixu_system_hash": system_hash(services.catalog)},
            "env": {
                "hasDbUrl": services.settings.database_url is not None,
                "hasJwtSecret": True,
                "hasAdminPassword": True,
                "providers": {name: state == "on" for name, state in lanes.items()},
            },
            "lanes": lanes,
            "preambles": preambles(services.catalog),
            "deployments": deployments(services),
            **({"keys": keys(services.catalog)} if operator else {}),
            "in_flight": len(services.gate.calls.running),
            "db": database,
        }
        headers = {} if ready else {"retry-after": "2"}
        return reply(body, 200 if ready else 503, headers)

    return routes


def preambles(catalog: Catalog) -> dict[str, str]:
    """The hash of each lane's preamble, of those that have one."""
    return {
        name: preamble_hash(state.section.preamble)
        for name, state in catalog.lanes.items()
        if state.section.preamble is not None
    }


def system_hash(catalog: Catalog) -> str | None:
    """One hash for all preambles: of the only text there is, or of all of them."""
    hashes = preambles(catalog)
    if len(set(hashes.values())) <= 1:
        return next(iter(hashes.values()), None)
    return preamble_hash("\n".join(f"{lane} {text}" for lane, text in sorted(hashes.items())))


def keys(catalog: Catalog) -> dict[str, Any]:
    """How the keys of lanes that have several stand, by their labels."""
    return {
        name: state.lane.keys.states()
        for name, state in catalog.lanes.items()
        if state.lane is not None and isinstance(state.lane.keys, Keys) and len(state.lane.keys.keys) > 1
    }


def deployments(services: Services) -> dict[str, dict[str, str]]:
    """How the deployments of models that have several stand: closed, open, half-open, or with their lane off."""
    return {
        f"{model.provider}/{model.model}": {
            one.name: services.gate.breakers.state_of(one) if one.is_on else one.state.state for one in model.choices
        }
        for model in services.catalog.deployments
        if model.others
    }
