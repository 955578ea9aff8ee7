"""Anthropic's beta features: which ones clients may switch on, and which request fields each one enables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kaixu.plugin import Native

#: Betas that Claude Code and Anthropic's SDKs send and that cost nothing beyond their tokens. Not allowed: longer
#: context and faster modes (other rates), tools that the vendor runs, files, and data stored at the vendor.
ALLOWED = (
    "advanced-tool-use-2025-11-20",
    "cache-diagnosis-2026-04-07",
    "claude-code-20250219",
    "claude-code-side-query-2026-09-29",
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-management-2025-06-27",
    "dev-full-thinking-2025-05-14",
    "effort-2025-11-24",
    "extended-cache-ttl-2025-04-11",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-system-2026-04-07",
    "mid-conversation-system-clear-at-2026-08-21",
    "mid-conversation-tool-changes-2026-07-01",
    "model-context-window-exceeded-2025-08-26",
    "output-128k-2025-02-19",
    "prompt-caching-2024-07-31",
    "prompt-caching-scope-2026-01-05",
    "redact-thinking-2026-02-12",
    "structured-outputs-2025-11-13",
    "structured-outputs-2025-12-15",
    "task-budgets-2026-03-13",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "thinking-token-count-2026-05-13",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
)
#: The fields that a beta enables, by the prefix of its name. `a.b`: field of an object; `a[].b`: of each list entry.
#: Fields that the core refuses by name are not listed: leaving them out would change the answer.
SWITCHED_ON: dict[str, tuple[str, ...]] = {
    "advanced-tool-use": ("tools[].defer_loading", "tools[].input_examples"),
    "cache-diagnosis": ("diagnostics",),
    "context-management": ("context_management",),
    "effort": ("output_config.effort",),
    "task-budgets": ("output_config.task_budget",),
    "thinking-display-updates": ("thinking.display",),
    "tool-search-tool": ("tools[].defer_loading",),
}


def without_betas(native: Native, *, allowed: frozenset[str], always: frozenset[str]) -> tuple[Native, tuple[str, ...]]:
    """See `kaixu.plugin.Lane.admitted`. `always`: the betas that the operator sends with every call.

    A field stays if another beta that is sent also enables it, or if the client named no beta for it: the vendor may
    have made it a regular field since.
    """
    passed = tuple(beta for beta in native.betas if beta in allowed or beta in always)
    refused = [beta for beta in native.betas if beta not in allowed and beta not in always]
    if not refused:
        return native, ()
    kept = {field for beta in (*passed, *always) for field in fields_of(beta)}
    body = native.body
    left_out = [f"anthropic-beta.{beta}" for beta in refused]
    for field in dict.fromkeys(field for beta in refused for field in fields_of(beta)):
        if field not in kept:
            body, found = without(body, field)
            left_out += [field] if found else []
    return Native(native.protocol, body, passed), tuple(left_out)


def fields_of(beta: str) -> tuple[str, ...]:
    """The fields that a beta enables. The name of a beta ends with a date."""
    return next((fields for name, fields in SWITCHED_ON.items() if beta.startswith(f"{name}-")), ())


def without(body: dict[str, Any], field: str) -> tuple[dict[str, Any], bool]:
    """A copy of the body without a field, and whether the field was there."""
    head, _, rest = field.partition(".")
    name = head.removesuffix("[]")
    if name not in body:
        return body, False
    if not rest:
        return {key: value for key, value in body.items() if key != name}, True
    inner: Callable[[Any], tuple[Any, bool]] = lambda one: without(one, rest) if isinstance(one, dict) else (one, False)  # noqa: E731
    if head == name:
        value, found = inner(body[name])
    elif isinstance(body[name], list):
        pairs = [inner(one) for one in body[name]]
        value, found = [one for one, _ in pairs], any(was for _, was in pairs)
    else:
        return body, False
    return (body | {name: value}, True) if found else (body, False)
