"""Modules that are imported when they are first needed, in a thread: an import may take long."""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module


async def ready(*names: str) -> None:
    """Import modules, so that `import` finds them at once, and the event loop goes on meanwhile."""
    for name in names:
        if name not in sys.modules:
            await asyncio.to_thread(import_module, name)
