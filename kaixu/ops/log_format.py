"""The formats of the log: text for people, JSON lines for machines. Lines of libraries look like the gateway's."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

LogFormat = Literal["text", "json"]

ENCODER = msgspec.json.Encoder(enc_hook=str)

Fields = dict[str, Any]

#: Control characters in a line would let clients forge lines or change the terminal; a line break is our own.
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
ANY_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineFormatter(logging.Formatter):
    """Makes a line of the fields of a record."""

    def __init__(self, render: Callable[[Fields], str]) -> None:
        super().__init__()
        self.render = render

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self.render(self.fields_of(record))

    def fields_of(self, record: logging.LogRecord) -> Fields:
        """What a line says: when, how bad, from where, what; the request during which it was logged; the exception."""
        fields: Fields = {
            "timestamp": timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.stack_info:
            fields["stack_info"] = record.stack_info
        for name in ("request_id", "repeats"):
            if (value := getattr(record, name, None)) is not None:
                fields[name] = value
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


def formatter(log_format: LogFormat) -> logging.Formatter:
    """The formatter of all lines but those of the access log."""
    return LineFormatter(json_line if log_format == "json" else render_text)


def timestamp(moment: datetime) -> str:
    """A point of time in UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def json_line(fields: Fields) -> str:
    """Fields as JSON on one line; values that JSON does not have, as text."""
    return ENCODER.encode(fields).decode(errors="replace")


def render_text(fields: Fields) -> str:
    """Time, level, logger and text; the request's id and an exception after it."""
    request_id, exception = fields.get("request_id"), fields.get("exception")
    line = f"{fields['timestamp']} {fields['level'].upper()} {fields['logger']}: {fields['event']}"
    if request_id is not None and request_id not in line:
        line += f" [request {request_id}]"
    if exception is not None:
        line += f"\n{exception}"
    return CONTROLS.sub(escape, line)


def on_one_line(text: str) -> str:
    """A client's text without control characters and line breaks."""
    return ANY_CONTROLS.sub(escape, text)


def escape(match: re.Match[str]) -> str:
    """A control character as an escape."""
    return f"\\x{ord(match[0]):02x}"
