"""How many worker processes may be asked for. Imports nothing, since the supervisor of workers uses it."""

from __future__ import annotations

#: The most worker processes of one gateway.
MOST_PROCESSES = 256


def processes_or_auto(value: object) -> int | str:
    """A number of processes, also as text, or `auto`. Raises `ValueError`."""
    if value == "auto":
        return "auto"
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:6])
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PROCESSES:
        raise ValueError(f"must be auto, or a whole number from 1 to {MOST_PROCESSES}")
    return value
