"""Operators on three gateways of one database: what one process revokes, all refuse at once; commands as a way in."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pyotp
import pytest

from tests.support.process import SECRETS, Process

CONFIG = "lanes: {local: {plugin: echo, models: {talk: {type: chat, price: {input: 1, output: 2}}}}}"


@pytest.fixture
async def gateways(dsn: str, tmp_path: Path) -> AsyncIterator[list[Process]]:
    """Three processes."""
    processes = [Process(tmp_path / f"home{number}", dsn, CONFIG) for number in range(3)]
    await asyncio.gather(*(one.start() for one in processes))
    yield processes
    await asyncio.gather(*(one.stop() for one in processes))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections."""
    async with aiohttp.ClientSession() as session:
        yield session


async def ask(
    http: aiohttp.ClientSession, gateway: Process, method: str, name: str, token: str = "", body: Any = None
) -> tuple[int, Any]:
    """One request."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with http.request(method, f"{gateway.url}/api/{name}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def command(gateway: Process, *words: str) -> Any:
    """The JSON of a command that succeeds."""
    done = await gateway.command(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def checks(http: aiohttp.ClientSession, gateways: list[Process], token: str) -> list[int]:
    """What each process says to a credential."""
    answers = await asyncio.gather(*(ask(http, one, "GET", "admin-session-check", token) for one in gateways))
    return [status for status, _ in answers]


async def test_a_revocation_counts_in_every_process_with_the_next_request(
    gateways: list[Process], http: aiohttp.ClientSession
) -> None:
    first, second, third = gateways
    password = (await command(first, "operators", "create", "ada@example.com", "--role", "owner"))["password"]
    login = {"email": "ada@example.com", "password": password}
    tokens = [(await ask(http, one, "POST", "admin-login", body=login))[1]["token"] for one in gateways]
    for token in tokens:
        assert await checks(http, gateways, token) == [200, 200, 200]
    assert (await ask(http, second, "POST", "admin-logout", tokens[0]))[0] == 200
    assert await checks(http, gateways, tokens[0]) == [401, 401, 401]
    session = (await ask(http, first, "GET", "admin-session-check", tokens[1]))[1]["operator"]["session_id"]
    await command(third, "operators", "revoke", "--session", str(session))
    assert await checks(http, gateways, tokens[1]) == [401, 401, 401]
    await command(first, "operators", "disable", "ada@example.com")
    assert await checks(http, gateways, tokens[2]) == [401, 401, 401]


async def test_a_code_is_taken_once_by_one_of_three_processes(
    gateways: list[Process], http: aiohttp.ClientSession
) -> None:
    password = (await command(gateways[0], "operators", "create", "ada@example.com"))["password"]
    login = {"email": "ada@example.com", "password": password}
    _, body = await ask(http, gateways[0], "POST", "admin-login", body=login)
    _, offered = await ask(http, gateways[1], "POST", "admin-totp", body["token"], {"password": password})
    totp = pyotp.TOTP(offered["secret"])
    status, _ = await ask(http, gateways[2], "PUT", "admin-totp", body["token"], {"code": totp.now()})
    assert status == 200
    with_code = login | {"code": totp.at(int(time.time()) + 30)}
    answers = await asyncio.gather(*(ask(http, one, "POST", "admin-login", body=with_code) for one in gateways))
    assert sorted(status for status, _ in answers) == [200, 401, 401]


async def test_an_api_token_works_everywhere_until_it_is_revoked(
    gateways: list[Process], http: aiohttp.ClientSession
) -> None:
    made = await command(gateways[0], "tokens", "create", "nightly", "--scopes", "read", "--days", "2")
    token = made["token"]
    answers = [await ask(http, one, "GET", "admin-customers", token) for one in gateways]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert (await ask(http, gateways[1], "POST", "admin-customers", token, {"email": "a@example.com"}))[0] == 403
    async with http.get(f"{gateways[0].url}/metrics", headers={"authorization": f"Bearer {token}"}) as response:
        assert response.status == 200
    [listed] = await command(gateways[2], "tokens", "list")
    assert (listed["name"], listed["scopes"], listed["last_used"] is not None) == ("nightly", "read", True)
    await command(gateways[2], "tokens", "revoke", "nightly")
    assert await checks(http, gateways, token) == [401, 401, 401]


async def test_guesses_are_counted_over_all_processes(gateways: list[Process], http: aiohttp.ClientSession) -> None:
    await command(gateways[0], "operators", "create", "ada@example.com")
    login = {"email": "ada@example.com", "password": "guess"}
    answers = await asyncio.gather(
        *(ask(http, gateways[number % 3], "POST", "admin-login", body=login) for number in range(18))
    )
    assert sorted(status for status, _ in answers) == [401] * 10 + [429] * 8


async def test_the_first_day_the_admin_password_makes_an_owner_and_may_then_be_switched_off(
    gateways: list[Process], http: aiohttp.ClientSession
) -> None:
    gateway = gateways[0]
    _, body = await ask(http, gateway, "POST", "admin-login", body={"password": SECRETS["ADMIN_PASSWORD"]})
    new = {"email": "ada@example.com", "role": "owner", "password": "correct horse battery"}
    status, reply = await ask(http, gateway, "POST", "admin-operators", body["token"], new)
    assert (status, reply["password"]) == (200, None)
    _, ada = await ask(http, gateway, "POST", "admin-login", body={"email": new["email"], "password": new["password"]})
    gateway.config.write_text(f"{CONFIG}\noperators: {{admin_password: false}}")
    assert (await gateway.command("reload")).returncode == 0
    assert (await ask(http, gateway, "GET", "admin-session-check", body["token"]))[0] == 401
    assert (await ask(http, gateway, "POST", "admin-login", body={"password": SECRETS["ADMIN_PASSWORD"]}))[0] == 403
    assert (await ask(http, gateway, "GET", "admin-session-check", ada["token"]))[0] == 200


async def test_an_open_stream_of_events_ends_when_its_session_is_revoked_elsewhere(
    gateways: list[Process], http: aiohttp.ClientSession
) -> None:
    _, body = await ask(http, gateways[0], "POST", "admin-login", body={"password": SECRETS["ADMIN_PASSWORD"]})
    headers = {"authorization": f"Bearer {body['token']}"}
    async with http.get(f"{gateways[0].url}/api/admin-monitor-stream", headers=headers) as response:
        assert (await response.content.readline()).startswith(b"event: hello")
        await ask(http, gateways[1], "POST", "admin-logout", body["token"])
        async with asyncio.timeout(30):
            rest = await response.content.read()
        assert b"UNAUTHENTICATED" in rest


async def test_without_an_admin_password_a_gateway_starts_and_commands_are_the_way_in(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    gateway = Process(tmp_path / "home", dsn, CONFIG, ADMIN_PASSWORD="", ADMIN_PASSWORD_LOGIN="false")
    await gateway.start()
    try:
        assert (await ask(http, gateway, "POST", "admin-login", body={"password": "anything at all"}))[0] == 403
        made = await command(gateway, "operators", "create", "ada@example.com", "--role", "owner")
        login = {"email": "ada@example.com", "password": made["password"]}
        status, body = await ask(http, gateway, "POST", "admin-login", body=login)
        assert status == 200
        reset = await command(gateway, "operators", "reset-password", "ada@example.com")
        assert reset["password"] != made["password"]
        assert (await ask(http, gateway, "GET", "admin-session-check", body["token"]))[0] == 401
        await command(gateway, "operators", "change", "ada@example.com", "--role", "viewer", "--name", "Ada")
        await command(gateway, "operators", "reset-totp", "ada@example.com")
        link = (await command(gateway, "operators", "invite", "ada@example.com"))["invitation"]
        async with http.get(f"{gateway.url}{link}") as response:
            assert response.status == 200
        [row] = await command(gateway, "operators", "list")
        assert (row["email"], row["role"], row["name"], row["second_factor"]) == ("ada@example.com", "viewer", "Ada", False)  # fmt: skip
        entries = (await command(gateway, "audit", "--actor", "cli", "--limit", "100"))["entries"]
        assert {one["action"] for one in entries} == {
            "OPERATOR_CREATE", "OPERATOR_PASSWORD_RESET", "OPERATOR_UPDATE", "OPERATOR_TOTP_OFF", "OPERATOR_INVITE",
        }  # fmt: skip
        shown = await gateway.command("audit", "--action", "OPERATOR_UPDATE")
        assert "role: owner → viewer" in shown.stdout
    finally:
        await gateway.stop()
