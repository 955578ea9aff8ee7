"""The actor of account changes in these tests."""

from __future__ import annotations

from tests.accounts.conftest import By, by

__all__ = ["By", "by"]
