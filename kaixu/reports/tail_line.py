"""A monitor event in one line, for terminals."""

from __future__ import annotations

from .monitor_events import MonitorRow

#: The longest message in a line; JSON has all of it.
MAX_MESSAGE = 300


def tail_line(row: MonitorRow) -> str:
    """When, how bad, what and where, then the message and the request id."""
    place = "/".join(part for part in (row.provider, row.model) if part)
    who = [
        f"customer {row.customer_id}" if row.customer_id is not None else "",
        f"key {row.key_id}" if row.key_id is not None else "",
    ]
    parts = [
        f"{row.created_at:%Y-%m-%d %H:%M:%S}.{row.created_at.microsecond // 1000:03d}",
        f"{row.level:<5}",
        f"{row.kind:<12}",
        row.detail or "",
        row.function_name or "",
        "" if row.http_status is None else str(row.http_status),
        row.error_code or "",
        *who,
        place,
        f"app {row.app_id}" if row.app_id else "",
        "" if row.duration_ms is None else f"{row.duration_ms} ms",
        (row.error_message or "")[:MAX_MESSAGE],
        f"[{row.request_id}]" if row.request_id else "",
    ]
    return harmless("  ".join(part for part in parts if part))


def harmless(text: str) -> str:
    """Without characters that would move a terminal's cursor or change its colours: clients send some of the texts."""
    return "".join(character if character.isprintable() else " " for character in text)
