"""`health`: ready or degraded, and why. 200 only while the database answers. Only operators see details."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from kaixu import __version__
from kaixu.accounts.database import database_time
from kaixu.accounts.operator_identity import READ
from kaixu.catalog.catalog import Catalog
from kaixu.edge.operators import bearer_of, identify
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.tokens import is_inspection_token
from kaixu.metering.preamble import preamble_hash
from kaixu.metering.recent_calls import WINDOW_S, CallCounts, in_all
from kaixu.plugin.errors import DatabaseAway, Forbidden
from kaixu.plugin.keys import Keys

#: Why a gateway that still serves is unready: `gateway.drain_s`.
STOPPING = "the gateway is stopping"

#: The time limit for the database.
PATIENCE_S = 2.0


def health_routes(services: Services) -> list[Route]:
    """The route of health; some monitoring tools use POST."""

    async def health(request: IncomingRequest) -> Reply:
        database: dict[str, Any] = {"ok": True}
        try:
            async with asyncio.timeout(PATIENCE_S):
                database["now"] = (await database_time(services.pool)).isoformat()
        except (DatabaseAway, TimeoutError):
            database = {"ok": False, "error": "the database does not answer"}
        lanes = {name: state.state for name, state in services.catalog.lanes.items()}
        operator = await sees_details(services, request)
        why = [
            f"lane {name} is {state.state}" + (f": {state.reason}" if operator else "")
            for name, state in services.catalog.lanes.items()
            if state.state == "failed"
        ]
        vendors = vendor_calls(services)
        for name, lane in vendors.items():
            if lane["is_failing"]:
                reason = f": {lane['last_failure']}" if operator else ""
                why.append(f"lane {name} fails: none of its last {lane['calls']} calls was answered{reason}")
        if not database["ok"]:
            why.append(database["error"])
        if services.gate.calls.leaving:
            why.append(STOPPING)
        if "on" not in lanes.values():
            why.append("no lane is on, so no model can be called")
        if services.gate.ledger.waiting:
            why.append("settlements wait in the spool")
        if (failure := services.mail_health.failure) is not None:
            why.append("mails are not sent" + (f": {failure}" if operator else ""))
        workers = None if services.workers is None else await services.workers()
        why += [f"worker {one['slot']} is {one['state']}" for one in workers or () if one["state"] != "ready"]
        ready = bool(database["ok"]) and not services.gate.calls.leaving
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
                "hasAdminPassword": services.operators.admin_password,
                "providers": {name: state == "on" for name, state in lanes.items()},
            },
            "lanes": lanes,
            "preambles": preambles(services.catalog),
            "deployments": deployments(services),
            **({"keys": keys(services.catalog), "vendors": vendors} if operator else {}),
            **({"workers": workers} if operator and workers is not None else {}),
            "in_flight": len(services.gate.calls.running),
            "db": database,
        }
        headers = {} if ready else {"retry-after": "2"}
        return json_reply(body, 200 if ready else 503, headers)

    return [
        Route(method, function_paths("health"), health, auth="public", rate="open", max_body_bytes=SMALL_BODY_BYTES)
        for method in ("GET", "POST")
    ]


async def sees_details(services: Services, request: IncomingRequest) -> bool:
    """Whether the caller is an operator, or a command on the gateway's machine.

    While the database is away, nobody is known to be an operator.
    """
    if is_inspection_token(services.secrets.jwt_secrets, bearer_of(request.headers)):
        return True
    try:
        async with asyncio.timeout(PATIENCE_S):
            identity = await identify(services, request)
    except (DatabaseAway, Forbidden, TimeoutError):
        return False
    return identity is not None and identity.may(READ)


def preambles(catalog: Catalog) -> dict[str, str]:
    """The hash of each lane's preamble, if it has one."""
    return {
        name: preamble_hash(state.section.preamble)
        for name, state in catalog.lanes.items()
        if state.section.preamble is not None
    }


def system_hash(catalog: Catalog) -> str | None:
    """One hash for all preambles."""
    hashes = preambles(catalog)
    if len(set(hashes.values())) <= 1:
        return next(iter(hashes.values()), None)
    return preamble_hash("\n".join(f"{lane} {text}" for lane, text in sorted(hashes.items())))


def keys(catalog: Catalog) -> dict[str, Any]:
    """The states of vendor keys, for lanes with several."""
    return {
        name: state.lane.keys.states()
        for name, state in catalog.lanes.items()
        if state.lane is not None and isinstance(state.lane.keys, Keys) and len(state.lane.keys.keys) > 1
    }


def vendor_calls(services: Services) -> dict[str, dict[str, Any]]:
    """How the recent calls of each lane and of its models ended, in this process."""
    recent = services.gate.breakers.recent
    choices = [one for model in services.catalog.deployments for one in model.choices]

    def counts_json(counts: CallCounts) -> dict[str, Any]:
        return {
            "calls": counts.calls,
            "failed": counts.failed,
            "success_rate": counts.success_rate,
            "is_failing": counts.is_failing,
            "last_failure": None if counts.last_failure is None else str(counts.last_failure),
        }

    return {
        lane: counts_json(in_all(models.values()))
        | {"within_s": int(WINDOW_S), "models": {model: counts_json(counts) for model, counts in models.items()}}
        for lane, models in recent.by_lane(choices).items()
    }


def deployments(services: Services) -> dict[str, dict[str, str]]:
    """The state of each deployment, for models with several."""
    return {
        f"{model.provider}/{model.model}": {
            one.name: services.gate.breakers.state_of(one) if one.is_on else one.state.state for one in model.choices
        }
        for model in services.catalog.deployments
        if model.others
    }
