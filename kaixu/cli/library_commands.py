"""Keeps libraries from importing command lines of their own."""

from __future__ import annotations

import sys


def leave_out_httpx_command() -> None:
    """Let `import httpx` go without its command line, as it does where that is not installed.

    It is imported wherever rich and click happen to be installed, and costs each process some 6 MB. Call this before
    anything imports httpx.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # the documented way to block an import
