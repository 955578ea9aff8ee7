"""Every field of every endpoint, with JSON that nobody sends: never a 500, never an envelope without its code."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import SECRETS

from .conftest import Start

#: What stands in a field, as it is written.
ODD = (
    "null", "true", "-1", "1.5", "1e400", "NaN", "Infinity", "9" * 400, "9" * 5000, '""', '"a\\u0000b"', '"\\ud800"',
    '"\\u2028\\uffff"', "[]", "{}", "[{}]", "[null]", "[[]]", '{"a": 1, "a": []}', "[" * 900 + "]" * 900, "[" * 5000 + "]" * 5000,
    '{"a": ' * 900 + "1" + "}" * 900, f'"{"x" * 300_000}"', '[{"role": [], "content": "x"}]',
    '[{"role": "user\\u0000", "content": "a\\u0000b"}]', '[{"role": "user", "content": [[]]}]',
    '[{"role": "user", "content": ' + "[" * 700 + "]" * 700 + "}]", '[{"role": "user", "content": [{"type": []}]}]',
    '[{"role": "tool", "content": "x", "tool_call_id": []}]', '[{"role": "user", "content": [{"type": "image", "source": []}]}]',
    '[{"role": "assistant", "tool_calls": [{"id": [], "function": {"name": {}, "arguments": []}}]}]',
)  # fmt: skip

#: What stands in the place of a whole body.
BODIES = (
    b"", b" ", b"\x00", b"{", b"\xff\xfe{", b'{"a": "\xed\xa0\x80"}', b'{"\\u0000": 1}', b'{"\\ud800": 1}', b"[" * 5000,
    b"[" + b"1," * 1_000_000 + b"1]", b"{" + b",".join(b'"k%d": 1' % at for at in range(200_000)) + b"}",
)  # fmt: skip

CHAT = {"model": "ok", "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}
ENDPOINTS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("POST", "/api/gateway-chat", {"provider": "up", **CHAT}, "temperature top_p stop seed tools tool_choice response_format"),
    ("POST", "/api/gateway-stream", {"provider": "up", **CHAT}, ""),
    ("POST", "/v1/chat/completions", CHAT, "max_completion_tokens stop tools tool_choice response_format stream stream_options user"),
    ("POST", "/v1/responses", {"model": "ok", "input": "x"}, "instructions max_output_tokens tools text reasoning stream metadata"),
    ("POST", "/v1/messages", CHAT, "system stop_sequences tools tool_choice thinking metadata stream output_config"),
    ("POST", "/v1/messages/count_tokens", {"model": "ok", "messages": CHAT["messages"]}, "system tools output_config"),
    ("POST", "/v1/embeddings", {"model": "ok", "input": "x"}, "dimensions encoding_format user"),
    ("POST", "/api/session-token", {}, "ttl_seconds"),
    ("POST", "/api/client-error-report", {}, "client error err context raw message"),
    ("POST", "/api/admin-login", {}, "password"),
    ("POST", "/api/admin-customers", {"email": "a@example.com"}, "plan_name monthly_cap_cents is_active max_devices_per_key "
     "require_install_id allowed_providers allowed_models stripe_customer_id auto_topup_enabled auto_topup_threshold_cents"),
    ("PATCH", "/api/admin-customers?customer_id=2", {}, "customer_id email plan_name monthly_cap_cents allowed_models"),
    ("POST", "/api/admin-keys", {"customer_id": 2}, "label role monthly_cap_cents rpm_limit rpd_limit max_devices allowed_models"),
    ("PATCH", "/api/admin-keys?key_id=2", {}, "key_id label role revoked monthly_cap_cents rpm_limit allowed_providers"),
    ("POST", "/api/admin-topup", {"customer_id": 2, "amount_cents": 1}, "month idempotency_key"),
    ("PATCH", "/api/admin-devices", {"api_key_id": 2, "install_id": "x", "revoked": True}, ""),
)  # fmt: skip


def bodies(good: dict[str, Any], more: str) -> list[bytes]:
    """A good body with one odd field, for every field; and bodies that are odd as a whole."""
    odd = [
        "{" + ", ".join([json.dumps(one)[1:-1]] * bool(one) + [f'"{field}": {value}']) + "}"
        for field in [*good, *more.split()]
        for value in ODD
        for one in [{name: value for name, value in good.items() if name != field}]
    ]
    return [*(text.encode() for text in [*odd, *ODD, *map(json.dumps, ODD)]), *BODIES]


async def test_no_json_makes_a_500(start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession) -> None:
    (gateway,) = await start(1, ADMIN_PASSWORD_HEADER="true")
    _, key = await virtual_key(pool, await customer(pool), rpm_limit=10**7)
    await virtual_key(pool, await customer(pool))  # the ones that are changed
    async with http.post(f"{gateway.url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as response:
        token = (await response.json())["token"]
    seen: set[int] = set()

    async def ask(method: str, path: str, body: bytes) -> None:
        headers = {"authorization": f"Bearer {token if 'admin' in path else key}"}
        async with http.request(method, gateway.url + path, data=io.BytesIO(body), headers=headers) as response:
            text = await response.text(errors="replace")
            assert response.status < 500, (method, path, body[:300], text)
            assert '"INTERNAL"' not in text, (method, path, body[:300], text)
            seen.add(response.status)

    for method, path, good, more in ENDPOINTS:
        odd = bodies(good, more)
        for at in range(0, len(odd), 8):
            await asyncio.gather(*(ask(method, path, body) for body in odd[at : at + 8]))
    assert {200, 400, 413, 422} <= seen
    for path in ("%00", "%ff", "%ed%a0%80", "admin-usage?customer_id=%00", "admin-keys?customer_id=%ff&limit=%00"):
        for method in ("GET", "POST", "PUT", "HEAD"):
            await ask(method, f"/api/{path}", b"x")
    await ask("GET", "/v1/models/%00%ff", b"")
    assert "Traceback" not in gateway.log.read_text()
    await assert_books_balance(pool)


async def test_the_monitor_goes_on_after_a_path_that_no_database_holds(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    for path in ("/api/admin-keys/%00", "/v1/chat/completions"):
        async with http.post(gateway.url + path) as response:
            assert response.status in (400, 401)
    report: dict[str, Any] = {"error": {"name": "n", "message": "m"}, "context": {"text": "\\u0000"}}
    odd = report | {"context": {"null": "\x00"}}
    async with http.post(f"{gateway.url}/api/client-error-report", json=odd) as response:
        assert response.status == 400
        assert (await response.json())["field"] == "context.null"
    async with http.post(f"{gateway.url}/api/client-error-report", json=report) as response:
        assert response.status == 200
    await gateway.stop()  # what waits is written
    rows = await pool.fetch("select kind, error_message, extra from kaixu.gateway_event order by id")
    assert [row["kind"] for row in rows][-3:] == ["blocked", "error", "client_error"]
    assert rows[-1]["error_message"] == "m"
    assert rows[-1]["extra"]["context"] == {"text": "\\u0000"}


async def test_a_session_lives_as_long_as_can_be_whatever_number_is_asked_for(
    start: Start, pool: asyncpg.Pool, http: aiohttp.ClientSession
) -> None:
    (gateway,) = await start(1)
    _, key = await virtual_key(pool, await customer(pool))
    for asked, granted in (("9" * 400, 86_400), ("-" + "9" * 400, 60), ("1e300", 86_400)):
        async with http.post(
            f"{gateway.url}/api/session-token",
            data=f'{{"ttl_seconds": {asked}}}',
            headers={"authorization": f"Bearer {key}"},
        ) as response:
            assert (response.status, (await response.json())["expires_in"]) == (200, granted)
