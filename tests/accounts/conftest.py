"""The actor of changes in these tests."""

from __future__ import annotations

from typing import TypedDict

import pytest


class By(TypedDict):
    """The two arguments that every change takes."""

    actor: str
    request_id: str


@pytest.fixture
def by() -> By:
    """An operator."""
    return {"actor": "admin", "request_id": "request-1"}
