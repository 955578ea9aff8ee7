"""The figures of one usage object, under whatever names a vendor gives them.

Names are compared without case and separators: `promptTokens` equals `prompt_tokens`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from msgspec import Struct

from kaixu.plugin.coerced import number_of, object_of

#: The whole input, cached tokens included.
PROMPT = ("prompttokens", "prompttokencount", "nprompttokens", "promptevalcount", "tokensevaluated")
#: The whole input for some vendors; the uncached part of it for others.
INPUT = ("inputtokens", "inputtokencount")
OUTPUT = (
    "completiontokens",
    "outputtokens",
    "outputtokencount",
    "completiontokencount",
    "candidatestokencount",
    "responsetokencount",
    "generatedtokens",
    "evalcount",
    "tokenspredicted",
)
TOTAL = ("totaltokens", "totaltokencount")
#: Parts of the input.
CACHED = (
    "cachedtokens",
    "promptcachehittokens",
    "numcachedtokens",
    "cachedprompttokens",
    "cachedinputtokens",
    "cachedcontenttokencount",
    "cachereadtokens",
    "cacheread",
)
MISSED = ("promptcachemisstokens",)
WRITTEN = ("cachewritetokens", "cachecreationtokens", "cachecreation", "cachewrite")
#: Anthropic's and Bedrock's names: not included in `input_tokens`, but included in `prompt_tokens`.
CACHED_BESIDE = ("cachereadinputtokens", "cachereadinputtokencount", "cachereadinputtokenscount")
WRITTEN_BESIDE = (
    "cachecreationinputtokens",
    "cachewriteinputtokens",
    "cachewriteinputtokencount",
    "cachewriteinputtokenscount",
)
REASONING = ("reasoningtokens", "thinkingtokens", "reasoning")
#: Gemini's: not included in the output, not included in the input.
THOUGHTS, TOOL_PROMPTS = ("thoughtstokencount",), ("tooluseprompttokencount",)
INPUT_DETAILS = ("prompttokensdetails", "prompttokendetails", "inputtokensdetails", "inputtokendetails")
OUTPUT_DETAILS = ("completiontokensdetails", "completiontokendetails", "outputtokensdetails", "outputtokendetails")

#: Each name with its meaning, and its place among the names for the same.
MEANINGS: dict[str, tuple[str, int]] = {
    name: (meaning, rank)
    for meaning, names in {
        "prompt": PROMPT,
        "input": INPUT,
        "output": OUTPUT,
        "total": TOTAL,
        "cached": CACHED,
        "missed": MISSED,
        "written": WRITTEN,
        "cached beside": CACHED_BESIDE,
        "written beside": WRITTEN_BESIDE,
        "reasoning": REASONING,
        "thoughts": THOUGHTS,
        "tool prompts": TOOL_PROMPTS,
    }.items()
    for rank, name in enumerate(names)
}

Fields = dict[str, Any]


class Figures(Struct):
    """The figures as the vendor reported them; 0: not reported. `*_beside` are not included in `input` or `output`."""

    input: int = 0
    output: int = 0
    total: int = 0
    cached: int = 0
    written: int = 0
    cached_beside: int = 0
    written_beside: int = 0
    reasoning: int = 0
    thoughts_beside: int = 0
    tool_prompts_beside: int = 0

    def __bool__(self) -> bool:
        return self != NOTHING


NOTHING = Figures()


#: OpenAI's names, which most vendors have, and nothing else.
OPENAI_NAMES = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}
)
OPENAI_DETAILS = frozenset(
    {
        "cached_tokens",
        "reasoning_tokens",
        "audio_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
        "image_tokens",
        "text_tokens",
    }
)


def figures_of_openai(usage: Fields) -> Figures | None:
    """The figures of a usage object in OpenAI's own form, without a look at all other names; None for other ones."""
    if not usage.keys() <= OPENAI_NAMES:
        return None
    of_input, of_output = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    if type(of_input) is not dict or type(of_output) is not dict:
        return None
    if not (of_input.keys() <= OPENAI_DETAILS and of_output.keys() <= OPENAI_DETAILS):
        return None
    figures: tuple[Any, ...] = (
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        usage.get("total_tokens", 0),
        of_input.get("cached_tokens") or 0,
        of_output.get("reasoning_tokens") or 0,
    )
    for figure in figures:
        if type(figure) is not int or figure < 0:
            return None
    prompt, output, total, cached, reasoning = figures
    return Figures(prompt, output, total, cached, reasoning=reasoning)


def figures_of(usage: object) -> Figures:
    """The figures of one usage object, under any of their names."""
    named = plain(object_of(usage))
    for inner in ("billedunits", "tokens"):  # Cohere nests them, and bills the first
        if isinstance(named.get(inner), dict):
            named |= plain(named[inner])
            break
    if "predictedn" in named or "promptn" in named:
        return timings_of(named)
    inputs, outputs = details_of(named, INPUT_DETAILS), details_of(named, OUTPUT_DETAILS)
    own, of_input, of_output = known_in(named), known_in(inputs), known_in(outputs)
    prompt = own.get("prompt", 0)
    cached = own.get("cached") or of_input.get("cached") or of_input.get("cached beside", 0)
    written = own.get("written") or of_input.get("written") or of_input.get("written beside", 0)
    cached_beside, written_beside = own.get("cached beside", 0), own.get("written beside", 0)
    if not written_beside and not written and "cachecreation" in named:  # split by cache duration
        written_beside = sum(filter(None, map(number_of, object_of(named.get("cachecreation")).values())))
    if prompt or cached:
        # With `prompt_tokens`, Anthropic's names mean tokens that are included in the input.
        cached, cached_beside = cached or cached_beside, 0
        written, written_beside = written or written_beside, 0
    return Figures(
        input=prompt or own.get("input") or sum_of_cache(own),
        output=own.get("output", 0),
        total=own.get("total", 0),
        cached=cached,
        written=written,
        cached_beside=cached_beside,
        written_beside=written_beside,
        reasoning=of_output.get("reasoning") or own.get("reasoning", 0),
        thoughts_beside=own.get("thoughts", 0),
        tool_prompts_beside=own.get("tool prompts", 0),
    )


def known_in(named: Fields) -> dict[str, int]:
    """The figures that are not 0, by their meaning: of several names for the same, the first in its list counts."""
    found: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for name, value in named.items():
        known = MEANINGS.get(name)
        if known is None:
            continue
        meaning, rank = known
        if rank < ranks.get(meaning, 1000) and (figure := number_of(value)):
            found[meaning], ranks[meaning] = figure, rank
    return found


def timings_of(named: Fields) -> Figures:
    """llama.cpp's `timings`: `prompt_n` does not include cached tokens."""
    cached, uncached, output = (number_of(named.get(name)) or 0 for name in ("cachen", "promptn", "predictedn"))
    return Figures(input=cached + uncached, output=output, cached=cached)


def sum_of_cache(own: dict[str, int]) -> int:
    """DeepSeek's input as the sum of its two parts, if the whole is missing."""
    missed = own.get("missed", 0)
    return missed + own.get("cached", 0) if missed else 0


def details_of(named: Fields, names: tuple[str, ...]) -> Fields:
    """The details object of input or output."""
    for name in names:
        if isinstance(named.get(name), dict):
            return plain(named[name])
    return {}


def plain(fields: Fields) -> Fields:
    """The fields, with names in lower case without separators."""
    return {usual_name(name) if len(name) < 64 else plain_name(name): value for name, value in fields.items()}


def plain_name(name: str) -> str:
    """A name in lower case without separators."""
    return name.replace("_", "").replace("-", "").replace(".", "").lower()


#: Vendors use few names, and each of them in every answer.
usual_name = lru_cache(maxsize=1024)(plain_name)
