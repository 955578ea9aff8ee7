"""What a vendor reports is multiplied with money, so it is looked at first."""

from __future__ import annotations

import pytest

from kaixu.metering.reported_usage import MOST_TOKENS, clamped_usage
from kaixu.plugin.types import Usage


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        (Usage(14, 7, 3, 2, 1), Usage(14, 7, 3, 2, 1)),
        (Usage(-5, 7, -3), Usage(0, 7, 0)),
        (Usage(2**70, 7), Usage(MOST_TOKENS, 7)),
        (Usage(1, -1, estimated=True), Usage(1, 0, estimated=True)),
        (Usage(10, 5, reasoning_tokens=400_000), Usage(10, 5, reasoning_tokens=5)),
    ],
    ids=["honest", "negative", "enormous", "estimated", "more reasoning than output"],
)
def test_usage_is_clamped(reported: Usage, believed: Usage) -> None:
    assert clamped_usage(reported) == believed
