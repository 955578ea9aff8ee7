"""The figures at the head of the overview: today and the month, each compared with the same time before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from kaixu.web.components import Money, Number, Sparkline, Stat, State, Stats
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

#: Below this change of a figure nothing is coloured.
QUIET_PERCENT = 1


def today_figures(visit: Visit, figures: Mapping[str, Any]) -> Stats:
    """Today so far, compared with yesterday up to the same time."""
    now, before = figures["today"], figures["today"]["compared"]
    days = figures["days"]
    usage = TABS["usage"].path
    failing = visit.url(TABS["monitor"].path, level="error", **{"from": now["from"]})
    than = "yesterday by now"
    return Stats(
        [
            money_stat("Revenue today", "spent_usd", now, before, days, usage, than),
            count_stat("Calls today", "calls", now, before, days, usage, than),
            Stat(
                "Errors today",
                Number(rate(now), unit="%", digits=2),
                note=f"{now['errors']:,} failed, {now['refusals'] or 0:,} refused",
                trend=points(now, before, than),
                state=better(rate(before), rate(now)),
                sparkline=line(days, "errors", "Errors in 14 days"),
                href=failing,
            ),
            Stat(
                "p95 today",
                Number(now["p95_ms"], unit="ms"),
                note=f"p50 {now['p50_ms']:,} ms" if now["p50_ms"] is not None else "no calls",
                trend=trend(now["p95_ms"], before["p95_ms"], than),
                state=better(before["p95_ms"], now["p95_ms"]),
                sparkline=line(days, "p95_ms", "95th percentile of the time of a call in 14 days"),
                href=visit.url(TABS["monitor"].path, kind="slow", **{"from": now["from"]}),
            ),
            Stat(
                "Tokens today",
                Number(tokens(now)),
                note=f"{now['input_tokens']:,} in, {now['output_tokens']:,} out",
                trend=trend(tokens(now), tokens(before), than),
                sparkline=Sparkline([tokens(day) for day in days], "Tokens in 14 days"),
                href=usage,
            ),
        ]
    )


def month_figures(visit: Visit, figures: Mapping[str, Any]) -> Stats:
    """The month to date, compared with the month before up to the same day."""
    now, before = figures["month"], figures["month"]["compared"]
    days = figures["days"]
    usage = visit.url(TABS["usage"].path, month=now["month"])
    lanes = TABS["lanes"].path
    name = f"{date.fromisoformat(now['month'] + '-01'):%B}"
    than = f"{date.fromisoformat(before['month'] + '-01'):%B} by this day"
    margin = now["margin_percent"]
    return Stats(
        [
            money_stat(f"Revenue, {name}", "spent_usd", now, before, days, usage, than),
            money_stat(f"Vendor cost, {name}", "vendor_cost_usd", now, before, days, lanes, than, is_plain=True),
            money_stat(
                f"Margin, {name}", "margin_usd", now, before, days, lanes, than,
                note=f"{margin:.1f} % of the revenue" if margin is not None else "",
            ),
            count_stat(f"Calls, {name}", "calls", now, before, days, usage, than),
            Stat(
                f"Errors, {name}",
                Number(rate(now), unit="%", digits=2),
                note=f"{now['errors']:,} failed, {now['refusals'] or 0:,} refused",
                trend=points(now, before, than),
                state=better(rate(before), rate(now)),
                sparkline=line(days, "errors", "Errors in 14 days"),
                href=visit.url(TABS["monitor"].path, level="error", **{"from": now["from"]}),
            ),
        ]
    )  # fmt: skip


def money_stat(
    label: str,
    field: str,
    now: Mapping[str, Any],
    before: Mapping[str, Any],
    days: list[Mapping[str, Any]],
    href: str,
    than: str,
    *,
    note: str = "",
    is_plain: bool = False,
) -> Stat:
    """An amount; more is better unless `is_plain`."""
    ours, theirs = float(now[field]), float(before[field])
    return Stat(
        label,
        Money(now[field]),
        note=note,
        trend=trend(ours, theirs, than),
        state=None if is_plain else better(ours, theirs),
        sparkline=line(days, field, f"{label}: each of the last 14 days"),
        href=href,
    )


def count_stat(
    label: str,
    field: str,
    now: Mapping[str, Any],
    before: Mapping[str, Any],
    days: list[Mapping[str, Any]],
    href: str,
    than: str,
) -> Stat:
    """A number; more is better."""
    return Stat(
        label,
        Number(now[field]),
        trend=trend(now[field], before[field], than),
        state=better(now[field], before[field]),
        sparkline=line(days, field, f"{label}: each of the last 14 days"),
        href=href,
    )


def line(days: list[Mapping[str, Any]], field: str, label: str) -> Sparkline:
    """A figure by day."""
    return Sparkline([float(day[field] or 0) for day in days], label)


def tokens(figures: Mapping[str, Any]) -> int:
    """Tokens in and out."""
    return int(figures["input_tokens"]) + int(figures["output_tokens"])


def rate(figures: Mapping[str, Any]) -> float:
    """Failed calls in percent of all."""
    return 100 * figures["errors"] / figures["calls"] if figures["calls"] else 0.0


def trend(now: float | None, before: float | None, than: str) -> str:
    """A change in words."""
    if now is None or before is None or (not before and not now):
        return ""
    if not before:
        return f"nothing {than}"
    percent = 100 * (now - before) / before
    if abs(percent) < QUIET_PERCENT:
        return f"as {than}"
    return f"{'↑' if percent > 0 else '↓'} {abs(percent):,.0f} % on {than}"


def points(now: Mapping[str, Any], before: Mapping[str, Any], than: str) -> str:
    """A change of a rate in words."""
    if not before["calls"]:
        return ""
    change = rate(now) - rate(before)
    if abs(change) < 0.005:
        return f"as {than}"
    return f"{'↑' if change > 0 else '↓'} {abs(change):.2f} points on {than}"


def better(more: float | None, less: float | None) -> State | None:
    """The colour of a change from `less` to `more`; None where nothing changed much."""
    if more is None or less is None or not less or abs(more - less) * 100 < QUIET_PERCENT * abs(less):
        return None
    return "good" if more > less else "warn"
