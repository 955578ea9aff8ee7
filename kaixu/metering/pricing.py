"""Usage × price → nano-dollars, rounded once. Whole numbers only."""

from __future__ import annotations

from kaixu.config.price import Price
from kaixu.plugin.types import Usage

#: Prices are nano-dollars per this many tokens.
MILLION = 1_000_000


def cost_nusd(usage: Usage, price: Price) -> int:
    """What `usage` costs at `price`, exact and then rounded half up to the nano-dollar.

    The cached and cache-writing parts are parts of the input, reasoning a part of
    the output; each token is charged at one rate. A vendor that reports a part
    larger than the whole is charged for the part.
    """
    plain_input = max(0, usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens)
    plain_output = max(0, usage.output_tokens - usage.reasoning_tokens)
    total = (
        plain_input * price.input
        + usage.cached_input_tokens * price.cached_input
        + usage.cache_write_tokens * price.cache_write
        + plain_output * price.output
        + usage.reasoning_tokens * price.reasoning
    )
    return (total + MILLION // 2) // MILLION


def most_nusd(input_tokens: int, output_tokens: int, price: Price) -> int:
    """The most that these numbers of tokens can cost, of any kind; rounded up."""
    total = input_tokens * dearest_input(price) + output_tokens * dearest_output(price)
    return -(-total // MILLION)


def output_tokens_for(nusd: int, input_tokens: int, price: Price) -> int | None:
    """How many output tokens `nusd` buys beside `input_tokens`; None: any number, they are free."""
    rate = dearest_output(price)
    if rate == 0:
        return None
    return max(0, (nusd * MILLION - input_tokens * dearest_input(price)) // rate)


def dearest_input(price: Price) -> int:
    """The highest rate that an input token may be charged at."""
    return max(price.input, price.cached_input, price.cache_write)


def dearest_output(price: Price) -> int:
    """The highest rate that an output token may be charged at."""
    return max(price.output, price.reasoning)
