"""What reaches a vendor was counted: no text is too hidden for the cap, no field is passed on that could cost more."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.vendor import Vendor

from .conftest import Start

LONG = "x" * 400_000


def turn(**fields: Any) -> list[dict[str, Any]]:
    """A conversation with a turn of the assistant's that has further fields."""
    return [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"} | fields,
        {"role": "user", "content": "z"},
    ]


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
#: Long text where a count that looks at known places only would miss it.
HIDDEN: dict[str, dict[str, Any]] = {
    "function_call": {"messages": turn(function_call={"name": "f", "arguments": LONG})},
    "reasoning": {"messages": turn(reasoning=LONG)},
    "reasoning_details": {"messages": turn(reasoning_details=[{"type": "reasoning.text", "text": LONG}])},
    "extra_content": {"messages": turn(tool_calls=[CALL | {"extra_content": {"google": {"thought_signature": LONG}}}])},
    "name": {"messages": [{"role": "user", "content": "x", "name": LONG}]},
    "cache_control": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": LONG}]}]
    },
    "tool": {"messages": turn(), "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": LONG}}}]},
    "documents": {"messages": turn(), "documents": [{"text": LONG}]},
    "stop": {"messages": turn(), "stop": [LONG]},
    "metadata": {"messages": turn(), "metadata": {"a": LONG}},
}
#: Fields that are no part of the protocol: dropped, wherever they stand.
UNKNOWN: dict[str, dict[str, Any]] = {
    "annotations": {"messages": turn(annotations=LONG)},
    "messages[0].foo": {"messages": [{"role": "user", "content": "x", "foo": LONG}]},
    "part": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "foo": LONG}]}]},
    "tool call": {"messages": turn(tool_calls=[CALL | {"foo": LONG}])},
    "tool": {"messages": turn(), "tools": [{"type": "function", "function": {"name": "f", "foo": LONG}}]},
    **{
        name: {"messages": turn(), name: LONG}
        for name in (
            "plugins", "models", "provider", "search_parameters", "enable_search", "chat_template", "max_new_tokens",
            "max_output_tokens", "options", "extra_body", "brand_new",
        )
    },
}  # fmt: skip
#: Fields that could make the vendor charge more than the price says.
DEARER: dict[str, dict[str, Any]] = {
    "service_tier": {"service_tier": "priority"},
    "web_search_options": {"web_search_options": {}},
    "prediction": {"prediction": {"type": "content", "content": "x"}},
    "store": {"store": True},
    "audio": {"audio": {"voice": "x"}, "modalities": ["text", "audio"]},
    "web_search": {"tools": [{"type": "web_search"}]},
    "n_predict": {"n_predict": 100_000},
}


async def test_text_in_any_place_counts_against_the_cap(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    (gateway,) = await start(1)
    customer_id = await customer(pool, cap_nusd=10_000_000)  # 0.01 USD; 400 kB are 0.4 USD
    _, key = await virtual_key(pool, customer_id)
    headers = {"authorization": f"Bearer {key}"}

    async def ask(body: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        body = {"model": "up/ok", "max_tokens": 1, **body}
        async with http.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers.get("x-kaixu-dropped-fields", "")

    for place, body in HIDDEN.items():
        status, said, _ = await ask(body)
        assert status in (400, 402, 422), (place, status, said)
    assert vendor.requests == []
    for place, body in UNKNOWN.items():
        status, said, dropped = await ask(body)
        assert (status, bool(dropped)) == (200, True), (place, status, said)
        assert len(json.dumps(vendor.requests[-1])) < 2000, place
    for name, body in DEARER.items():
        status, said, _ = await ask({"messages": turn()} | body)
        assert (status, said["error"]["param"]) == (400, name), said
        assert name in said["error"]["message"]
    assert len(vendor.requests) == len(UNKNOWN)
    spent, held = await spent_and_held(pool, customer_id)
    assert spent <= 10_000_000
    assert held == 0
    await gateway.stop()  # the monitor writes a little later; what waits is written now
    events = await pool.fetch("select error_message from kaixu.gateway_event where detail = 'dropped_fields'")
    assert len(events) > 0
    await assert_books_balance(pool)


async def test_an_operator_may_refuse_unknown_fields_or_let_them_pass_at_their_price(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession, vendor: Vendor
) -> None:
    body = {"model": "up/ok", "max_tokens": 1, "messages": turn(), "brand_new": "short", "mine": 1}
    for policy, status in (("refuse", 400), ("pass", 200)):
        (gateway,) = await start(1, lane=f"unknown_fields: {policy}\n    known_fields: [mine]")
        _, key = await virtual_key(pool, await customer(pool, cap_nusd=10_000_000))
        headers = {"authorization": f"Bearer {key}"}
        async with http.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status == status
            said = await answer.json()
        if policy == "refuse":
            assert said["error"]["param"] == "brand_new"
        else:
            assert (vendor.requests[-1]["brand_new"], vendor.requests[-1]["mine"]) == ("short", 1)
            long = body | {"brand_new": LONG}
            async with http.post(f"{gateway.url}/v1/chat/completions", json=long, headers=headers) as answer:
                assert answer.status == 402
        await gateway.stop()
