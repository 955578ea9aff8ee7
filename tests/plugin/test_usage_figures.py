"""Usage in OpenAI's own form is read by a shorter way, which gives the same figures."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaixu.plugin.usage_figures import OPENAI_DETAILS, OPENAI_NAMES, Figures, figures_of, figures_of_openai
from tests.support.size import examples

FIGURE = st.one_of(st.integers(0, 50), st.integers(-2, -1), st.none(), st.just(2.0), st.just("3"), st.just(True))
DETAILS = st.one_of(st.dictionaries(st.sampled_from([*sorted(OPENAI_DETAILS), "x"]), FIGURE), st.none(), FIGURE)
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": FIGURE},
    optional={
        **{name: DETAILS if name.endswith("details") else FIGURE for name in sorted(OPENAI_NAMES - {"prompt_tokens"})},
        "cost": FIGURE,
    },
)


@given(USAGE)
@settings(max_examples=examples(300), deadline=None)
def test_the_short_way_gives_the_figures_of_the_long_one(usage: dict[str, Any]) -> None:
    assert figures_of_openai(usage) in (None, figures_of(usage))


def test_what_openai_sends_goes_the_short_way() -> None:
    usage = {
        "prompt_tokens": 14,
        "completion_tokens": 7,
        "total_tokens": 21,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert figures_of_openai(usage) == Figures(input=14, output=7, total=21, cached=4, reasoning=3)
