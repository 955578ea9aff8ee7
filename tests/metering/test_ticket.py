"""A vendor's figures are multiplied with money, so they are checked first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.metering.reported_usage import MOST_TOKENS, clamped_usage, figures_in
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


FIGURE = st.sampled_from([-1, 0, 1, 7, MOST_TOKENS, MOST_TOKENS + 1])


@given(st.builds(Usage, FIGURE, FIGURE, FIGURE, FIGURE, FIGURE, st.booleans(), FIGURE))
def test_clamped_usage_is_within_limits_and_stays_as_it_is(reported: Usage) -> None:
    clamped = clamped_usage(reported)
    assert all(0 <= figure <= MOST_TOKENS for figure in figures_in(clamped))
    assert clamped.reasoning_tokens <= clamped.output_tokens
    assert clamped_usage(clamped) == clamped
    in_limits = all(0 <= figure <= MOST_TOKENS for figure in figures_in(reported))
    assert (clamped == reported) is (in_limits and reported.reasoning_tokens <= reported.output_tokens)
