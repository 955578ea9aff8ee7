"""hit@5: the share of questions whose own passage is among the first five results."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

SET = Path(__file__).parent / "questions.jsonl"
Post = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


async def quality(post: Post, model: str = "local-embed") -> dict[str, str]:
    """The figures of one model, plain and hybrid."""
    lines = [json.loads(line) for line in SET.read_text().splitlines() if line.strip()]
    for start in range(0, len(lines), 100):
        part = lines[start : start + 100]
        body = {"input": [one["passage"] for one in part], "doc_ids": [one["id"] for one in part]}
        await post("gateway-embed", body | {"model": model, "collection": "quality"})
    figures = {}
    for told, more in (("plain", {}), ("hybrid", {"hybrid": True})):
        first = hits = 0
        for one in lines:
            asked = {"collection": "quality", "query": one["question"], "top_k": 5} | more
            found = [result["doc_id"] for result in (await post("gateway-embed-search", asked))["results"]]
            hits += one["id"] in found
            first += found[:1] == [one["id"]]
        figures[f"{len(lines)} questions over as many passages, `{model}`, {told}: hit@5 (hit@1)"] = (
            f"{hits / len(lines):.1%} ({first / len(lines):.1%})"
        )
    return figures
