"""OpenAI's Chat Completions protocol, as OpenAI and compatible vendors document it.

Sources (as of November 2026): the API references of OpenAI, Azure, Mistral, DeepSeek, Groq, OpenRouter, Moonshot,
Together, Fireworks and xAI, and the servers' own pages of vLLM, SGLang, llama.cpp and Ollama. A field is listed as
free only where its vendor charges nothing for it beyond tokens that `max_tokens` bounds. Left out on purpose, and so
dropped unless an operator says otherwise: fields that pick other models or providers (`models`, `provider`, `route`,
`plugins`, `transforms`), that search (`search_parameters`, `enable_search`), that add a prompt of the vendor's
(`safe_prompt`, `chat_template`), that bound the output in another field (`max_new_tokens`, `max_output_tokens`,
`options`), and those whose thinking is not bounded by `max_tokens` (`enable_thinking`, `thinking_budget`).
"""

from __future__ import annotations

import re
from typing import Any

from .shapes import Pick, Shape

ANY = None

TEXT_PART: Shape = {"type": ANY, "text": ANY, "cache_control": ANY, "prefix": ANY}
PARTS: dict[str | None, Shape | None] = {
    "text": TEXT_PART,
    "input_text": TEXT_PART,
    "output_text": TEXT_PART,
    "refusal": {"type": ANY, "refusal": ANY},
    "image_url": {"type": ANY, "image_url": {"url": ANY, "detail": ANY}, "detail": ANY, "cache_control": ANY},
    "thinking": {"type": ANY, "thinking": {"type": ANY, "text": ANY}, "closed": ANY, "signature": ANY},
}
#: Parts of other types are refused where the request is read.
PART = Pick(PARTS, otherwise=ANY)

FUNCTION_CALL: Shape = {"name": ANY, "arguments": ANY}
MESSAGE: Shape = {
    "role": ANY,
    "content": PART,
    "name": ANY,
    "refusal": ANY,
    "tool_calls": {
        "id": ANY,
        "type": ANY,
        "index": ANY,
        "function": FUNCTION_CALL,
        "custom": {"name": ANY, "input": ANY},
        "extra_content": {"google": {"thought_signature": ANY}},
    },
    "tool_call_id": ANY,
    "function_call": FUNCTION_CALL,
    "audio": ANY,  # refused where it is read
    "reasoning_content": ANY,  # DeepSeek, Moonshot, vLLM, SGLang
    "reasoning": ANY,  # OpenRouter, Groq, Ollama
    "reasoning_details": ANY,  # OpenRouter
    "prefix": ANY,  # DeepSeek, Mistral: go on with this turn
    "partial": ANY,  # Moonshot: the same
    "cache_control": ANY,  # OpenRouter and proxies before Anthropic
}
FUNCTION: Shape = {"name": ANY, "description": ANY, "parameters": ANY, "strict": ANY}
TOOLS: dict[str | None, Shape | None] = {
    "function": {"type": ANY, "function": FUNCTION, "cache_control": ANY},
    "custom": {"type": ANY, "custom": {"name": ANY, "description": ANY, "format": ANY}},
}

#: Fields of the request; a comment names the vendors of those that OpenAI does not have.
FIELDS: Shape = {
    "model": ANY,
    "messages": MESSAGE,
    "stream": ANY,
    "stream_options": ANY,
    "max_tokens": ANY,
    "max_completion_tokens": ANY,
    "temperature": ANY,
    "top_p": ANY,
    "n": ANY,
    "stop": ANY,
    "seed": ANY,
    "presence_penalty": ANY,
    "frequency_penalty": ANY,
    "logit_bias": ANY,
    "logprobs": ANY,
    "top_logprobs": ANY,
    "tools": Pick(TOOLS, otherwise=ANY),
    "tool_choice": ANY,
    "parallel_tool_calls": ANY,
    "functions": FUNCTION,
    "function_call": ANY,
    "response_format": ANY,
    "reasoning_effort": ANY,
    "verbosity": ANY,
    "user": ANY,
    "safety_identifier": ANY,
    "metadata": ANY,
    "prompt_cache_key": ANY,
    "prompt_cache_retention": ANY,
    "service_tier": ANY,
    "store": ANY,
    "modalities": ANY,
    "audio": ANY,
    "prediction": ANY,
    "web_search_options": ANY,
    "data_sources": ANY,
    "prompt_cache_options": ANY,
    # vLLM, SGLang, llama.cpp, Ollama, Together, Fireworks, OpenRouter: sampling
    "top_k": ANY,
    "min_p": ANY,
    "top_a": ANY,
    "typical_p": ANY,
    "min_tokens": ANY,
    "repetition_penalty": ANY,
    "repeat_penalty": ANY,
    "repeat_last_n": ANY,
    "length_penalty": ANY,
    "mirostat": ANY,
    "mirostat_tau": ANY,
    "mirostat_eta": ANY,
    "dynatemp_range": ANY,
    "dynatemp_exponent": ANY,
    "dry_multiplier": ANY,
    "dry_base": ANY,
    "dry_allowed_length": ANY,
    "dry_penalty_last_n": ANY,
    "dry_sequence_breakers": ANY,
    "xtc_probability": ANY,
    "xtc_threshold": ANY,
    "top_n_sigma": ANY,
    "samplers": ANY,
    "ignore_eos": ANY,
    "stop_token_ids": ANY,
    "include_stop_str_in_output": ANY,
    "skip_special_tokens": ANY,
    "spaces_between_special_tokens": ANY,
    "no_stop_trim": ANY,
    "bad_words": ANY,
    "allowed_token_ids": ANY,
    # their constrained output
    "guided_json": ANY,
    "guided_regex": ANY,
    "guided_choice": ANY,
    "guided_grammar": ANY,
    "guided_decoding_backend": ANY,
    "guided_whitespace_pattern": ANY,
    "structured_outputs": ANY,
    "regex": ANY,
    "ebnf": ANY,
    "grammar": ANY,
    "json_schema": ANY,
    # their templates' switches, and what they tell about a call
    "chat_template_kwargs": ANY,
    "add_generation_prompt": ANY,
    "continue_final_message": ANY,
    "separate_reasoning": ANY,
    "stream_reasoning": ANY,
    "include_reasoning": ANY,  # vLLM, Groq, OpenRouter
    "reasoning_format": ANY,  # llama.cpp, Groq
    "documents": ANY,  # vLLM, Groq: texts, which are counted
    "priority": ANY,
    "request_id": ANY,
    "cache_salt": ANY,
    "echo": ANY,
    "cache_prompt": ANY,
    "id_slot": ANY,
    "n_keep": ANY,
    "n_probs": ANY,
    "min_keep": ANY,
    "post_sampling_probs": ANY,
    "return_tokens": ANY,
    "return_progress": ANY,
    "timings_per_token": ANY,
    "parse_tool_calls": ANY,
    "keep_alive": ANY,  # Ollama
    "think": ANY,  # Ollama
    "context_length_exceeded_behavior": ANY,  # Fireworks
    "prompt_truncate_len": ANY,  # Fireworks
    "perf_metrics_in_response": ANY,  # Fireworks
    "random_seed": ANY,  # Mistral
    "prompt_mode": ANY,  # Mistral
    "thinking": {"type": ANY},  # DeepSeek, Moonshot: on or off; bounded by max_tokens
    "reasoning": {"effort": ANY, "max_tokens": ANY, "exclude": ANY, "enabled": ANY},  # OpenRouter
    "disable_tool_validation": ANY,  # Groq
    "citation_options": ANY,  # Groq
    "usage": {"include": ANY},  # OpenRouter
    "session_id": ANY,  # OpenRouter
    "deferred": ANY,  # xAI, false only: see below
}

NO_PRICE = "this gateway has no price for it"
VENDOR_TOOL = "tools of type `{name}` are run by the vendor, and this gateway has no price for them"
NOT_BOUNDED = "it limits the output in another way than `max_tokens`"

#: Fields that can cost more, with the values that do not.
DEARER: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default"),
    "web_search_options": (),
    "audio": (),
    "modalities": (["text"], []),
    "prediction": (),
    "store": (False,),
    "data_sources": (),  # Azure: what it adds to the prompt is not counted
    "deferred": (False,),
    "prompt_cache_retention": ("in_memory", "in-memory", "24h"),
}
#: Fields of other protocols that limit the output: how a vendor combines them with `max_tokens` is not known.
UNBOUNDED = ("n_predict", "n_cmpl", "best_of", "use_beam_search")

#: Template arguments that change the prompt itself: a client's template can produce any number of tokens.
TEMPLATE_OVERRIDES = ("chat_template", "conversation", "documents", "messages", "tokenize", "tools")
OVERRIDES = "it replaces what was counted"

#: Fields of any value that never cost more: a body of these and of text messages needs no look at each field.
WITHOUT_PRICE = frozenset(
    field for field, inner in FIELDS.items() if inner is ANY and field not in DEARER and field not in UNBOUNDED
) - {"chat_template_kwargs"}
TEXT_TURN = frozenset({"role", "content"})

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.:$-]")


def is_text_alone(body: dict[str, Any]) -> bool:
    """Whether a body has only messages of text, and known fields that cost nothing more. Quick; most bodies have."""
    messages = body.get("messages")
    if type(messages) is not list or not body.keys() - {"messages"} <= WITHOUT_PRICE:
        return False
    for turn in messages:
        if type(turn) is not dict or not turn.keys() <= TEXT_TURN or type(turn.get("content")) is not str:
            return False
    return True


def dearer(body: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """See `kaixu.plugin.protocols.dearer_fields`."""
    found = [
        (field, NO_PRICE, True)
        for field, harmless in DEARER.items()
        if body.get(field) is not None and body[field] not in harmless
    ]
    found += [
        (field, NOT_BOUNDED, False)
        for field in UNBOUNDED
        if body.get(field) not in (None, False, 1) or body.get(field) is True
    ]
    switches = body.get("chat_template_kwargs")
    found += [
        (f"chat_template_kwargs.{name}", OVERRIDES, False)
        for name in TEMPLATE_OVERRIDES
        if isinstance(switches, dict) and switches.get(name) is not None
    ]
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom"):
            name = NOT_IN_NAMES.sub("?", str(kind))[:100]
            found.append((name, VENDOR_TOOL.format(name=name), True))
    return found
