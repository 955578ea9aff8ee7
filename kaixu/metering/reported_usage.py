"""A vendor's usage report: removes impossible figures, and completes missing ones by our own count."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kaixu.plugin.types import Usage

#: More tokens than any call can have; keeps sums within 64 bits.
MOST_TOKENS = 10**9

#: The longest tokens of any vendor (runs of blanks or dashes) have this many characters.
MOST_CHARACTERS_A_TOKEN = 128


#: How many input tokens beyond the hold's bound a vendor may have added itself: its own prompts, results of its tools.
#: More than that cannot be true.
MOST_UNSENT_TOKENS = 200_000


class Delivered(msgspec.Struct, frozen=True):
    """What was delivered of an answer: its tokens by our count, its characters, and those that are not reasoning."""

    tokens: int
    length: int
    shown_length: int

    @property
    def shown_tokens(self) -> int:
        """About how many tokens are not reasoning."""
        return self.tokens * self.shown_length // self.length if self.length else 0


def figures_in(usage: Usage) -> tuple[int, ...]:
    """All figures of a usage."""
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.total_tokens,
    )


def clamped_usage(usage: Usage) -> Usage:
    """A vendor's figures, limited to 0 … `MOST_TOKENS`: they are multiplied with money.

    Reasoning is a part of the output, and so at most all of it.
    """
    if is_within_limits(usage):
        return usage
    inputs, output, cached, written, reasoned, total = (min(max(one, 0), MOST_TOKENS) for one in figures_in(usage))
    return Usage(inputs, output, cached, written, min(reasoned, output), usage.estimated, total)


def is_within_limits(usage: Usage) -> bool:
    """Whether nothing has to be changed; see `clamped_usage`."""
    return (
        0 <= usage.input_tokens <= MOST_TOKENS
        and 0 <= usage.output_tokens <= MOST_TOKENS
        and 0 <= usage.cached_input_tokens <= MOST_TOKENS
        and 0 <= usage.cache_write_tokens <= MOST_TOKENS
        and 0 <= usage.reasoning_tokens <= usage.output_tokens
        and 0 <= usage.total_tokens <= MOST_TOKENS
    )


def without_impossible(usage: Usage, most_input_tokens: int) -> Usage:
    """`usage` without an input that cannot be true, by what was sent: it counts as not reported.

    Cached and written tokens are parts of the input, and so at most all of it.
    """
    if usage.input_tokens > most_input_tokens + MOST_UNSENT_TOKENS:
        return msgspec.structs.replace(
            usage, input_tokens=0, cached_input_tokens=0, cache_write_tokens=0, total_tokens=0
        )
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    if (cached, written) == (usage.cached_input_tokens, usage.cache_write_tokens):
        return usage
    return msgspec.structs.replace(usage, cached_input_tokens=cached, cache_write_tokens=written)


def lacks_a_figure(usage: Usage, delivered: Delivered) -> bool:
    """Whether a vendor's last report lacks a figure, or has one that is too small for what was delivered.

    That is: no input; fewer output tokens than the delivered text needs; or only reasoning tokens, though something
    else was delivered too.
    """
    if not usage.input_tokens or delivered.length > usage.output_tokens * MOST_CHARACTERS_A_TOKEN:
        return True
    return bool(delivered.shown_length) and usage.reasoning_tokens >= usage.output_tokens


def complete_usage(
    reported: Usage, input_tokens: Callable[[], int], delivered: Delivered, since_tokens: int, budget_tokens: int
) -> Usage:
    """`reported`, with our own count in place of what it lacks.

    `since_tokens` were delivered after the report. The count stays within the budget; what was reported may be more.
    Where the vendor has reported a total, no less than that is counted.
    """
    output = reported.output_tokens
    if delivered.length > output * MOST_CHARACTERS_A_TOKEN:
        counted = max(output + since_tokens, delivered.tokens)
    elif reported.reasoning_tokens >= output:
        counted = output + max(since_tokens, delivered.shown_tokens)
    else:
        counted = output + since_tokens
    output = max(output, min(counted, budget_tokens))
    inputs = reported.input_tokens or input_tokens()
    if reported.total_tokens:
        inputs = min(inputs, reported.total_tokens)
        output = max(output, reported.total_tokens - inputs)
    return msgspec.structs.replace(reported, input_tokens=inputs, output_tokens=output, estimated=True, total_tokens=0)
