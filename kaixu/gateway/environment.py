"""The environment of the gateway that runs with a data folder: by it, not by this shell's, kaixu.yaml is judged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .claim import running_in


class Environment(NamedTuple):
    """Variables, and in words whose they are. The values may be secrets: they are never shown."""

    variables: Mapping[str, str]
    owner: str


def environment_for(home: Path) -> Environment:
    """The environment of the gateway of a data folder; this shell's, if none runs or its own cannot be read.

    A gateway reads its environment once, at its start, so what the operating system keeps of it is what it uses.
    """
    process = running_in(home)
    if not process:
        return Environment(os.environ, "this shell's: no gateway runs with this data folder")
    variables = variables_of(process)
    if variables is None:
        return Environment(os.environ, f"this shell's: that of the gateway (process {process}) cannot be read")
    return Environment(variables, f"the running gateway's (process {process})")


def variables_of(process: int) -> Mapping[str, str] | None:
    """The environment of a process; None if it is another user's, in a container, or has ended."""
    import psutil

    try:
        variables: dict[str, str] = psutil.Process(process).environ()
    except (psutil.Error, OSError, ValueError):
        return None
    return variables or None
