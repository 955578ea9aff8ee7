"""The formats of the log: text for people, JSON lines for machines. Lines of libraries look like the gateway's."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import Processor

LogFormat = Literal["text", "json"]

ENCODER = msgspec.json.Encoder(enc_hook=str)

Fields = MutableMapping[str, Any]

#: Control characters in a line would let clients forge lines or change the terminal; a line break is our own.
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
ANY_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def formatter(log_format: LogFormat) -> logging.Formatter:
    """The formatter of all lines but those of the access log."""
    render: Processor = render_json if log_format == "json" else render_text
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, add_record_fields],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            render,
        ],
    )


def add_record_fields(logger: Any, method: str, fields: Fields) -> Fields:
    """Add the time of the line, and the id of the request during which it was logged."""
    record: logging.LogRecord = fields["_record"]
    fields["timestamp"] = timestamp(datetime.fromtimestamp(record.created, UTC))
    for name in ("request_id", "repeats"):
        if (value := getattr(record, name, None)) is not None:
            fields[name] = value
    return fields


def timestamp(moment: datetime) -> str:
    """A point of time in UTC, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def render_json(logger: Any, method: str, fields: Fields) -> str:
    """One JSON object on one line."""
    line = {"timestamp": fields.pop("timestamp"), "level": fields.pop("level"), "logger": fields.pop("logger")}
    return json_line({**line, **fields})


def json_line(fields: MutableMapping[str, Any]) -> str:
    """Fields as JSON on one line; values that JSON does not have, as text."""
    return ENCODER.encode(fields).decode(errors="replace")


def render_text(logger: Any, method: str, fields: Fields) -> str:
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
