"""Vendors' usage, read in one place: every spelling and place that vendors have for the tokens of a call.

| who | what is special |
|---|---|
| OpenAI, Azure, Together, Fireworks, vLLM | `usage`, its details inside |
| SGLang | the same; `reasoning_tokens` at the top |
| OpenAI's Responses | `input_tokens`, `output_tokens`, the cached ones inside; in streams under `response` |
| OpenRouter, OpenAI | `prompt_tokens_details.cache_write_tokens` |
| xAI, Gemini's OpenAI door | reasoning beside the completion; the total has it |
| Mistral | `num_cached_tokens`, `prompt_token_details` |
| DeepSeek | `prompt_cache_hit_tokens` and `prompt_cache_miss_tokens` |
| Moonshot | `cached_tokens` at the top; in streams inside the last choice |
| Groq | `x_groq.usage` |
| Ollama | `prompt_eval_count` and `eval_count` beside the message |
| llama.cpp | `timings`; `tokens_evaluated` and `tokens_predicted` |
| Gemini, Vertex | `usageMetadata`; thoughts and the prompts of tools beside the rest |
| Anthropic, and Bedrock and Vertex for its models | the cached and written tokens beside `input_tokens` |
| Bedrock | `inputTokens` and so on, under `usage`, `metadata` or `amazon-bedrock-invocationMetrics` |
| LiteLLM | Anthropic's names for the cached and written ones, inside `prompt_tokens` |
| Cohere | `billed_units` and `tokens` |

Names are compared without case and separators, so that `promptTokens` is `prompt_tokens`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from kaixu.plugin.coerced import number_of, object_of, objects_of
from kaixu.plugin.types import Usage

#: The whole input, cached tokens included.
PROMPT = ("prompttokens", "prompttokencount", "nprompttokens", "promptevalcount", "tokensevaluated")
#: The whole input of some vendors, what is not cached of it of others.
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
#: Parts of the input, by names that say so.
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
#: The same by Anthropic's and Bedrock's names: beside `input_tokens`, and inside `prompt_tokens`.
CACHED_BESIDE = ("cachereadinputtokens", "cachereadinputtokencount", "cachereadinputtokenscount")
WRITTEN_BESIDE = (
    "cachecreationinputtokens",
    "cachewriteinputtokens",
    "cachewriteinputtokencount",
    "cachewriteinputtokenscount",
)
REASONING = ("reasoningtokens", "thinkingtokens", "reasoning")
#: Gemini's, beside the output and beside the input.
THOUGHTS, TOOL_PROMPTS = ("thoughtstokencount",), ("tooluseprompttokencount",)
INPUT_DETAILS = ("prompttokensdetails", "prompttokendetails", "inputtokensdetails", "inputtokendetails")
OUTPUT_DETAILS = ("completiontokensdetails", "completiontokendetails", "outputtokensdetails", "outputtokendetails")

#: What nearly every event has, and what says nothing of tokens.
OTHERS = frozenset(
    {"id", "object", "created", "model", "choices", "system_fingerprint", "service_tier", "type", "index"}
)

Fields = dict[str, Any]


class Figures(Struct):
    """What a vendor has told, as it told it; 0: it did not. `*_beside` are not part of the input or output told."""

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
        return any(msgspec.structs.astuple(self))


def usage_of(answer: object) -> Usage | None:
    """What a vendor's answer, or one event of it, or its usage alone says of tokens; None where it says nothing.

    Each token is in one figure: `input_tokens` is the whole input and `output_tokens` the whole output, wherever
    the vendor puts its cached, written and reasoning tokens, and together they are never less than the vendor's
    total. What the total has beyond input and output is hidden output. A figure that is missing, null, negative or
    no number is 0; one written as `5.0` or `"5"` is 5. Where only a total came it is in `total_tokens`.
    """
    figures = figures_in(answer)
    return usage_from(figures) if figures else None


def embedding_usage_of(answer: object) -> Usage | None:
    """The same for an answer of vectors: whatever the total has beyond the rest is input, for there is no output."""
    figures = figures_in(answer)
    usage = usage_from(figures)
    whole = max(usage.input_tokens, figures.total)
    return Usage(whole, cached_input_tokens=usage.cached_input_tokens) if whole else None


class RunningUsage:
    """The usage of a streamed answer: its totals so far, none of which falls, whatever the vendor says later."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.usage = Usage()

    def add(self, event: object) -> Usage | None:
        """The totals after an event that told some; None for one that told nothing."""
        said = figures_in(event)
        if not said:
            return None
        pairs = zip(msgspec.structs.astuple(said), msgspec.structs.astuple(self.figures), strict=True)
        self.figures = Figures(*(now or before for now, before in pairs))  # what it does not say again still holds
        now, before = usage_from(self.figures), self.usage
        self.usage = Usage(
            max(now.input_tokens, before.input_tokens),
            max(now.output_tokens, before.output_tokens),
            max(now.cached_input_tokens, before.cached_input_tokens),
            max(now.cache_write_tokens, before.cache_write_tokens),
            max(now.reasoning_tokens, before.reasoning_tokens),
            total_tokens=now.total_tokens,
        )
        return self.usage


def usage_from(told: Figures) -> Usage:
    """Figures in the contract's words."""
    cached, written = told.cached or told.cached_beside, told.written or told.written_beside
    inputs = input_from(told, cached, written)
    total = told.total
    if total and not inputs and not told.output and not told.reasoning and not told.thoughts_beside:
        return Usage(total_tokens=total)
    output, reasoning = output_from(told, inputs)
    if not inputs:
        inputs = max(0, total - output)
    cached = min(cached, inputs)
    return Usage(inputs, output, cached, min(written, inputs - cached), min(reasoning, output))


def input_from(told: Figures, cached: int, written: int) -> int:
    """The whole input. Cached tokens are part of it, unless the names, the sizes or the total say otherwise."""
    inputs = told.input + told.tool_prompts_beside
    beside = told.cached_beside + told.written_beside
    if beside:
        inputs += beside
        cached, written = cached - told.cached_beside, written - told.written_beside
    parts = max(0, cached) + max(0, written)
    output = told.output + told.thoughts_beside
    explained = inputs + output in (told.total, told.total - told.reasoning)
    if inputs and parts and (parts > inputs or (inputs + parts + output == told.total and not explained)):
        inputs += parts
    return inputs


def output_from(told: Figures, inputs: int) -> tuple[int, int]:
    """The whole output, and how much of it was reasoning: inside the completion, or beside it if the total has it."""
    output = told.output + told.thoughts_beside
    reasoning = told.reasoning or told.thoughts_beside
    total = told.total if told.total >= inputs + output else 0  # a total that is less than its parts is none
    hidden = max(0, total - inputs - output) if inputs else 0
    if hidden and told.output:
        reasoning = max(reasoning, hidden + told.thoughts_beside)
    output += hidden
    if reasoning > output and not (total and inputs):
        output += reasoning  # nothing contradicts it, and inside it cannot have been
    return output, reasoning


def figures_in(answer: object) -> Figures:
    """What is told in any of the places that vendors have for it. The first place that tells a figure has it."""
    found = Figures()
    if not isinstance(answer, dict) or not may_tell(answer):
        return found
    for place in places_in(answer):
        said = figures_of(place)
        if not said:
            continue
        if not found:
            found = said
        elif not found.input and not found.cached_beside and not found.written_beside and said.input:
            found = msgspec.structs.replace(said, output=found.output or said.output)
        elif not found.output:
            found.output = said.output
            found.thoughts_beside = found.thoughts_beside or said.thoughts_beside
    return found


def may_tell(answer: Fields) -> bool:
    """Whether an answer has anything that could hold usage: most chunks of a stream have nothing but their text."""
    for name, value in answer.items():
        if value is not None and name not in OTHERS:
            return True
    for choice in objects_of(answer.get("choices")):
        if (
            "usage" in choice
            or "usage" in object_of(choice.get("delta"))
            or "usage" in object_of(choice.get("message"))
        ):
            return True
    return False


def places_in(answer: Fields) -> list[Fields]:
    """Where usage may stand, the usual place first. The last choice comes before the others."""
    named = plain({name: value for name, value in answer.items() if value is not None and name not in OTHERS})
    places = [named.get("usage"), named.get("usagemetadata"), object_of(named.get("xgroq")).get("usage")]
    for choice in reversed(objects_of(answer.get("choices"))):
        places += [choice.get("usage"), object_of(choice.get("delta")).get("usage")]
        places.append(object_of(choice.get("message")).get("usage"))
    for outer in ("response", "message", "metadata", "delta"):  # Responses, Anthropic, Bedrock
        inner = plain(object_of(named.get(outer)))
        places += [inner.get("usage"), inner.get("usagemetadata")]
    places.append(object_of(named.get("meta")))  # Cohere
    places += [named.get("amazonbedrockinvocationmetrics"), named.get("timings"), named]
    return [place[-1] if isinstance(place, list) and place else place for place in places if place]


def figures_of(usage: object) -> Figures:
    """The figures of one usage, whatever they are called there."""
    named = plain(object_of(usage))
    for inner in ("billedunits", "tokens"):  # Cohere puts them one deeper, and bills the first
        if isinstance(named.get(inner), dict):
            named |= plain(named[inner])
            break
    if "predictedn" in named or "promptn" in named:
        return timings_of(named)
    inputs, outputs = details_of(named, INPUT_DETAILS), details_of(named, OUTPUT_DETAILS)
    prompt, plain_input = first(named, PROMPT), first(named, INPUT)
    cached = first(named, CACHED) or first(inputs, CACHED) or first(inputs, CACHED_BESIDE)
    written = first(named, WRITTEN) or first(inputs, WRITTEN) or first(inputs, WRITTEN_BESIDE)
    cached_beside, written_beside = first(named, CACHED_BESIDE), first(named, WRITTEN_BESIDE)
    if not written_beside and not written:  # by how long it is kept
        written_beside = sum(filter(None, map(number_of, object_of(named.get("cachecreation")).values())))
    if prompt or cached:
        # A vendor that tells them inside, and Anthropic's names besides: then those are inside too.
        cached, cached_beside = cached or cached_beside, 0
        written, written_beside = written or written_beside, 0
    return Figures(
        input=prompt or plain_input or sum_of_cache(named),
        output=first(named, OUTPUT),
        total=first(named, TOTAL),
        cached=cached,
        written=written,
        cached_beside=cached_beside,
        written_beside=written_beside,
        reasoning=first(outputs, REASONING) or first(named, REASONING),
        thoughts_beside=first(named, THOUGHTS),
        tool_prompts_beside=first(named, TOOL_PROMPTS),
    )


def timings_of(named: Fields) -> Figures:
    """llama.cpp's `timings`: what it read from its cache is not in `prompt_n`."""
    cached, read, output = (number_of(named.get(name)) or 0 for name in ("cachen", "promptn", "predictedn"))
    return Figures(input=cached + read, output=output, cached=cached)


def sum_of_cache(named: Fields) -> int:
    """DeepSeek's input by its two parts, where the whole is missing."""
    missed = first(named, MISSED)
    return missed + first(named, CACHED) if missed else 0


def details_of(named: Fields, names: tuple[str, ...]) -> Fields:
    """The details of input or output."""
    return next((plain(named[name]) for name in names if isinstance(named.get(name), dict)), {})


def first(named: Fields, names: tuple[str, ...]) -> int:
    """The first figure among `names` that is told, 0 where none is."""
    return next((figure for name in names if name in named and (figure := number_of(named[name]))), 0)


def plain(fields: Fields) -> Fields:
    """Fields by names without case and separators."""
    return {name.replace("_", "").replace("-", "").replace(".", "").lower(): value for name, value in fields.items()}
