"""An upper bound for the usage of a call whose client left before the vendor reported it.

Otherwise leaving just before the report would be a discount. The input counts as in the hold, delivered text by its
bytes (no tokenizer makes more tokens than bytes), hidden reasoning by the time that passed. Everything is bounded by
the hold.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Any

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import ChatRequest, Usage

#: Names of models that reason before they answer by default. Operators can override it with `reasoning` in kaixu.yaml.
REASONS_BY_NAME = re.compile(
    r"(?:^|[/:_-])(?:"
    r"o[1-9](?:[.-]|$)|gpt-[5-9]|gpt-[1-9]\d|gpt-oss|codex"
    r"|gemini-(?:2\.5|[3-9])|gemini-(?:flash|pro)-latest"
    r"|claude-(?:[a-z]+-)?[5-9](?!\d)|claude-mythos"
    r"|deepseek-(?:r\d|reason|v[4-9])|r1(?:[.-]|$)"
    r"|grok-(?:[4-9]|3-mini)|qwq|qwen3|magistral|kimi-k[2-9]|glm-(?:4\.[5-9]|[5-9])|minimax-m\d|nemotron"
    r")|reason|think",
    re.IGNORECASE,
)


def may_reason(deployment: Deployment, request: ChatRequest | None) -> bool:
    """Whether the model may reason without output: by kaixu.yaml, by its name, or because the request asks for it."""
    if deployment.reasoning is not None:
        return deployment.reasoning
    return bool(REASONS_BY_NAME.search(deployment.upstream)) or (request is not None and asks_to_reason(request))


def asks_to_reason(request: ChatRequest) -> bool:
    """Whether the request asks for reasoning, in the contract's fields or in its vendor's own."""
    reasoning = request.reasoning
    if reasoning is not None and (reasoning.effort not in (None, "none") or reasoning.budget_tokens):
        return True
    body = {} if request.native is None else request.native.body
    if body.get("think") not in (None, False, "none") or body.get("prompt_mode") == "reasoning":  # Ollama, Mistral
        return True
    switches = body.get("chat_template_kwargs")
    if isinstance(switches, dict) and any(switches.get(name) for name in ("enable_thinking", "thinking")):  # vLLM
        return True
    thinking, native = body.get("thinking"), body.get("reasoning")
    return (isinstance(thinking, dict) and thinking.get("type") not in (None, "disabled")) or (
        isinstance(native, dict) and bool(native) and native.get("enabled") is not False
    )


def most_usage_when_left(
    reported: Usage | None, *, most_input_tokens: int, delivered_bytes: int, hidden_tokens: int, most_output_tokens: int
) -> Usage:
    """The bound of what was used.

    `reported` is the vendor's report so far: its input figures are complete, its output is a minimum.
    `delivered_bytes` counts all delivered text; `hidden_tokens` is what may have been generated in the time that
    passed, or 0.
    """
    reported = reported or Usage()
    output = max(reported.output_tokens, min(max(delivered_bytes, hidden_tokens), most_output_tokens))
    if reported.input_tokens:
        return Usage(
            reported.input_tokens,
            output,
            reported.cached_input_tokens,
            reported.cache_write_tokens,
            reported.reasoning_tokens,
            estimated=True,
        )
    return Usage(most_input_tokens, output, estimated=True)


def most_tokens_in(seconds: float, deployment: Deployment) -> int:
    """How many tokens the model can have generated in `seconds`."""
    return ceil(seconds * deployment.tokens_per_s)


def has_finish_reason(data: dict[str, Any]) -> bool:
    """Whether a vendor's own event has a finish reason: OpenAI's in a choice, Anthropic's in its `message_delta`."""
    choices = data.get("choices")
    if isinstance(choices, list):
        return any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
    delta = data.get("delta")
    return isinstance(delta, dict) and bool(delta.get("stop_reason"))
