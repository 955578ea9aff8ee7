"""The size of long tests: short in `make test`, full in `make slow`."""

from __future__ import annotations

import os

SLOW = bool(os.environ.get("KAIXU_TEST_SLOW"))


def size(short: int, full: int) -> int:
    """`full` in `make slow`, else `short`."""
    return full if SLOW else short


def examples(count: int) -> int:
    """How many examples Hypothesis tries: a third of `count` in `make test`, ten times `count` in `make slow`."""
    return size(max(5, count // 3), 10 * count)
