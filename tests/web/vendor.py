"""A vendor for pages: answers in whole sentences, in OpenAI's protocol; embeddings as in `support/embedding.py`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.support.embedding import Embedder

ANSWERS = (
    "Yes: an unopened parcel can be sent back within 30 days. The label is in your account, under Orders.",
    "In short: revenue grew by 8 % against last quarter, costs by 3 %, and the new region broke even in May.",
    "Dear Ms Okafor, thank you for your patience. The replacement left our warehouse this morning.",
    "The function leaks a connection when the query fails: close it in a `finally` block.",
)


class PageVendor(Embedder):
    """A token is a word. Models whose name contains "broken" fail; a message with "boom" fails, too."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        texts = [text_of(message) for message in body["messages"]]
        if "broken" in body["model"] or "boom" in texts[-1]:
            return web.json_response({"error": {"message": "vendor secret"}}, status=500)
        words = ANSWERS[zlib.crc32(texts[-1].encode()) % len(ANSWERS)].split(" ")
        most = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await write(response, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for word in words[:most]:
            await write(response, {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]})
        reason = "length" if most < len(words) else "stop"
        await write(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        used = {"prompt_tokens": sum(len(text.split()) for text in texts), "completion_tokens": min(most, len(words))}
        await write(response, {"choices": [], "usage": used})
        await response.write(b"data: [DONE]\n\n")
        return response


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, which may come in parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


async def write(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    """One event."""
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


@contextmanager
def page_vendor() -> Iterator[PageVendor]:
    """A vendor that listens."""
    vendor = PageVendor()
    vendor.start()
    try:
        yield vendor
    finally:
        vendor.stop()
