"""Reads the token usage that a vendor reports, in every form that vendors have.

| vendor | what is special |
|---|---|
| OpenAI, Azure, Together, Fireworks, vLLM | `usage`, its details inside |
| SGLang | the same; `reasoning_tokens` at the top |
| OpenAI's Responses | `input_tokens`, `output_tokens`, the cached ones inside; in streams under `response` |
| OpenRouter, OpenAI | `prompt_tokens_details.cache_write_tokens` |
| xAI, Gemini's OpenAI-compatible API | reasoning beside the completion; the total includes it |
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

Where the usage is in an answer, and its running totals; `usage_figures.py` has the names.
"""

from __future__ import annotations

import msgspec

from kaixu.plugin.coerced import object_of, objects_of
from kaixu.plugin.types import Usage
from kaixu.plugin.usage_figures import NOTHING, Fields, Figures, figures_of, figures_of_openai, plain

#: Common fields of events that never contain usage; `obfuscation` is OpenAI's padding, `provider` OpenRouter's.
WITHOUT_USAGE = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "system_fingerprint",
        "service_tier",
        "type",
        "index",
        "obfuscation",
        "provider",
    }
)


def usage_of(answer: object) -> Usage | None:
    """The usage in a vendor's response, in one event of it, or in its usage object; None if there is none.

    `input_tokens` is the whole input and `output_tokens` the whole output, wherever the vendor counts its cached,
    written and reasoning tokens. Together they are never less than the vendor's total: what the total has beyond
    input and output is hidden output. A figure that is missing, null, negative or not a number is 0; `5.0` and `"5"`
    are 5. A total without anything else is in `total_tokens`.
    """
    figures = figures_in(answer)
    return usage_from(figures) if figures else None


def embedding_usage_of(answer: object) -> Usage | None:
    """The usage of an embedding response: there is no output, so the whole total is input."""
    figures = figures_in(answer)
    usage = usage_from(figures)
    whole = max(usage.input_tokens, figures.total)
    return Usage(whole, cached_input_tokens=usage.cached_input_tokens) if whole else None


class RunningUsage:
    """The usage of a streamed response: running totals that never fall, whatever the vendor reports later."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.usage = Usage()

    def add(self, event: object) -> Usage | None:
        """The totals after an event; None if the event has no usage."""
        reported = figures_in(event)
        if not reported:
            return None
        if self.figures == NOTHING:  # the only report of most answers
            self.figures, self.usage = reported, usage_from(reported)
            return self.usage
        pairs = zip(msgspec.structs.astuple(reported), msgspec.structs.astuple(self.figures), strict=True)
        self.figures = Figures(*(now or before for now, before in pairs))  # figures that are not repeated stay
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


def usage_from(figures: Figures) -> Usage:
    """The figures as `Usage`."""
    cached, written = figures.cached or figures.cached_beside, figures.written or figures.written_beside
    inputs = input_from(figures, cached, written)
    total = figures.total
    if total and not inputs and not figures.output and not figures.reasoning and not figures.thoughts_beside:
        return Usage(total_tokens=total)
    output, reasoning = output_from(figures, inputs)
    if not inputs:
        inputs = max(0, total - output)
    cached = min(cached, inputs)
    return Usage(inputs, output, cached, min(written, inputs - cached), min(reasoning, output))


def input_from(figures: Figures, cached: int, written: int) -> int:
    """The whole input. Cached tokens are included in it, unless names, sizes or the total show otherwise."""
    inputs = figures.input + figures.tool_prompts_beside
    beside = figures.cached_beside + figures.written_beside
    if beside:
        inputs += beside
        cached, written = cached - figures.cached_beside, written - figures.written_beside
    parts = max(0, cached) + max(0, written)
    output = figures.output + figures.thoughts_beside
    explained = inputs + output in (figures.total, figures.total - figures.reasoning)
    if inputs and parts and (parts > inputs or (inputs + parts + output == figures.total and not explained)):
        inputs += parts
    return inputs


def output_from(figures: Figures, inputs: int) -> tuple[int, int]:
    """The whole output and its reasoning, which is part of the completion or, if the total shows it, beside it."""
    output = figures.output + figures.thoughts_beside
    reasoning = figures.reasoning or figures.thoughts_beside
    total = figures.total if figures.total >= inputs + output else 0  # ignore a total below its parts
    hidden = max(0, total - inputs - output) if inputs else 0
    if hidden and figures.output:
        reasoning = max(reasoning, hidden + figures.thoughts_beside)
    output += hidden
    if reasoning > output and not (total and inputs):
        output += reasoning  # too large to be part of the output
    return output, reasoning


def figures_in(answer: object) -> Figures:
    """The figures from all places where vendors put them. The first place with a figure counts."""
    found = Figures()
    if not isinstance(answer, dict) or not may_have_usage(answer):
        return found
    usual = answer.get("usage")
    if isinstance(usual, dict):  # nearly always all that there is
        found = figures_of_openai(usual) or figures_of(usual)
        if found.input and found.output:
            return found
        found = Figures()
    for place in places_in(answer):
        reported = figures_of(place)
        if not reported:
            continue
        if not found:
            found = reported
        elif not found.input and not found.cached_beside and not found.written_beside and reported.input:
            found = msgspec.structs.replace(reported, output=found.output or reported.output)
        elif not found.output:
            found.output = reported.output
            found.thoughts_beside = found.thoughts_beside or reported.thoughts_beside
    return found


def may_have_usage(answer: Fields) -> bool:
    """Whether an answer could contain usage. A fast check: most chunks of a stream contain only text."""
    for name, value in answer.items():
        if value is not None and name not in WITHOUT_USAGE:
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
    """All places where usage may be, the usual one first. The last choice comes before the others."""
    named = plain({name: value for name, value in answer.items() if value is not None and name not in WITHOUT_USAGE})
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
