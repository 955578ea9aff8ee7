"""How the gateway is, as it sees itself each minute: the state now, a strip of the day, response times, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .components import (
    Badge,
    Card,
    Chart,
    Column,
    Empty,
    Markup,
    Number,
    Part,
    Prose,
    Row,
    Series,
    Stat,
    State,
    Stats,
    Table,
    Time,
)
from .visits import Visit

QUARTER = timedelta(minutes=15)
QUARTERS = 96
MOST_FAILURES = 20

ERRORS = {
    "http": "the gateway answered with an error",
    "db": "the database did not answer",
    "parse": "the answer could not be read",
    "timeout": "no answer in time",
    "network": "not reachable",
    "dns": "its name was not found",
    "error": "another error",
}


class Slot(msgspec.Struct, frozen=True):
    """A quarter of an hour: its state, in words, and its middle response time."""

    start: datetime
    state: State
    text: str
    ms: int | None


async def status_parts(visit: Visit) -> list[Part]:
    """The parts of the page of the status."""
    reply = await visit.api.get("gateway-heartbeat-read", history=1)
    beats = reply["history"]["items"]
    slots = slots_of(beats, datetime.now(UTC))
    return [now_card(visit, reply, beats, slots), response_card(slots), failures_table(beats), about()]


def now_card(visit: Visit, reply: Mapping[str, Any], beats: Sequence[Mapping[str, Any]], slots: list[Slot]) -> Card:
    """The state now and the strip of the day; read again each half minute."""
    last = reply["last"]
    good = sum(beat["ok"] for beat in beats)
    share = f"{100 * good / len(beats):.2f}".rstrip("0").rstrip(".") if beats else ""
    streak = reply["failures"]["streak"]
    if last is None:
        state, text = Badge("off", "not known yet"), "The first check comes within a minute."
    elif reply["ok"]:
        state, text = Badge("good", "working"), "The gateway and its database answer."
    else:
        state, text = Badge("bad", "failing"), f"{ERRORS.get(last['error_type'], 'It failed')}; {streak} in a row"
    failure = reply["failures"]["last_failure"]
    stats = [
        Stat("Now", state, note=text),
        Stat("Last check", Time(last["ts"] if last else None, form="time"), note="one each minute"),
        Stat("Response time", Number(last["ms"] if last else None, "ms"), note="of the last check"),
        Stat("Checks passed", f"{share} %" if beats else "–", note=f"{good:,} of {len(beats):,} in 24 hours"),
        Stat("Last failure", Time(failure["ts"] if failure else None, form="time", none="none"), note="in 24 hours"),
    ]
    strip = Markup("status_strip.html", {"slots": slots, "label": strip_label(slots)})
    return Card("Now", [Stats(stats), strip], id="status", refresh=visit.path)


def strip_label(slots: list[Slot]) -> str:
    """The strip in words."""
    counts = {state: sum(slot.state == state for slot in slots) for state in ("good", "bad", "warn", "off")}
    return (
        f"The last 24 hours in quarters of an hour: {counts['good']} without a failure, "
        f"{counts['warn'] + counts['bad']} with failures, {counts['off']} without a check."
    )


def slots_of(beats: Sequence[Mapping[str, Any]], now: datetime) -> list[Slot]:
    """The day in quarters of an hour, oldest first; a quarter without a check has no gateway that ran."""
    begin = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0) - QUARTER * (QUARTERS - 1)
    by_slot: list[list[Mapping[str, Any]]] = [[] for _ in range(QUARTERS)]
    for beat in beats:
        at = (datetime.fromisoformat(beat["ts"]) - begin) // QUARTER
        if 0 <= at < QUARTERS:
            by_slot[at].append(beat)
    return [slot_of(begin + QUARTER * at, found) for at, found in enumerate(by_slot)]


def slot_of(start: datetime, beats: Sequence[Mapping[str, Any]]) -> Slot:
    """One quarter of an hour."""
    hour = f"{start:%H:%M} UTC"
    if not beats:
        return Slot(start, "off", f"{hour}: no check", None)
    failed = sum(not beat["ok"] for beat in beats)
    times = sorted(beat["ms"] for beat in beats)
    middle = times[len(times) // 2]
    if not failed:
        return Slot(start, "good", f"{hour}: good, {middle} ms", middle)
    state: State = "bad" if failed == len(beats) else "warn"
    return Slot(start, state, f"{hour}: {failed} of {len(beats)} checks failed", middle)


def response_card(slots: list[Slot]) -> Card:
    """Response times over the day."""
    chart = Chart(
        id="response",
        title="Response time of its health check",
        labels=[f"{slot.start:%m-%d %H:%M}" for slot in slots],
        series=[Series(name="median of a quarter of an hour", values=[slot.ms for slot in slots])],
        form="lines",
        unit="ms",
    )
    return Card("Response time", [chart])


def failures_table(beats: Sequence[Mapping[str, Any]]) -> Table:
    """The checks that failed."""
    failed = [beat for beat in beats if not beat["ok"]]
    return Table(
        id="failures",
        caption="Failed checks",
        columns=[
            Column(title="Time"),
            Column(title="What failed", wide=True),
            Column(title="Status", align="right"),
            Column(title="Database"),
            Column(title="Duration", align="right"),
        ],
        rows=[
            Row(
                cells=[
                    Time(beat["ts"]),
                    ERRORS.get(beat["error_type"], beat["error"] or "not known"),
                    Number(beat["status"]),
                    Badge("good", "answers") if beat["db_ok"] else Badge("bad", "away"),
                    Number(beat["ms"], "ms"),
                ]
            )
            for beat in failed[:MOST_FAILURES]
        ],
        empty=Empty(text="No check has failed in the last 24 hours."),
        note=f"The newest {MOST_FAILURES} of {len(failed)}." if len(failed) > MOST_FAILURES else "",
    )


def about() -> Prose:
    """Where this comes from."""
    return Prose(
        tip=True,
        paragraphs=[
            "Each minute the gateway checks its own health over HTTP, database included. A minute without a check "
            "means that no gateway ran. The same as JSON, for any web page: GET /api/gateway-heartbeat-read?history=1."
        ],
    )
