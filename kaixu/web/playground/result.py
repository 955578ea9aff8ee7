"""What a call from the playground gave: text, tool calls, usage, cost, routing, the month."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Code,
    Column,
    Facts,
    Link,
    Money,
    Number,
    Part,
    Row,
    Snippet,
    Table,
)
from kaixu.web.failures import failure_notice


def result_card(answer: Mapping[str, Any], *, took_ms: int, request_id: str, call_href: str, width: int) -> Card:
    """An answer."""
    parts: list[Part] = [Snippet(answer["output_text"] or "(no text)", title="Answer", language=ended(answer))]
    if answer.get("reasoning"):
        parts.append(Snippet(answer["reasoning"], title="Reasoning"))
    if answer.get("tool_calls"):
        parts.append(Snippet(pretty(answer["tool_calls"]), title="Tool calls", language="JSON"))
    if answer.get("citations"):
        parts.append(citations(answer["citations"]))
    parts.append(Facts(facts(answer, took_ms, request_id, call_href)))
    return Card(f"{answer['provider']}/{answer['model']}", parts, width=width)


def facts(answer: Mapping[str, Any], took_ms: int, request_id: str, call_href: str) -> list[tuple[str, Cell]]:
    """Usage, cost, routing, time and the month."""
    usage, routing, month = answer["usage"], answer["routing"], answer["month"]
    where = routing.get("deployment") or "none"
    tries = f"{routing['tries']} {'try' if routing['tries'] == 1 else 'tries'}"
    cached = usage.get("cached_input_tokens")
    of_them = f", {cached:,} of them cached" if cached else ""
    items: list[tuple[str, Cell]] = [
        ("Input", f"{usage['input_tokens']:,} tokens{of_them}"),
        ("Output", Number(usage["output_tokens"], "tokens")),
        ("Cost", Money(usage["cost_usd"], digits=2)),
        ("Exactly", Code(f"{usage['cost_usd']} USD, tokens counted by {usage['usage_source']}")),
        ("Routing", f"{where}, {tries}" + (f", cache {routing['cache']}" if "cache" in routing else "")),
        ("Time", Number(took_ms, "ms")),
        ("Spent this month", Money(month["spent_usd"])),
        ("Available", Money(month["available_usd"])),
        ("Call", Link(request_id, call_href, drawer=True)),
    ]  # fmt: skip
    if "max_tokens_applied" in usage:
        items.insert(2, ("Max tokens", f"lowered to {usage['max_tokens_applied']}, which is what the month could pay"))
    if "bill" in answer:
        items.insert(4, ("With the search", Money(answer["bill"]["cost_usd"])))
    return items


def citations(found: list[Mapping[str, Any]]) -> Table:
    """The passages that the model was given."""
    rows = [Row(cells=[one["rank"], f"{one['score']:.4f}", one["doc_id"], one["text"][:300]]) for one in found]
    columns = [Column(title="Rank", align="right"), Column(title="Score", align="right"), Column(title="Doc ID"),
               Column(title="Text", wide=True)]  # fmt: skip
    return Table(id="citations", caption="Passages", columns=columns, rows=rows)


def failed_card(failure: ApiFailure, *, took_ms: int, call_href: str, width: int, model: str) -> Card:
    """A refusal, or a vendor's failure: the code, and what can be done."""
    items: list[tuple[str, Cell]] = [
        ("Code", Badge("bad", failure.code)),
        ("Status", failure.status),
        ("Time", Number(took_ms, "ms")),
        ("Request", Link(failure.request_id, call_href, drawer=True)),
    ]
    return Card(model, [failure_notice(failure), Facts(items)], width=width)


def ended(answer: Mapping[str, Any]) -> str:
    """Why the answer ended."""
    end = answer["end"]
    return answer["finish_reason"] or "" if end == "complete" else f"{answer['finish_reason']}, {end}"


def pretty(value: Any) -> str:
    """JSON to read."""
    return json.dumps(value, ensure_ascii=False, indent=2)
