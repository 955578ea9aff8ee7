"""Monitor events in words: their columns, which the live tail fills in the browser in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.web.components import Badge, Cell, Code, Column, Number, Row, State, Time

EVENT = "/gateway/monitor/event"

LEVELS: dict[str, State] = {"error": "bad", "warn": "warn", "info": "info"}

#: The characters of a request's id that a row shows.
SHORT_ID = 8

COLUMNS = (
    Column(title="Time"),
    Column(title="Level"),
    Column(title="Function"),
    Column(title="App", phone=False),
    Column(title="Status", align="right", hint="Of the reply, or of the vendor's reply"),
    Column(title="Provider/Model"),
    Column(title="ms", align="right", phone=False, hint="How long the request took"),
    Column(title="Request", phone=False),
    Column(title="Summary", wide=True),
)

#: What `tail.js` writes into the cells of a row, in the order of the columns.
TAIL_COLUMNS = "time level function app status model ms request summary"


def event_row(event: Mapping[str, Any]) -> Row:
    """An event as a row; it opens in the drawer."""
    return Row(
        id=f"event-{event['id']}",
        href=f"{EVENT}?id={event['id']}",
        cells=[
            Time(event["created_at"], form="short"),
            level_badge(event["level"]),
            event["function_name"] or "",
            event["app_id"] or "",
            status_text(event),
            model_text(event),
            Number(event["duration_ms"]) if event["duration_ms"] is not None else "",
            Code(event["request_id"][:SHORT_ID]) if event["request_id"] else "",
            summary_of(event),
        ],
    )


#: A row for the live tail to copy: each cell has the shape of a real one.
SAMPLE_EVENT: Mapping[str, Any] = {
    "id": 0, "created_at": "2000-01-01T00:00:00Z", "level": "info", "function_name": "-", "app_id": "-",
    "http_status": 200, "upstream_status": None, "provider": "-", "model": "-", "duration_ms": 1, "request_id": "-",
    "error_message": "-", "error_code": None, "detail": None, "kind": "info",
}  # fmt: skip


def level_badge(level: str) -> Badge:
    """A level in colour and words."""
    return Badge(LEVELS.get(level, "off"), level)


def status_text(event: Mapping[str, Any]) -> str:
    """The status of the reply, or of the vendor's."""
    status = event["http_status"] or event["upstream_status"]
    return "" if status is None else str(status)


def model_text(event: Mapping[str, Any]) -> str:
    """Provider and model, as far as they are known."""
    return "/".join(part for part in (event["provider"], event["model"]) if part)


def summary_of(event: Mapping[str, Any]) -> str:
    """What happened, in a few words."""
    if text := event["error_message"] or event["error_code"]:
        return str(text)
    if event["upstream_status"] is not None:
        return f"upstream {event['upstream_status']}"
    if event["kind"] == "audit" and event["function_name"]:
        return f"{event['method'] or ''} {event['function_name']}".strip()
    return str(event["detail"] or event["kind"]).replace("_", " ")


def plain(value: object) -> Cell:
    """A value of an event as a cell; a dash where there is none."""
    return None if value in (None, "") else str(value)
