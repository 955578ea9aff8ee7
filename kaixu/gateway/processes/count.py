"""How many worker processes a gateway runs."""

from __future__ import annotations

import os
from pathlib import Path

#: The limit that a container's group of processes has: microseconds in each period, or `max`.
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")

#: Connections that are left for commands, `kaixu work` and people.
SPARE_CONNECTIONS = 10


def available_cores(limit: Path = CPU_LIMIT) -> int:
    """The cores that this process may use: its affinity, and its container's limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most, period = limit.read_text().split()
        return max(1, min(cores, round(int(most) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return cores


def fitting(processes: int, each: int, most: int) -> int:
    """How many processes with `each` connections a database with `most` has room for, at least one."""
    return max(1, min(processes, (most - SPARE_CONNECTIONS) // each))


def connections_advice(processes: int, each: int, most: int) -> str:
    """What to set so that the database has room for all processes."""
    needed = processes * each + SPARE_CONNECTIONS
    return (
        f"{processes} processes use up to {processes * each} connections ({each} each), and the database allows "
        f"{most}: set `max_connections` of Postgres to {needed} or more, or lower `gateway.database`"
    )
