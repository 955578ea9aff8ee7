"""Lanes, plugins and integrations as JSON, for operators. Of vendor keys and variables only names and ends are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.catalog.catalog import Catalog, Deployment, IntegrationState, LaneState, PluginState
from kaixu.catalog.charge_words import describe_price
from kaixu.config.margins import figures, rate_figures
from kaixu.metering.breakers import Breakers
from kaixu.plugin.keys import Key, Keys
from kaixu.plugin.operation import Free, Job, Operation
from kaixu.reports.lane_figures import LaneFigures, place_json, state_json
from kaixu.reports.schedules import ScheduleRow
from kaixu.reports.values import instant

#: Only of longer keys the end is shown: of a short one it would be too much.
LEAST_KEY_LENGTH = 16

#: The reason of a section that is off for want of a variable.
NOT_SET = re.compile(r"([A-Za-z_][A-Za-z0-9_]*) is not set")


def lane_json(
    state: LaneState, catalog: Catalog, breakers: Breakers, month: LaneFigures, unset: Sequence[str]
) -> dict[str, Any]:
    """A lane and its models."""
    section = state.section
    own = {one.model: one for one in catalog.models.get(state.name, {}).values()}
    return {
        "name": state.name,
        "public_name": state.public_name or state.name,
        "plugin": section.plugin,
        "aliases": list(section.aliases),
        "required": section.required,
        "state": state.state,
        "reason": state.reason,
        "missing": missing_names(state.state, state.reason, unset),
        "has_preamble": section.preamble is not None,
        "vendor_keys": vendor_keys(state),
        "models": [model_json(state, name, own[name], breakers, month) for name in section.models if name in own],
    }


def missing_names(state: str, reason: str | None, unset: Sequence[str]) -> list[str]:
    """The environment variables that a section needs and does not have."""
    if state != "off":
        return []
    named = NOT_SET.fullmatch(reason or "")
    return list(dict.fromkeys([*unset, *([named[1]] if named else [])]))


def vendor_keys(state: LaneState) -> list[dict[str, Any]]:
    """The lane's keys with its vendor: their state in this process, and their last four characters."""
    keys = None if state.lane is None else state.lane.keys
    if not isinstance(keys, Keys):
        return []
    states = keys.states()
    return [{"label": one.label, "last4": last4(one), **states[one.label]} for one in keys.keys]


def last4(key: Key) -> str | None:
    """The end of a key."""
    text = key.secret.get_secret_value()
    return text[-4:] if len(text) >= LEAST_KEY_LENGTH else None


def model_json(
    state: LaneState, name: str, model: Deployment, breakers: Breakers, month: LaneFigures
) -> dict[str, Any]:
    """A model with its prices and deployments. `figures` are USD per million tokens, margins percent."""
    section = state.section.models[name]
    own = figures(section)
    return {
        "name": name,
        "aliases": list(section.aliases),
        "type": section.type,
        "upstream": section.upstream or name,
        "figures": own | {"as_of": None if own["as_of"] is None else f"{own['as_of']:%Y-%m-%d}"},
        "is_priced": section.price is not None,
        "max_output_tokens": section.max_output_tokens if section.type == "chat" else None,
        "dimensions": section.dimensions,
        "fallback": list(section.fallback),
        "has_cache": section.cache is not None,
        "deployments": [deployment_json(state, name, one, breakers, month) for one in model.choices],
    }


def deployment_json(
    state: LaneState, model: str, one: Deployment, breakers: Breakers, month: LaneFigures
) -> dict[str, Any]:
    """One deployment: its rates, how its calls went lately, and the month."""
    counts = breakers.recent.of(one)
    return {
        "name": one.name,
        "lane": one.state.name,
        "upstream": one.upstream,
        "weight": one.weight,
        "priority": one.priority,
        "state": one.state.state,
        "reason": one.state.reason,
        "breaker": breakers.state_of(one) if one.is_on else None,
        "figures": rate_figures(one.price, one.cost, one.kind),
        "recent": {
            "calls": counts.calls,
            "failed": counts.failed,
            "success_rate": counts.success_rate,
            "is_failing": counts.is_failing,
            "last_failure": None if counts.last_failure is None else str(counts.last_failure),
            "last_failure_at": None if counts.last_failure is None else instant(counts.last_failure.at),
        },
        "all_gateways": state_json(month.states.get((one.state.name, one.upstream))),
        "month": place_json(month.places.get(f"{state.name}/{model}/{one.name}")),
    }


def plugin_json(one: PluginState) -> dict[str, Any]:
    """A plugin: where it is from, and whether it works."""
    return {
        "name": one.name,
        "kind": "unknown" if one.kind == "?" else one.kind,
        "source": one.source,
        "where": one.where,
        "version": one.version,
        "state": one.state,
        "reason": one.reason,
    }


def integration_json(
    state: IntegrationState, schedules: Mapping[str, ScheduleRow], unset: Sequence[str]
) -> dict[str, Any]:
    """An integration: its operations and jobs with what they charge, its schedules with their last run."""
    declared = state.integration
    return {
        "name": state.name,
        "plugin": state.section.plugin or state.name,
        "where": state.where,
        "required": state.section.required,
        "state": state.state,
        "reason": state.reason,
        "missing": missing_names(state.state, state.reason, unset),
        "has_tables": state.schema is not None,
        "operations": [] if declared is None else [offer_json(state, one) for one in declared.operations],
        "jobs": [] if declared is None else [offer_json(state, one) for one in declared.jobs],
        "schedules": []
        if declared is None
        else [
            {"name": one.name, "every_s": one.every_s, "why_free": one.why_free, **run_json(schedules.get(one.name))}
            for one in declared.schedules
        ],
    }


def offer_json(state: IntegrationState, one: Operation | Job) -> dict[str, Any]:
    """An operation or a job. `charge` is null where its price is missing."""
    charge = one.charge
    is_known = isinstance(charge, Free) or charge.price in state.prices_nusd
    return {
        "name": one.name,
        "role": one.callers if isinstance(one, Operation) else None,
        "address": f"{one.method} /v1/{state.name}{one.path_below}" if isinstance(one, Operation) else None,
        "aliases": list(one.aliases) if isinstance(one, Operation) else [],
        "charge": describe_price(state, one) if is_known else None,
        "free_because": charge.why if isinstance(charge, Free) else None,
        "timeout_s": one.timeout_s,
    }


def run_json(row: ScheduleRow | None) -> dict[str, Any]:
    """When a schedule is due, and how its last run ended."""
    if row is None:
        return {"next_at": None, "last_at": None, "last_status": None, "last_error": None}
    return {
        "next_at": instant(row.next_at),
        "last_at": instant(row.last_at),
        "last_status": row.status,
        "last_error": row.error_code,
    }
