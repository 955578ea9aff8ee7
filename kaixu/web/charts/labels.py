"""The x axis: labels made short, and as many as fit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

#: The most labels of an axis, and the longest.
MOST_LABELS, MOST_LENGTH = 8, 18

#: The width of a character and the space beside a label, in pixels: on the safe side for the fonts of systems.
CHARACTER_PX, SPACE_PX = 6.6, 14

#: How wide the drawing is at least, in pixels: as a rule, and on a phone (`chart.css` changes over at 460).
WIDE_PX, NARROW_PX = 400, 230

#: How far a label may stand out of the drawing, to the left (above nothing) and to the right.
LEFT_PX, RIGHT_PX = 24, 12


class AxisLabel(msgspec.Struct, frozen=True):
    """A label below the point `index`. `narrow`: also shown where there is little room."""

    index: int
    text: str
    narrow: bool


def axis_labels(labels: Sequence[str]) -> list[AxisLabel]:
    """The labels that an axis shows: evenly thinned, so that none touches the next one."""
    texts = [shortened(text) for text in short_labels(labels)]
    if not texts:
        return []
    count, width = len(texts), max(map(len, texts)) * CHARACTER_PX
    wide, narrow = (min(max(int(room // (width + SPACE_PX)), 1), MOST_LABELS) for room in (WIDE_PX, NARROW_PX))
    step = ceiling(count, wide)
    every = ceiling(count, step * narrow)  # of these labels, one in so many is also shown where there is little room
    is_short = width / 2 <= LEFT_PX  # the first label may stand below the first point
    first, narrow_first = (0, 0) if is_short else (step // 2, (every - 1) // 2)

    def fits(index: int, room: float) -> bool:
        """Whether the label stays within the drawing."""
        slot = room / count
        before, after = (index + 0.5) * slot, (count - index - 0.5) * slot
        return count == 1 or (before + LEFT_PX >= width / 2 and after + RIGHT_PX >= width / 2)

    return [
        AxisLabel(index, texts[index], position % every == narrow_first and fits(index, NARROW_PX))
        for position, index in enumerate(range(first, count, step))
        if fits(index, WIDE_PX)
    ]


def ceiling(number: int, divisor: int) -> int:
    """A quotient, rounded up."""
    return -(-number // divisor)


def shortened(text: str) -> str:
    """A label cut to what an axis can show."""
    return text if len(text) <= MOST_LENGTH else text[: MOST_LENGTH - 1] + "…"


def short_labels(labels: Sequence[str]) -> list[str]:
    """Days, months and moments in ISO form as people write them (`4 Nov`, `Nov 2026`, `13:00`); others as they are."""
    months = [month_of(label) for label in labels]
    if all(months):
        return [f"{month:%b %Y}" for month in months if month]
    days = [day_of(label) for label in labels]
    if all(days):
        return [day_text(day) for day in days if day]
    moments = [moment_of(label) for label in labels]
    if not all(moments):
        return list(labels)
    known = [moment for moment in moments if moment]
    if len({moment.date() for moment in known}) == 1:
        return [f"{moment:%H:%M}" for moment in known]
    if all(moment.hour == moment.minute == 0 for moment in known):
        return [day_text(moment) for moment in known]
    return [f"{day_text(moment)} {moment:%H:%M}" for moment in known]


def day_text(day: date) -> str:
    """A day without its year."""
    return f"{day.day} {day:%b}"


def month_of(label: str) -> date | None:
    """A month such as `2026-11`."""
    return day_of(label + "-01") if len(label) == len("2026-11") else None


def day_of(label: str) -> date | None:
    """A day such as `2026-11-04`."""
    try:
        return date.fromisoformat(label) if len(label) == len("2026-11-04") else None
    except ValueError:
        return None


def moment_of(label: str) -> datetime | None:
    """A moment such as `2026-11-04T13:00:00Z`."""
    try:
        return datetime.fromisoformat(label) if label[:10].count("-") == 2 and ":" in label else None
    except ValueError:
        return None
