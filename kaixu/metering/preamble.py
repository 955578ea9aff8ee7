"""The operator's preamble: system text before every chat of a lane's models, counted and billed like any other."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from kaixu.plugin.types import ChatRequest, Message, TextPart


def with_preamble(request: ChatRequest, preamble: str | None) -> ChatRequest:
    """`request` with the preamble before everything else; in a native one, where its protocol has it."""
    if preamble is None:
        return request
    first = Message("system", (TextPart(preamble),))
    native = request.native
    if native is not None:
        native = msgspec.structs.replace(native, body=BODIES[native.protocol](native.body, preamble))
    return msgspec.structs.replace(request, messages=(first, *request.messages), native=native)


def openai_body(body: dict[str, Any], preamble: str) -> dict[str, Any]:
    """Chat Completions: the first message."""
    return body | {"messages": [{"role": "system", "content": preamble}, *body["messages"]]}


def anthropic_body(body: dict[str, Any], preamble: str) -> dict[str, Any]:
    """Messages: the first block of `system`."""
    system = body.get("system") or []
    rest = [{"type": "text", "text": system}] if isinstance(system, str) else list(system)
    return body | {"system": [{"type": "text", "text": preamble}, *rest]}


BODIES = {"openai.chat": openai_body, "anthropic.messages": anthropic_body}


def preamble_hash(preamble: str) -> str:
    """The hash of a preamble, which health shows so that operators can tell which one is set."""
    return hashlib.sha256(preamble.encode()).hexdigest()
