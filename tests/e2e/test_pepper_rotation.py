"""KEY_PEPPER and JWT_SECRET are replaced while two gateways serve."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg

from kaixu.accounts.key_material import key_hash, pepper_id
from tests.support.money import assert_books_balance, customer, virtual_key
from tests.support.process import SECRETS, Client, Process

from .conftest import Start

OLD = {name: SECRETS[name] for name in ("KEY_PEPPER", "JWT_SECRET")}
NEW = {"KEY_PEPPER": "another-pepper-0123456789", "JWT_SECRET": "another-jwt-secret-0123456789"}

#: docs/operators/secrets.md: what each gateway has after each step; in between are `kaixu secrets status` and
#: `kaixu accept-secrets KEY_PEPPER`.
STEPS: list[dict[str, str]] = [
    OLD | {f"{name}_OLD": value for name, value in NEW.items()},
    NEW | {f"{name}_OLD": value for name, value in OLD.items()},
    NEW | {f"{name}_OLD": "" for name in OLD},
]


async def test_pepper_and_jwt_secret_are_replaced_and_no_call_fails(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    gateways = await start(2)
    customer_id = await customer(pool)
    used, used_key = await virtual_key(pool, customer_id, monthly_cap_nusd=10**9)
    unused, unused_key = await virtual_key(pool, customer_id, label="never used")
    revoked, revoked_key = await virtual_key(pool, customer_id)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", revoked)
    made = await gateways[0].command("tokens", "create", "a script", "--scopes", "read", "--json")
    assert made.returncode == 0, made.stderr
    api_token = json.loads(made.stdout)["token"]
    ends = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    coded = await gateways[0].command(
        "codes", "create", "--amount-cents", "500", "--count", "2", "--expires", ends, "--json"
    )
    codes = json.loads(coded.stdout)["codes"]
    codes = [one["code"] if isinstance(one, dict) else one for one in codes]
    owner_id, owner_key = await virtual_key(pool, customer_id, role="owner")
    calls = 0

    async def answer(gateway: Process, method: str, path: str, token: str, **more: Any) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {token}"}
        async with http.request(method, f"{gateway.url}{path}", headers=headers, **more) as response:
            return response.status, await response.json()

    async def call_all(sessions: list[str]) -> None:
        """Call both gateways with all that is in use: nothing may be refused but what always was."""
        nonlocal calls
        for gateway in gateways:
            for token in (used_key, owner_key, *sessions):
                status, body = await Client(http, gateway.url, token).chat("ok", max_tokens=16)
                assert status == 200, body
                calls += 1
            status, body = await Client(http, gateway.url, revoked_key).chat("ok")
            assert (status, body["code"]) == (401, "UNAUTHENTICATED")
            assert (await answer(gateway, "GET", "/api/admin-customers", api_token))[0] == 200
            assert (await answer(gateway, "GET", "/api/admin-customers", admin))[0] == 200

    async with http.post(f"{gateways[0].url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as reply:
        admin = (await reply.json())["token"]
    sessions = [(await answer(gateways[0], "POST", "/api/session-token", used_key))[1]["token"]]
    await call_all(sessions)

    async def status_now() -> dict[str, Any]:
        """`kaixu secrets status --keys --json` in the environment of the first gateway."""
        ran = await gateways[0].command("secrets", "status", "--keys", "--json")
        assert ran.returncode == 0, ran.stderr
        result: dict[str, Any] = json.loads(ran.stdout)
        return result

    for step in STEPS[:2]:
        for gateway in gateways:
            assert await gateway.stop() == 0
            gateway.environment |= step
            await gateway.start()
            sessions.append((await answer(gateway, "POST", "/api/session-token", used_key))[1]["token"])
            await call_all(sessions)
        redeemed = await answer(gateways[1], "POST", "/api/user-redeem", owner_key, json={"code": codes.pop()})
        assert redeemed[0] == 200, redeemed
    # What was not used since is left; whoever has only the old pepper may not make keys that others would not find.
    told = await status_now()
    assert (told["replacing"], told["pepper_is_new"]) == (["JWT_SECRET", "KEY_PEPPER"], True)
    stored = {row["what"]: (row["present"], row["other"]) for row in told["stored"]}
    assert stored == {"keys": (2, 1), "API tokens": (1, 0), "redemption codes": (0, 0), "recovery codes": (0, 0)}
    assert [(row["key_id"], row["label"], row["last_used_at"]) for row in told["keys"]] == [
        (unused, "never used", None)
    ]
    doctor = await gateways[0].command("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(doctor.stdout)}
    assert "under another pepper than KEY_PEPPER: 1 keys" in str(rows["KEY_PEPPER_OLD"])
    alone = {"KEY_PEPPER": NEW["KEY_PEPPER"], "KEY_PEPPER_OLD": ""}
    refused = await gateways[0].command("check", **alone)
    assert "KEY_PEPPER is not the one of this database" in refused.stdout + refused.stderr
    accepted = await gateways[0].command("accept-secrets", "KEY_PEPPER", "--json")
    assert json.loads(accepted.stdout) == {"accepted": ["KEY_PEPPER"]}
    refused = await gateways[0].command("check", KEY_PEPPER=OLD["KEY_PEPPER"], KEY_PEPPER_OLD="")
    assert "KEY_PEPPER is not the one of this database" in refused.stdout + refused.stderr
    async with http.post(f"{gateways[1].url}/api/admin-login", json={"password": SECRETS["ADMIN_PASSWORD"]}) as reply:
        admin = (await reply.json())["token"]
    before = sessions
    for gateway in gateways:
        assert await gateway.stop() == 0
        gateway.environment |= STEPS[2]
        await gateway.start()
        await call_all(before[-1:])
    # With the old secrets gone: the key that was never used, and tokens of before.
    for token, code in ((unused_key, "UNAUTHENTICATED"), (before[0], "UNAUTHENTICATED")):
        status, body = await Client(http, gateways[0].url, token).chat("ok")
        assert (status, body["code"]) == (401, code)
    for key_id, key in ((used, used_key), (owner_id, owner_key)):
        row = await pool.fetchrow("select key_hash, pepper_id from kaixu.virtual_key where id = $1", key_id)
        assert row is not None
        assert tuple(row) == (key_hash(NEW["KEY_PEPPER"], key), pepper_id(NEW["KEY_PEPPER"]))
    assert await pool.fetchval("select count(*) from kaixu.usage_event where customer_id = $1", customer_id) == calls
    assert await pool.fetchval("select count(*) from kaixu.rate_window where customer_id = $1", customer_id) == 2
    await assert_books_balance(pool)


async def test_gateways_between_two_steps_keep_to_the_cap_of_a_key(
    start: Start, http: aiohttp.ClientSession, pool: asyncpg.Pool
) -> None:
    gateways = await start(2)
    for gateway, step in zip(gateways, STEPS[:2], strict=True):
        assert await gateway.stop() == 0
        gateway.environment |= step
        await gateway.start()
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id, monthly_cap_nusd=200_000)
    answers = await asyncio.gather(
        *(Client(http, gateways[at % 2].url, key).chat("ok", max_tokens=16) for at in range(60))
    )
    assert {(status, body.get("code")) for status, body in answers} <= {(200, None), (402, "CAP_REACHED")}
    assert any(status == 200 for status, _ in answers)
    spent = await pool.fetchval("select sum(spent_nusd) from kaixu.key_month where customer_id = $1", customer_id)
    assert 0 < spent <= 200_000
    await assert_books_balance(pool)
