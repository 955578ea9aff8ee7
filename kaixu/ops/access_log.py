"""The access log: one line for each request, also for those that failed; never bodies, queries, keys or addresses."""

from __future__ import annotations

from functools import partial
from typing import Any

from .log_format import LogFormat, json_line, on_one_line, timestamp
from .logs import LogWriter
from .request_end import RequestEnd

LOGGER = "kaixu.access"


class AccessLog:
    """Queues the line of a request that has ended. A `RequestListener`."""

    def __init__(self, writer: LogWriter, log_format: LogFormat) -> None:
        self.writer = writer
        self.render = json_access_line if log_format == "json" else text_access_line

    def __call__(self, end: RequestEnd) -> None:
        """Queue the line; it is made by the writer's thread."""
        self.writer.put(partial(self.render, end))


def level_of(end: RequestEnd) -> str:
    """A warning for a failure of the gateway or of a vendor; a client's mistake is none."""
    return "warning" if end.status >= 500 or (end.facts.error_status or 0) >= 500 else "info"


def access_fields(end: RequestEnd) -> dict[str, Any]:
    """The fields of a line; those that are not known are left out."""
    facts = end.facts
    fields = {
        "timestamp": timestamp(end.ended_at),
        "level": level_of(end),
        "logger": LOGGER,
        "event": "request",
        "request_id": end.request_id,
        "method": end.method,
        "path": end.path,
        "status": end.status,
        "ms": end.duration_ms,
        "bytes_in": end.request_bytes,
        "bytes_out": end.response_bytes,
        "customer_id": facts.customer_id,
        "key_id": facts.key_id,
        "key_last4": facts.key_last4,
        "provider": facts.provider,
        "model": facts.model,
        "deployment": facts.deployment,
        "tries": len(facts.tries) or None,
        "error_code": facts.error_code,
        "upstream_status": facts.upstream_status,
        "client_gone": end.is_client_gone or None,
        "app": facts.app_id,
        "build": facts.build_id,
        "client": end.ip_hash,
        "traceparent": end.traceparent,
    }
    return {name: value for name, value in fields.items() if value is not None}


def json_access_line(end: RequestEnd) -> str:
    """The line as JSON."""
    return json_line(access_fields(end))


def text_access_line(end: RequestEnd) -> str:
    """The line as text: what was asked, how it ended, for whom, where it went, and why it failed."""
    facts = end.facts
    words = [
        timestamp(end.ended_at),
        level_of(end).upper(),
        f"{LOGGER}:",
        end.method,
        end.path,
        str(end.status),
        f"{end.duration_ms} ms",
        f"{end.request_bytes}/{end.response_bytes} B",
    ]
    if facts.customer_id is not None:
        words.append(f"customer {facts.customer_id} key …{facts.key_last4 or facts.key_id}")
    if facts.model is not None:
        words.append(f"{facts.provider}/{facts.model}" + (f" at {facts.deployment}" if facts.deployment else ""))
    if len(facts.tries) > 1:
        words.append(f"{len(facts.tries)} tries")
    if facts.error_code is not None:
        words.append(facts.error_code + (f" (vendor: {facts.upstream_status})" if facts.upstream_status else ""))
    if end.is_client_gone:
        words.append("client gone")
    if facts.app_id is not None:
        words.append(on_one_line(f"app {facts.app_id}" + (f" {facts.build_id}" if facts.build_id else "")))
    words += [f"from {end.ip_hash}", f"[request {end.request_id}]"]
    return " ".join(words)
