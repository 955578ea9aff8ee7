"""Cells that the pages of lanes share: states in colour and words, prices, health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from kaixu.web.components import Badge, Cell, Link, Muted, Stack, State
from kaixu.web.formats import plain_text

LANE = "/gateway/lanes/lane"
MODEL = "/gateway/lanes/model"
TEST = "/gateway/lanes/test"
INTEGRATION = "/gateway/lanes/integration"
NEW = "/gateway/lanes/new"

STATES: dict[str, State] = {"on": "good", "off": "off", "failed": "bad"}
BREAKERS: dict[str, State] = {"closed": "good", "half-open": "warn", "open": "bad"}
BREAKER_HINTS = {
    "closed": "calls go to it as usual",
    "half-open": "its cool-down is over: the next call tries it",
    "open": "it failed: calls go elsewhere until its cool-down is over",
}


def lane_href(name: str) -> str:
    """The page of a lane."""
    return f"{LANE}?{urlencode({'lane': name})}"


def model_href(lane: str, model: str) -> str:
    """The page of a model."""
    return f"{MODEL}?{urlencode({'lane': lane, 'model': model})}"


def integration_href(name: str) -> str:
    """The page of an integration."""
    return f"{INTEGRATION}?{urlencode({'name': name})}"


def state_cell(one: Mapping[str, Any]) -> Cell:
    """A state, and its reason below it."""
    badge = Badge(STATES.get(one["state"], "off"), one["state"])
    return Stack([badge, Muted(plain_text(one["reason"]))], lines=True) if one["reason"] else badge


def missing_cell(names: list[str]) -> Cell:
    """The variables that are not set, by name."""
    return ", ".join(names) if names else Muted("–")


def pair(figures: Mapping[str, Any], what: str, kind: str) -> Cell:
    """Rates of input and output, in USD per million tokens."""
    shown = [figures[f"{what}_input_usd"], *([figures[f"{what}_output_usd"]] if kind == "chat" else [])]
    if all(one is None for one in shown):
        return Badge("warn", "no price: calls are refused") if what == "price" else Muted("unknown")
    return " / ".join("–" if one is None else f"${one}" for one in shown)


def margin_cell(figures: Mapping[str, Any], kind: str) -> Cell:
    """The margin in percent; what is sold below its cost is marked."""
    shown = [figures["margin_input_percent"], *([figures["margin_output_percent"]] if kind == "chat" else [])]
    if all(one is None for one in shown):
        return Muted("unknown")
    text = " / ".join("–" if one is None else f"{one} %" for one in shown)
    if not figures["loss"]:
        return text
    kinds = ", ".join(one.replace("_", " ") for one in figures["loss"])
    return Stack([text, Badge("bad", "below cost", hint=f"{kinds}: the price is lower than what the vendor charges")])


def breaker_cell(state: str | None) -> Cell:
    """The breaker in this process."""
    if state is None:
        return Muted("–")
    return Badge(BREAKERS.get(state, "off"), state, hint=BREAKER_HINTS.get(state, ""))


def health_cell(one: Mapping[str, Any]) -> Cell:
    """How the calls of a deployment went: here in the last minutes, and for all gateways."""
    recent, everywhere = one["recent"], one["all_gateways"]
    if everywhere["is_down"]:
        return Badge("bad", "down", hint="No gateway gets an answer from it.")
    if not recent["calls"]:
        return Badge("off", "no calls lately")
    answered = recent["calls"] - recent["failed"]
    text = f"{answered} of {recent['calls']} answered"
    state: State = "bad" if recent["is_failing"] else "warn" if recent["failed"] else "good"
    return Badge(state, text, hint=recent["last_failure"] or "In this process, in the last five minutes.")


def sums(months: list[Mapping[str, Any]]) -> tuple[int, int]:
    """The calls and errors of several deployments."""
    return sum(one["calls"] for one in months), sum(one["errors"] for one in months)


def errors_text(calls: int, errors: int) -> Cell:
    """Errors, with their share."""
    if not errors:
        return "0"
    return f"{errors:,} ({errors / calls:.1%})" if calls else f"{errors:,}"


def latency_text(month: Mapping[str, Any]) -> Cell:
    """Half of the calls, and 95 of 100, took no longer than this."""
    if month["p50_ms"] is None:
        return Muted("–")
    return f"{month['p50_ms']:,} / {month['p95_ms']:,} ms"


def call_link(lane: str, model: str, deployment: str = "", text: str = "Test call") -> Link:
    """The page that makes a test call."""
    query = {"lane": lane, "model": model} | ({"deployment": deployment} if deployment else {})
    return Link(text, f"{TEST}?{urlencode(query)}", icon="play")
