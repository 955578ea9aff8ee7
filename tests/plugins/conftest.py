"""One model for all tests: loaded once in a run, its file assembled once in a checkout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from kaixu_local import Local, LocalOptions

#: Kept between runs: it is 245 MB, and the same for everyone.
MODELS = Path(__file__).parents[2] / ".kaixu" / "models"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def local() -> AsyncIterator[Local]:
    """A lane whose model is loaded. Its tests share the session's loop."""
    lane = Local(LocalOptions(model_dir=MODELS))
    await lane.start()
    yield lane
    await lane.aclose()
