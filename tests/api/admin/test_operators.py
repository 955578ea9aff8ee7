"""Named operators: created, logged in, changed, switched off; their second factor, sessions and tokens."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import asyncpg
import msgspec
import pyotp
import pytest
from argon2 import PasswordHasher
from quart import Quart

from kaixu.accounts import operator_passwords
from kaixu.accounts.oidc_claims import ProvenUser
from kaixu.accounts.oidc_login import operator_of
from kaixu.accounts.operator_login import attempt_hashes, log_in_operator
from kaixu.accounts.operator_sessions import LoginClient
from kaixu.config.operators_section import OidcSection, OperatorsSection
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_admin_token
from kaixu.plugin.errors import Forbidden, RateLimited, Unauthenticated
from tests.support.operators import operator_with_role, token_with_scopes

from .conftest import Operator

Kept = dict[str, Any]


async def made(operator: Operator, email: str = "ada@example.com", role: str = "owner") -> tuple[int, str]:
    """A new operator: its number and password."""
    body = await operator.send("POST", "admin-operators", {"email": email, "role": role})
    return body["operator"]["id"], body["password"]


async def log_in(app: Quart, email: str, password: str, **more: Any) -> tuple[int, Any]:
    """Try to log in."""
    return await Operator(app).ask("POST", "admin-login", {"email": email, "password": password, **more})


async def logged_in(app: Quart, email: str, password: str, **more: Any) -> Operator:
    """A client with a session of a named operator."""
    status, body = await log_in(app, email, password, **more)
    assert status == 200, body
    return Operator(app, authorization=f"Bearer {body['token']}")


async def with_totp(app: Quart, operator: Operator, email: str = "ada@example.com") -> tuple[Operator, str, str, Kept]:
    """An operator with a second factor: its client, password, secret, and the reply with its recovery codes."""
    _, password = await made(operator, email)
    inside = await logged_in(app, email, password)
    offered = await inside.send("POST", "admin-totp", {"password": password})
    code = pyotp.TOTP(offered["secret"]).now()
    confirmed = await inside.send("PUT", "admin-totp", {"code": code})
    return inside, password, offered["secret"], confirmed


def next_code(secret: str) -> str:
    """The code of the next step, which a clock that is fast shows already: later than the one that confirmed it."""
    return pyotp.TOTP(secret).at(int(time.time()) + 30)


async def test_a_named_operator_logs_in_and_sees_itself(app: Quart, operator: Operator) -> None:
    number, password = await made(operator, "Ada@Example.com")
    inside = await logged_in(app, "ADA@example.com ", password)
    checked = (await inside.get("admin-session-check"))["operator"]
    assert (checked["id"], checked["email"], checked["role"]) == (number, "ada@example.com", "owner")
    assert (checked["method"], checked["has_totp"], checked["scopes"]) == ("password", False, None)


async def until_somebody_waits(pool: asyncpg.Pool) -> None:
    """Wait until a statement waits for a lock."""
    while not await pool.fetchval("select exists (select from pg_locks where not granted)"):
        await asyncio.sleep(0.01)


async def test_a_new_name_does_not_undo_that_the_operator_is_switched_off_at_the_same_moment(
    operator: Operator, pool: asyncpg.Pool
) -> None:
    number, _ = await made(operator)
    async with pool.acquire() as other, other.transaction():
        await other.execute("update kaixu.operator set disabled_at = now() where id = $1", number)
        body = {"operator_id": number, "name": "Ada"}
        renamed = asyncio.ensure_future(operator.send("PATCH", "admin-operators", body))
        await until_somebody_waits(pool)
    assert (await renamed)["operator"]["disabled_at"] is not None
    row = await pool.fetchrow(
        "select name, disabled_at is not null as is_off from kaixu.operator where id = $1", number
    )
    assert row is not None
    assert tuple(row) == ("Ada", True)


async def test_a_single_sign_on_does_not_undo_that_the_operator_is_switched_off_at_the_same_moment(
    operator: Operator, pool: asyncpg.Pool
) -> None:
    number, _ = await made(operator, role="viewer")
    await pool.execute("update kaixu.operator set oidc_issuer = 'https://id.example.com', oidc_subject = 'subject'")
    section = OidcSection.model_validate(
        {"issuer": "https://id.example.com", "client_id": "c", "role_claim": "groups", "roles": {"ops": "operator"}}
    )
    user = ProvenUser("subject", "ada@example.com", None, "operator")

    async def log_in() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await operator_of(connection, section, user, request_id="r")

    async with pool.acquire() as other, other.transaction():
        await other.execute("update kaixu.operator set disabled_at = now() where id = $1", number)
        login = asyncio.ensure_future(log_in())
        await until_somebody_waits(pool)
    with pytest.raises(Forbidden, match="switched off"):
        await login
    row = await pool.fetchrow(
        "select role, disabled_at is not null as is_off from kaixu.operator where id = $1", number
    )
    assert row is not None
    assert tuple(row) == ("viewer", True)


def test_who_has_a_network_of_ipv6_guesses_as_from_one_address(services: Services) -> None:
    one, other = (attempt_hashes(services.secrets, f"2001:db8::{at}", "ada@example.com") for at in (1, 2))
    assert one == other
    elsewhere = attempt_hashes(services.secrets, "2001:db8:0:1::1", "ada@example.com")
    assert (elsewhere.account, elsewhere.address == one.address) == (one.account, False)


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer_after_the_same_work(
    app: Quart, operator: Operator, services: Services, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, password = await made(operator)
    off, off_password = await made(operator, "off@example.com")
    await operator.send("PATCH", "admin-operators", {"operator_id": off, "is_disabled": True})
    await pool.execute("insert into kaixu.operator (email, role) values ('sso@example.com', 'owner')")
    hasher = services.passwords.hasher
    compared: list[object] = []

    class Counting:
        """The hasher, with a note of each comparison."""

        hash = hasher.hash
        check_needs_rehash = hasher.check_needs_rehash

        @staticmethod
        def verify(stored: str, given: bytes) -> bool:
            """Note the parameters, and compare."""
            compared.append(stored.split("$")[1:4])
            return hasher.verify(stored, given)

    monkeypatch.setattr(services.passwords, "hasher", Counting)
    answers = [
        await log_in(app, email, given)
        for email, given in (
            ("ada@example.com", password + "x"),
            ("nobody@example.com", password),
            ("off@example.com", off_password),
            ("sso@example.com", password),
        )
    ]
    assert {(status, body["error"], body["code"]) for status, body in answers} == {
        (401, "Invalid credentials", "UNAUTHENTICATED")
    }
    assert len(compared) == 4
    assert all(one == compared[0] for one in compared)  # argon2id with the same parameters
    rows = await pool.fetch("select target, meta from kaixu.audit_event where action = 'OPERATOR_LOGIN_FAIL'")
    assert {row["target"] for row in rows} == {
        "operator:ada@example.com", "operator:unknown", "operator:off@example.com", "operator:sso@example.com",
    }  # fmt: skip


async def test_tries_are_limited_for_each_account_and_nobody_elsewhere_can_lock_an_operator_out(
    app: Quart, operator: Operator, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, password = await made(operator)
    assert (await log_in(app, "ada@example.com", password))[0] == 200  # this address is known now

    async def from_elsewhere(number: int) -> int:
        client = LoginClient(f"192.0.2.{number}", None, "r")
        try:
            await log_in_operator(
                services.pool, services.passwords, "ada@example.com", "guess", None, client,
                section=services.operators, secrets=services.secrets,
            )  # fmt: skip
        except RateLimited:
            return 429
        except Unauthenticated:
            return 401
        return 200

    monkeypatch.setattr(operator_passwords, "MAX_WAITING", 100)
    answers = await asyncio.gather(*(from_elsewhere(number) for number in range(25)))
    assert sorted(answers) == [401] * 9 + [429] * 16  # the login above was the first of ten
    assert (await log_in(app, "ada@example.com", password))[0] == 200


async def test_many_logins_at_once_are_refused_and_not_queued_without_end(
    app: Quart, operator: Operator, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(operator)
    monkeypatch.setattr(services.passwords, "hasher", PasswordHasher())  # slow enough to wait for
    monkeypatch.setattr(operator_passwords, "MAX_WAITING", 3)
    answers = await asyncio.gather(*(log_in(app, "ada@example.com", "guess") for _ in range(8)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {401, 503}
    assert services.passwords.waiting == 0


async def test_a_client_that_leaves_does_not_free_a_place_that_is_still_used(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    class Slow(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            may_end.wait(60)
            return super().verify(hash, password)

    monkeypatch.setattr(services.passwords, "hasher", Slow())
    task = asyncio.ensure_future(services.passwords.verify(None, "x"))
    await asyncio.sleep(0)
    assert services.passwords.waiting == 1
    task.cancel()
    await asyncio.wait([task])
    assert services.passwords.waiting == 1  # the thread still computes
    may_end.set()
    while services.passwords.waiting:
        await asyncio.sleep(0.01)
    assert await services.passwords.verify(None, "x") is False


async def test_changing_the_password_ends_all_other_sessions_and_needs_the_current_one(
    app: Quart, operator: Operator
) -> None:
    _, password = await made(operator)
    first, second = [await logged_in(app, "ada@example.com", password) for _ in range(2)]
    status, body = await first.ask(
        "POST", "admin-password", {"current_password": "wrong", "password": "a new password"}
    )
    assert (status, body["code"]) == (403, "FORBIDDEN")
    status, body = await first.ask("POST", "admin-password", {"current_password": password, "password": "short"})
    assert (status, body["field"]) == (422, "password")
    await first.send("POST", "admin-password", {"current_password": password, "password": "a new password"})
    assert (await first.ask("GET", "admin-session-check"))[0] == 200
    assert (await second.ask("GET", "admin-session-check"))[0] == 401
    assert (await log_in(app, "ada@example.com", password))[0] == 401
    assert (await log_in(app, "ada@example.com", "a new password"))[0] == 200


async def test_a_login_with_a_password_that_was_changed_meanwhile_begins_no_session(
    app: Quart, operator: Operator, services: Services, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, password = await made(operator)
    verify = services.passwords.verify

    async def slow(stored: str | None, given: str) -> bool:
        is_right = await verify(stored, given)
        await pool.execute("update kaixu.operator set password_hash = 'another' where id = $1", number)
        return is_right

    monkeypatch.setattr(services.passwords, "verify", slow)
    assert (await log_in(app, "ada@example.com", password))[0] == 401
    assert await pool.fetchval("select count(*) from kaixu.operator_session where operator_id = $1", number) == 0


async def test_no_session_outlives_what_ends_sessions_at_the_same_moment(
    app: Quart, operator: Operator, services: Services, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaixu.accounts.operator_login.PER_ADDRESS", 1000)
    number, password = await made(operator)
    await made(operator, "owner@example.com")
    for round_ in range(6):
        change: Any = {"operator_id": number, "is_disabled": True}
        method = "PATCH"
        if round_ % 2:
            change, method = {"operator_id": number, "reset": "password"}, "PUT"

        async def interrupt(method: str = method, change: Any = change, wait_s: float = 0.02 * round_) -> Any:
            await asyncio.sleep(wait_s)  # the moment is the subject
            return await operator.send(method, "admin-operators", change)

        logins = [log_in(app, "ada@example.com", password) for _ in range(4)]
        *answers, changed = await asyncio.gather(*logins, interrupt())
        for status, body in answers:
            if status == 200:
                client = Operator(app, authorization=f"Bearer {body['token']}")
                assert (await client.ask("GET", "admin-session-check"))[0] == 401
        assert await pool.fetchval("select count(*) from kaixu.operator_session where operator_id = $1 and revoked_at is null", number) == 0  # fmt: skip
        await operator.send("PATCH", "admin-operators", {"operator_id": number, "is_disabled": False})
        password = changed.get("password") or password


async def test_a_second_factor_is_asked_for_once_it_is_confirmed(app: Quart, operator: Operator) -> None:
    inside, password, secret, confirmed = await with_totp(app, operator)
    assert len(set(confirmed["recovery_codes"])) == 10
    status, body = await log_in(app, "ada@example.com", password)
    assert (status, body["code"]) == (401, "TOTP_REQUIRED")
    status, body = await log_in(app, "ada@example.com", "wrong", code="000000")
    assert (status, body["error"]) == (401, "Invalid credentials")  # the password comes first
    await logged_in(app, "ada@example.com", password, totp=next_code(secret))
    assert (await inside.get("admin-session-check"))["operator"]["has_totp"] is True


async def test_a_code_is_taken_once_also_when_it_comes_from_everywhere_at_once(
    app: Quart, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, password, secret, _ = await with_totp(app, operator)
    monkeypatch.setattr("kaixu.accounts.operator_factors.MOST_TRIES", 100)
    code = next_code(secret)
    answers = await asyncio.gather(*(log_in(app, "ada@example.com", password, code=code) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200, 401, 401, 401, 401, 401]
    assert (await log_in(app, "ada@example.com", password, code=code))[0] == 401
    earlier = pyotp.TOTP(secret).now()
    assert (await log_in(app, "ada@example.com", password, code=earlier))[0] == 401  # older than the one that was taken


async def test_the_code_that_confirmed_the_second_factor_is_no_login(app: Quart, operator: Operator) -> None:
    _, password = await made(operator)
    inside = await logged_in(app, "ada@example.com", password)
    status, missing = await inside.ask("POST", "admin-totp")
    assert (status, missing["error"]) == (400, "`password` is missing")
    offered = await inside.send("POST", "admin-totp", {"password": password})
    code = pyotp.TOTP(offered["secret"]).now()
    await inside.send("PUT", "admin-totp", {"code": code})
    assert (await log_in(app, "ada@example.com", password, code=code))[0] == 401


async def test_a_recovery_code_is_taken_once(
    app: Quart, operator: Operator, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, password, _, confirmed = await with_totp(app, operator)
    monkeypatch.setattr("kaixu.accounts.operator_factors.MOST_TRIES", 100)
    code = confirmed["recovery_codes"][3]
    answers = await asyncio.gather(
        *(log_in(app, "ada@example.com", password, code=code.upper().replace("-", " ")) for _ in range(5))
    )
    assert sorted(status for status, _ in answers) == [200, 401, 401, 401, 401]
    stored = await pool.fetch("select code_hash from kaixu.operator_recovery_code")
    assert all(code.encode() not in row["code_hash"] for row in stored)
    used = await pool.fetchval("select meta ->> 'second_factor' from kaixu.audit_event where action = 'OPERATOR_LOGIN_OK' order by id desc limit 1")  # fmt: skip
    assert used == "recovery_code"


async def test_codes_cannot_be_tried_without_end(app: Quart, operator: Operator) -> None:
    _, password, secret, _ = await with_totp(app, operator)
    answers = [await log_in(app, "ada@example.com", password, code=f"{number:06}") for number in range(6)]
    assert {status for status, _ in answers[:4]} == {401}
    assert answers[-1][0] == 429
    status, body = await log_in(app, "ada@example.com", password, code=next_code(secret))
    assert (status, body["code"]) == (429, "RATE_LIMITED")


async def test_the_second_factor_changes_only_with_the_password_and_is_stored_sealed(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    inside, password, secret, _ = await with_totp(app, operator)
    sealed = await pool.fetchval("select totp_secret from kaixu.operator where email = 'ada@example.com'")
    assert secret.encode() not in sealed
    for method in ("POST", "DELETE"):
        status, body = await inside.ask(method, "admin-totp", {"password": "wrong"})
        assert (status, body["code"]) == (403, "FORBIDDEN")
    await inside.send("DELETE", "admin-totp", {"password": password})
    assert (await log_in(app, "ada@example.com", password))[0] == 200


async def test_an_owner_resets_a_lost_second_factor(app: Quart, operator: Operator, pool: asyncpg.Pool) -> None:
    _, password, _, _ = await with_totp(app, operator)
    number = await pool.fetchval("select id from kaixu.operator")
    body = await operator.send("PUT", "admin-operators", {"operator_id": number, "reset": "totp"})
    assert body["operator"]["has_totp"] is False
    assert (await log_in(app, "ada@example.com", password))[0] == 200
    body = await operator.send("PUT", "admin-operators", {"operator_id": number, "reset": "password"})
    assert (await log_in(app, "ada@example.com", password))[0] == 401
    assert (await log_in(app, "ada@example.com", body["password"]))[0] == 200


async def test_an_operator_who_is_switched_off_is_out_at_once_with_its_tokens(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    number, password = await made(operator, role="operator")
    inside = await logged_in(app, "ada@example.com", password)
    body = await inside.send("POST", "admin-tokens", {"name": "deploy", "scopes": ["read", "keys"]})
    token = Operator(app, authorization=f"Bearer {body['token']['token']}")
    assert (await token.ask("GET", "admin-customers"))[0] == 200
    await operator.send("PATCH", "admin-operators", {"operator_id": number, "is_disabled": True})
    for gone in (inside, token):
        assert (await gone.ask("GET", "admin-customers"))[0] == 401
    await operator.send("PATCH", "admin-operators", {"operator_id": number, "is_disabled": False})
    assert (await inside.ask("GET", "admin-customers"))[0] == 401  # its session was ended
    assert (await token.ask("GET", "admin-customers"))[0] == 200


async def test_another_role_counts_from_the_next_request_on_also_for_tokens(app: Quart, operator: Operator) -> None:
    number, password = await made(operator, role="operator")
    inside = await logged_in(app, "ada@example.com", password)
    body = await inside.send("POST", "admin-tokens", {"name": "deploy", "scopes": "all"})
    token = Operator(app, authorization=f"Bearer {body['token']['token']}")
    assert (await token.ask("POST", "admin-customers", {"email": "a@example.com"}))[0] == 200
    await operator.send("PATCH", "admin-operators", {"operator_id": number, "role": "viewer"})
    for one in (inside, token):
        status, reply = await one.ask("POST", "admin-customers", {"email": "b@example.com"})
        assert (status, reply["code"]) == (403, "FORBIDDEN")
        assert (await one.ask("GET", "admin-customers"))[0] == 200


async def test_the_last_owner_stays_one_also_when_two_remove_each_other_at_once(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    first, second = (await made(operator))[0], (await made(operator, "bob@example.com"))[0]
    answers = await asyncio.gather(
        *(operator.ask("PATCH", "admin-operators", {"operator_id": one, "role": "viewer"}) for one in (first, second))
    )
    assert sorted(status for status, _ in answers) == [200, 409]
    assert await pool.fetchval("select count(*) from kaixu.operator where role = 'owner'") == 1
    [left] = [row["id"] for row in await pool.fetch("select id from kaixu.operator where role = 'owner'")]
    status, body = await operator.ask("PATCH", "admin-operators", {"operator_id": left, "is_disabled": True})
    assert (status, body["code"]) == (409, "LAST_OWNER")


async def test_a_login_rotates_the_session_that_the_client_had(app: Quart, operator: Operator) -> None:
    _, password = await made(operator)
    first = await logged_in(app, "ada@example.com", password)
    body = await first.send("POST", "admin-login", {"email": "ada@example.com", "password": password})
    assert (await first.ask("GET", "admin-session-check"))[0] == 401
    assert (await Operator(app, authorization=f"Bearer {body['token']}").ask("GET", "admin-session-check"))[0] == 200


async def test_a_session_id_that_a_stranger_chose_never_becomes_a_session(
    app: Quart, operator: Operator, services: Services, pool: asyncpg.Pool
) -> None:
    planted = make_admin_token(services.secrets.jwt_secret, "planted")
    victim = Operator(app, authorization=f"Bearer {planted}", cookie=f"__Host-kaixu-session={planted}")
    body = await victim.send("POST", "admin-login", {"password": services.secrets.admin_password})
    assert body["token"] != planted
    assert (await victim.ask("GET", "admin-session-check"))[0] == 401


async def test_logout_ends_the_session_and_the_token_is_worth_nothing(app: Quart, services: Services) -> None:
    body = await Operator(app).send("POST", "admin-login", {"password": services.secrets.admin_password})
    inside = Operator(app, authorization=f"Bearer {body['token']}")
    response = await app.test_client().post("/api/admin-logout", headers=inside.headers)
    assert (response.status_code, response.headers["set-cookie"].startswith("__Host-kaixu-session=;")) == (200, True)
    assert (await inside.ask("GET", "admin-session-check"))[0] == 401


async def test_sessions_are_listed_and_revoked_one_by_one_or_all_others(app: Quart, operator: Operator) -> None:
    number, password = await made(operator, role="viewer")
    first, second, third = [await logged_in(app, "ada@example.com", password) for _ in range(3)]
    listed = (await first.get("admin-sessions"))["sessions"]
    assert [one["is_current"] for one in listed] == [False, False, True]
    assert {one["email"] for one in listed} == {"ada@example.com"}
    await first.send("DELETE", f"admin-sessions?session_id={listed[0]['id']}")
    assert (await third.ask("GET", "admin-session-check"))[0] == 401
    assert len((await first.send("DELETE", "admin-sessions?others=true"))["revoked"]) == 1
    assert (await second.ask("GET", "admin-session-check"))[0] == 401
    assert (await first.ask("GET", "admin-session-check"))[0] == 200
    status, body = await first.ask("DELETE", "admin-sessions", {"operator_id": number + 1})
    assert (status, body["code"]) == (403, "FORBIDDEN")
    everybodys = (await operator.get("admin-sessions?ended=true"))["sessions"]
    assert {one["email"] for one in everybodys} == {"ada@example.com", None}
    assert (await operator.send("DELETE", "admin-sessions", {"operator_id": number}))["revoked"] != []
    assert (await first.ask("GET", "admin-session-check"))[0] == 401


async def test_nobody_ends_or_sees_another_operator_s_sessions_and_tokens_but_owners(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    _, others = await operator_with_role(pool, "operator", "other@example.com")
    other = Operator(app, **others)
    token_id = (await other.send("POST", "admin-tokens", {"name": "theirs", "scopes": "read"}))["token"]["id"]
    session_id = (await other.get("admin-sessions"))["sessions"][0]["id"]
    _, mine = await operator_with_role(pool, "operator")
    me = Operator(app, **mine)
    assert (await me.ask("DELETE", f"admin-tokens?token_id={token_id}"))[0] == 404
    assert (await me.ask("DELETE", f"admin-sessions?session_id={session_id}"))[0] == 404
    assert (await me.get("admin-tokens"))["tokens"] == []
    assert len((await me.get("admin-sessions"))["sessions"]) == 1
    assert (await other.ask("GET", "admin-session-check"))[0] == 200
    await operator.send("DELETE", f"admin-tokens?token_id={token_id}")


async def test_the_admin_password_can_be_switched_off_and_its_sessions_end(
    app: Quart, services: Services, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, password = await made(operator)
    ada = await logged_in(app, "ada@example.com", password)
    services.current.operators = OperatorsSection(admin_password=False)
    assert (await operator.ask("GET", "admin-session-check"))[0] == 401
    status, body = await Operator(app).ask("POST", "admin-login", {"password": services.secrets.admin_password})
    assert (status, body["code"]) == (403, "FORBIDDEN")
    services.settings = services.settings.model_copy(update={"admin_password_header": True})
    by_header = Operator(app, **{"x-admin-password": services.secrets.admin_password})
    assert (await by_header.ask("GET", "admin-session-check"))[0] == 401
    assert (await ada.ask("GET", "admin-session-check"))[0] == 200
    services.current.operators = OperatorsSection()
    services.settings = services.settings.model_copy(update={"admin_password_login": False})
    assert (await operator.ask("GET", "admin-session-check"))[0] == 401


async def test_another_admin_password_ends_the_sessions_of_the_one_before(
    app: Quart, services: Services, operator: Operator
) -> None:
    assert (await operator.ask("GET", "admin-session-check"))[0] == 200
    services.secrets = replace(services.secrets, admin_password="another password for operators")
    assert (await operator.ask("GET", "admin-session-check"))[0] == 401


async def test_the_older_edition_s_switch_refuses_the_header(app: Quart, services: Services) -> None:
    services.settings = services.settings.model_copy(
        update={"admin_password_header": True, "disable_admin_password_header": True}
    )
    by_header = Operator(app, **{"x-admin-password": services.secrets.admin_password})
    assert (await by_header.ask("GET", "admin-session-check"))[0] == 401


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: t + "A", lambda t: t.upper()]
)
async def test_a_token_works_only_whole(app: Quart, pool: asyncpg.Pool, spoil: Callable[[str], str]) -> None:
    token = await token_with_scopes(pool, "read")
    assert (await Operator(app, authorization=f"Bearer {token}").ask("GET", "admin-customers"))[0] == 200
    assert (await Operator(app, authorization=f"Bearer {spoil(token)}").ask("GET", "admin-customers"))[0] == 401


async def test_a_token_is_shown_once_and_only_its_hash_is_stored(operator: Operator, pool: asyncpg.Pool) -> None:
    made_token = (await operator.send("POST", "admin-tokens", {"name": "report", "scopes": "read"}))["token"]
    [row] = await pool.fetch("select * from kaixu.operator_token")
    assert made_token["token"] not in str(dict(row))
    assert made_token["token"] not in str(await pool.fetch("select * from kaixu.audit_event"))
    listed = (await operator.get("admin-tokens"))["tokens"]
    assert "token" not in listed[0]
    assert (listed[0]["last4"], listed[0]["last_used_at"]) == (made_token["token"][-4:], None)
    status, body = await operator.ask("POST", "admin-tokens", {"name": "report", "scopes": "read"})
    assert (status, body["code"]) == (409, "CONFLICT")


async def test_a_token_ends_when_it_is_revoked_or_expires_and_its_last_use_is_noted(
    app: Quart, operator: Operator, pool: asyncpg.Pool
) -> None:
    new = (await operator.send("POST", "admin-tokens", {"name": "a", "scopes": "read", "expires_in_days": 1}))["token"]
    script = Operator(app, authorization=f"Bearer {new['token']}")
    assert (await script.ask("GET", "admin-customers"))[0] == 200
    [row] = (await operator.get("admin-tokens"))["tokens"]
    assert row["last_used_at"] is not None
    await pool.execute("update kaixu.operator_token set expires_at = now()")
    assert (await script.ask("GET", "admin-customers"))[0] == 401
    await pool.execute("update kaixu.operator_token set expires_at = now() + interval '1 day'")
    await operator.send("DELETE", f"admin-tokens?token_id={new['id']}")
    assert (await script.ask("GET", "admin-customers"))[0] == 401
    assert (await operator.ask("DELETE", f"admin-tokens?token_id={new['id']}"))[0] == 404


async def test_a_token_makes_no_token_that_may_more_than_itself(app: Quart, pool: asyncpg.Pool) -> None:
    token = await token_with_scopes(pool, "operators", "read")
    script = Operator(app, authorization=f"Bearer {token}")
    assert (await script.ask("POST", "admin-tokens", {"name": "a", "scopes": "read"}))[0] == 200
    for scopes in ("all", "money", ["read", "keys"]):
        status, body = await script.ask("POST", "admin-tokens", {"name": "b", "scopes": scopes})
        assert (status, body["code"]) == (403, "FORBIDDEN")
    _, headers = await operator_with_role(pool, "operator")
    status, body = await Operator(app, **headers).ask("POST", "admin-tokens", {"name": "c", "scopes": "operators"})
    assert (status, body["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("POST", "admin-operators", {}, 422),
        ("POST", "admin-operators", {"email": "x"}, 422),
        ("POST", "admin-operators", {"email": "a@example.com", "role": "king"}, 422),
        ("POST", "admin-operators", {"email": "a@example.com", "rôle": "owner"}, 400),
        ("POST", "admin-operators", {"email": "a@example.com", "password": "short"}, 422),
        ("POST", "admin-operators", {"email": "a@example.com", "password": "x" * 1001}, 422),
        ("POST", "admin-operators", {"email": "a@example.com", "password": 7}, 422),
        ("PATCH", "admin-operators", {}, 400),
        ("PATCH", "admin-operators", {"operator_id": "x"}, 422),
        ("PATCH", "admin-operators", {"operator_id": 999}, 422),
        ("PATCH", "admin-operators", {"operator_id": 999, "role": "viewer"}, 404),
        ("PATCH", "admin-operators", {"operator_id": 999, "role": None}, 422),
        ("PUT", "admin-operators", {"operator_id": 999}, 422),
        ("PUT", "admin-operators", {"operator_id": 999, "reset": "all"}, 422),
        ("PUT", "admin-operators", {"operator_id": 999, "reset": "password"}, 404),
        ("PUT", "admin-operators", {"operator_id": 999, "reset": "totp"}, 404),
        ("GET", "admin-sessions?operator_id=x", None, 422),
        ("GET", "admin-sessions?limit=0", None, 422),
        ("DELETE", "admin-sessions", None, 400),
        ("DELETE", "admin-sessions?others=true", None, 400),
        ("DELETE", "admin-sessions?session_id=999", None, 404),
        ("DELETE", "admin-sessions?session_id=99999999999999999999999", None, 422),
        ("POST", "admin-tokens", {}, 422),
        ("POST", "admin-tokens", {"name": "a"}, 422),
        ("POST", "admin-tokens", {"name": "a", "scopes": []}, 422),
        ("POST", "admin-tokens", {"name": "a", "scopes": "everything"}, 422),
        ("POST", "admin-tokens", {"name": "a", "scopes": ["read"] * 50}, 422),
        ("POST", "admin-tokens", {"name": "a", "scopes": 7}, 422),
        ("POST", "admin-tokens", {"name": "a" * 81, "scopes": "read"}, 422),
        ("POST", "admin-tokens", {"name": "a", "scopes": "read", "expires_in_days": 0}, 422),
        ("POST", "admin-tokens", {"name": "a", "scopes": "read", "expires_in_days": 9999}, 422),
        ("DELETE", "admin-tokens", None, 400),
        ("DELETE", "admin-tokens?token_id=999", None, 404),
        ("POST", "admin-password", {"current_password": "x", "password": "long enough pass"}, 409),
        ("POST", "admin-totp", {}, 409),
        ("PUT", "admin-totp", {"code": "1"}, 409),
        ("GET", "admin-audit?limit=0", None, 422),
        ("GET", "admin-audit?cursor=x", None, 422),
        ("GET", "admin-audit?since=yesterday", None, 422),
        ("GET", "admin-audit?format=pdf", None, 422),
        ("GET", "admin-audit?customer_id=-1", None, 422),
    ],
)
async def test_nonsense_is_refused_in_words(operator: Operator, method: str, name: str, body: Any, status: int) -> None:
    got, reply = await operator.ask(method, name, body)
    assert (got, bool(reply["error"])) == (status, True), reply


@pytest.mark.parametrize(
    "body",
    [
        {"email": "ada@example.com", "password": "x", "code": 123456},
        {"email": "ada@example.com", "password": "x", "code": "1" * 41},
        {"email": "ada", "password": "x"},
        {"email": 7, "password": "x"},
        {"email": "ada@example.com", "password": "x", "role": "owner"},
    ],
)
async def test_a_login_with_nonsense_is_refused_in_words_and_is_no_try(
    stranger: Operator, pool: asyncpg.Pool, body: Any
) -> None:
    status, reply = await stranger.ask("POST", "admin-login", body)
    assert (status in (400, 422), bool(reply["error"])) == (True, True)
    assert await pool.fetchval("select count(*) from kaixu.audit_event") == 0


async def test_two_at_once_with_one_address_make_one_operator(operator: Operator) -> None:
    new = {"email": "ada@example.com", "role": "viewer"}
    answers = await asyncio.gather(*(operator.ask("POST", "admin-operators", new) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]


async def test_no_secret_is_in_the_audit_log(app: Quart, operator: Operator, pool: asyncpg.Pool) -> None:
    inside, password, secret, confirmed = await with_totp(app, operator)
    await inside.send("POST", "admin-password", {"current_password": password, "password": "another long password"})
    log = msgspec.json.encode([dict(row) for row in await pool.fetch("select * from kaixu.audit_event")]).decode()
    hashed = await pool.fetchval("select password_hash from kaixu.operator")
    for one in (password, "another long password", secret, hashed, *confirmed["recovery_codes"]):
        assert one not in log
