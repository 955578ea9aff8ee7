"""The kinds of requests that attackers send, made by a seeded draw."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from msgspec import Struct

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
NATIVE, STREAM, COUNT = "/api/gateway-chat", "/api/gateway-stream", "/v1/messages/count_tokens"

#: Values of every wrong kind.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1e308, "", "\x00", "\ud800", "x" * 5000, [], {}, [[[[]]]], {"a": {"b": None}}, ["\x00"], "٣",
)  # fmt: skip


class Attack(Struct):
    """One request. `leave_after`: so many bytes of the answer, then the connection is reset."""

    kind: str
    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    leave_after: int | None = None


def turns(draw: random.Random) -> list[dict[str, Any]]:
    """A short conversation."""
    return [{"role": "user", "content": "hello " * draw.randint(1, 20)}]


def plain(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A right request at any door."""
    lane, name = draw.choice(("chat", "messages")), draw.choice(("m", "m", "thinks", "both"))
    path = draw.choice((CHAT, MESSAGES, RESPONSES, NATIVE, STREAM))
    streamed = draw.random() < 0.5
    body: dict[str, Any] = {"model": f"{lane}/{name}", "max_tokens": draw.choice((1, 16, 300)), "messages": turns(draw)}
    if path in (NATIVE, STREAM):
        body |= {"provider": lane, "model": name}
    elif path == RESPONSES:
        body = {"model": f"{lane}/{name}", "max_output_tokens": 16, "input": "hello", "stream": streamed}
    else:
        body["stream"] = streamed
    return path, body


def somewhere(draw: random.Random, value: Any) -> tuple[Any, Any]:
    """A container inside of `value`, and a place in it."""
    holder, place = value, draw.choice(list(value))
    while isinstance(holder[place], dict | list) and holder[place] and draw.random() < 0.7:
        holder = holder[place]
        place = draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))
    return holder, place


def odd(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A right request with one wrong value somewhere."""
    path, body = plain(draw)
    holder, place = somewhere(draw, body)
    holder[place] = draw.choice(ODD)
    return path, body


def hidden(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """Much text where it is not expected."""
    path, body = plain(draw)
    long = draw.choice("xé") * draw.choice((20_000, 200_000))
    fields = ("metadata", "documents", "extra_body", "plugins", "stop", "user", "reasoning", "response_format")
    field = draw.choice(fields)
    body[field] = draw.choice((long, {"a": long}, [{"text": long}]))
    if "messages" in body and draw.random() < 0.5:
        del body[field]
        body["messages"][0][draw.choice(("name", "reasoning", "annotations", "foo", "function_call"))] = long
    return path, body


def dearer(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A field that could make the vendor charge more."""
    path, body = plain(draw)
    further: list[dict[str, Any]] = [
        {"service_tier": "priority"},
        {"n": 100},
        {"best_of": 50},
        {"web_search_options": {}},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "web_search"}]},
        {"max_completion_tokens": 10**9, "max_tokens": None},
        {"n_predict": 10**6, "max_new_tokens": 10**6},
        {"models": ["dear"], "provider": {"order": ["dear"]}},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    return path, body | draw.choice(further)


def large(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A body of some MiB."""
    path, body = plain(draw)
    text = "x" * draw.choice((500_000, 3_000_000, 7_000_000))
    if "messages" in body:
        body["messages"] = [{"role": "user", "content": text}]
    else:
        body["input"] = text
    return path, body


def framed(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """Many things of hardly a byte, each of which a vendor puts something around."""
    path, body = plain(draw)
    count, name = draw.choice((5, 300, 2000)), "f" * 200
    parts: list[Any] = [{"type": "text", "text": "x"}] * count
    if path == MESSAGES:
        use = {"type": "tool_use", "id": "a", "name": name, "input": {}}
        results: list[Any] = [{"type": "tool_result", "tool_use_id": "a", "content": ""}] * count
        body["messages"] += [{"role": "assistant", "content": [use]}, {"role": "user", "content": results}]
    elif path == RESPONSES:
        body["input"] = [{"role": "user", "content": [{"type": "input_text", "text": "x"}] * count}]
    else:
        body["messages"][0]["content"] = parts
    return path, body


KINDS: dict[str, Callable[[random.Random], tuple[str, dict[str, Any]]]] = {
    "plain": plain, "odd": odd, "hidden": hidden, "dearer": dearer, "large": large, "framed": framed,
}  # fmt: skip
WEIGHTS = {"plain": 6, "odd": 6, "hidden": 2, "dearer": 2, "large": 0.15, "framed": 1}

GETS = (
    "/v1/models",
    "/v1/files",
    "/v1/batches",
    "/api/gateway-embed-collections",
    "/nothing",
    "/v1/files/none/content",
)


def made(draw: random.Random, keys: list[str]) -> Attack:
    """One request, of any kind, by any of `keys` or by a stranger."""
    key = draw.choice(keys) if draw.random() < 0.93 else "kx_live_" + "".join(draw.choices("abcXYZ019_-", k=48))
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    roll = draw.random()
    if roll < 0.05:
        path, method = draw.choice(GETS), draw.choice(("GET", "HEAD", "DELETE", "PATCH", "OPTIONS"))
        return Attack("get", method, path, b"", headers)
    if roll < 0.09:
        junk = draw.choice((b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"a":' * 5000, b"null", b'"x"', b"1e999"))
        return Attack("junk", "POST", draw.choice((CHAT, MESSAGES, RESPONSES, NATIVE, STREAM, COUNT)), junk, headers)
    kind = draw.choices(list(KINDS), [WEIGHTS[name] for name in KINDS])[0]
    path, body = KINDS[kind](draw)
    if path == MESSAGES and draw.random() < 0.1:
        path = COUNT
    leave_after = draw.choice((0, 1, 200, 500, 2000)) if draw.random() < 0.25 else None
    data = json.dumps(body, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    return Attack(kind, "POST", path, data, headers, leave_after)
