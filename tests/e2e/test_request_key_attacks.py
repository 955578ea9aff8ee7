"""Attacks on `request-key`, on three processes: no key of an existing customer moves, and every limit is exact."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.money import customer, virtual_key
from tests.support.process import Process
from tests.support.size import size
from tests.support.smtp import Mailbox, smtp_server

GATEWAY = "https://ai.example.com"
TOKEN = re.compile(r"/request-key/link\?token=([A-Za-z0-9_-]{43})")
RACE = 50

CONFIG = """
lanes: {{}}
mail: {{host: 127.0.0.1, port: {port}, tls: none, from: gateway@example.com}}
selfservice: {{{selfservice}}}
"""


MakeStage = Callable[..., Awaitable["Stage"]]


class Stage:
    """Three gateways with mail."""

    def __init__(self, processes: list[Process], mailbox: Mailbox, http: aiohttp.ClientSession) -> None:
        self.processes = processes
        self.mailbox = mailbox
        self.http = http

    async def ask(self, at: int, email: str, address: str = "192.0.2.1") -> tuple[int, dict[str, Any]]:
        """A request at one of the processes, from a client's address."""
        url = f"{self.processes[at % 3].url}/api/request-key"
        async with self.http.post(url, json={"email": email}, headers={"x-forwarded-for": address}) as response:
            return response.status, await response.json()

    async def press(self, at: int, token: str) -> tuple[int, str]:
        """The button of a link."""
        url = f"{self.processes[at % 3].url}/request-key/link"
        async with self.http.post(url, data={"token": token}) as response:
            return response.status, await response.text()

    async def tokens(self, count: int) -> list[str]:
        """The tokens of the mails, once there are `count`."""
        async with asyncio.timeout(60):
            while len(self.mailbox.messages) < count:
                await asyncio.sleep(0.05)
        found = []
        for message in self.mailbox.messages:
            body = message.get_body(("plain",))
            assert body is not None
            match = TOKEN.search(body.get_content())
            assert match is not None
            found.append(match[1])
        return found


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with smtp_server() as server:
        yield server


@pytest.fixture
async def stage_of(dsn: str, mailbox: Mailbox, http: aiohttp.ClientSession, tmp_path: Path) -> AsyncIterator[MakeStage]:
    running: list[Process] = []

    async def make(selfservice: str = "") -> Stage:
        config = CONFIG.format(port=mailbox.port, selfservice=selfservice)
        environment = {"GATEWAY_URL": GATEWAY, "KAIXU_TRUSTED_PROXIES": "127.0.0.1"}
        running.extend(Process(tmp_path / f"gateway{at}", dsn, config, **environment) for at in range(3))
        for process in running:
            await process.start()
        return Stage(running, mailbox, http)

    yield make
    for process in running:
        await process.stop()


async def customer_of(pool: asyncpg.Pool, email: str) -> int:
    """A customer that an operator has made."""
    known = await customer(pool)
    await pool.execute("update kaixu.customer set email = $2 where id = $1", known, email)
    return known


async def key_rows(pool: asyncpg.Pool) -> list[str]:
    """Every key and customer, byte for byte."""
    return [
        row["text"]
        for row in await pool.fetch(
            """
            select k::text as text from kaixu.virtual_key k
            union all
            select c::text from kaixu.customer c
            order by 1
            """
        )
    ]


async def test_a_race_for_a_known_address_moves_nothing(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    stage = await stage_of()
    known = await customer_of(pool, "ada@example.com")
    for _ in range(3):
        await virtual_key(pool, known)
    before = await key_rows(pool)
    spellings = ["ada@example.com", "ADA@example.com", "ada@EXAMPLE.com", " ada@example.com"]
    replies = await asyncio.gather(*(stage.ask(n, spellings[n % len(spellings)], f"192.0.2.{n}") for n in range(RACE)))
    # The three keys of the last hour count: two links are left of five.
    assert Counter(status for status, _ in replies) == {409: 2, 429: RACE - 2}
    assert not [reply for _, reply in replies if "key" in reply]
    tokens = await stage.tokens(2)
    assert await key_rows(pool) == before
    # Both links, each pressed by everybody at once: one key comes of it.
    pressed = await asyncio.gather(*(stage.press(n, tokens[n % 2]) for n in range(RACE)))
    assert Counter(status for status, _ in pressed) == {200: 1, 409: RACE - 1}
    after = await key_rows(pool)
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


async def test_a_race_for_a_new_address_makes_one_customer_and_one_key(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    stage = await stage_of()
    spellings = ["ada@example.com", "Ada@example.com", "ada+x@example.com", "ａda@example.com"]
    replies = await asyncio.gather(*(stage.ask(n, spellings[n % len(spellings)], f"192.0.2.{n}") for n in range(RACE)))
    assert Counter(status for status, _ in replies) == {200: 1, 409: 4, 429: RACE - 5}
    [key] = [reply["key"] for _, reply in replies if "key" in reply]
    assert await pool.fetchval("select count(*) from kaixu.customer") == 1
    assert await pool.fetchval("select array_agg(key_last4) from kaixu.virtual_key") == [key[-4:]]


async def test_an_operator_who_makes_the_customer_meanwhile_keeps_it(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    """Whoever is first: either self-service made the customer, or the operator's one gets a link and no key."""
    stage = await stage_of()
    first = stage.processes[0]
    async with stage.http.post(
        f"{first.url}/api/admin-login", json={"password": first.environment["ADMIN_PASSWORD"]}
    ) as response:
        token = (await response.json())["token"]

    async def make(n: int) -> int:
        async with stage.http.post(
            f"{stage.processes[n % 3].url}/api/admin-customers",
            json={"email": f"u{n}@example.com"},
            headers={"authorization": f"Bearer {token}"},
        ) as response:
            return response.status

    made, asked = [], []
    for n in range(size(8, 60)):
        status, (reply, body) = await asyncio.gather(make(n), stage.ask(n, f"u{n}@example.com", f"198.51.100.{n}"))
        made.append(status)
        asked.append(reply)
        assert (status, reply) in {(200, 409), (409, 200)}, body
    rows = await pool.fetch("select email, count(*) as count from kaixu.customer group by email")
    assert {row["count"] for row in rows} == {1}


async def test_a_thousand_addresses_from_one_network(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    stage = await stage_of("per_network: 20")
    count = size(200, 1000)
    limit = asyncio.Semaphore(RACE)

    async def ask(n: int) -> int:
        async with limit:
            status, _ = await stage.ask(n, f"user{n}@host{n % 7}.example.com", f"2001:db8:1:2:{n:x}::{n:x}")
            return status

    statuses = Counter(await asyncio.gather(*(ask(n) for n in range(count))))
    assert statuses == {200: 20, 429: count - 20}
    assert await pool.fetchval("select count(*) from kaixu.virtual_key") == 20
    # Another network is not touched by it.
    assert (await stage.ask(0, "somebody@example.com", "2001:db8:1:3::1"))[0] == 200


async def test_everybody_together_has_a_limit(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    stage = await stage_of("in_all: 30")
    replies = await asyncio.gather(
        *(stage.ask(n, f"user{n}@example.com", f"192.0.{n // 250}.{n % 250}") for n in range(80))
    )
    assert Counter(status for status, _ in replies) == {200: 30, 429: 50}
    assert await pool.fetchval("select count(*) from kaixu.customer") == 30


async def test_forged_addresses_do_not_help(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    """What a client writes into X-Forwarded-For stands left of what the proxy adds."""
    stage = await stage_of("per_network: 5")
    replies = await asyncio.gather(
        *(stage.ask(n, f"user{n}@example.com", f"10.9.8.{n}, 192.0.2.77") for n in range(RACE))
    )
    assert Counter(status for status, _ in replies) == {200: 5, 429: RACE - 5}


async def test_anything_at_once(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    """Requests, links and buttons of few mailboxes, mixed: never more than five keys and links for one of them."""
    stage = await stage_of("mode: email, per_address_a_day: 1000, per_network: 100000, per_network_a_day: 100000")
    chance = Random(15)
    known = await customer_of(pool, "m0@example.com")
    operators_key, _ = await virtual_key(pool, known)
    before = await pool.fetchval("select k::text from kaixu.virtual_key k where id = $1", operators_key)
    for _ in range(size(4, 20)):
        asks = [
            stage.ask(chance.randrange(3), f"m{n % 4}{chance.choice(['', '+a', '+b'])}@example.com", f"192.0.2.{n}")
            for n in range(24)
        ]
        known_tokens = await stage.tokens(0)
        presses = [
            stage.press(chance.randrange(3), chance.choice(known_tokens)) for _ in range(24 if known_tokens else 0)
        ]
        results = await asyncio.gather(*asks, *presses)
        assert {status for status, _ in results} <= {200, 409, 429}
    rows = await pool.fetch(
        """
        select mailbox, count(*) as counted, count(distinct customer_id) as customers,
               count(*) filter (where state = 'used') as keys
          from kaixu.key_request
         group by mailbox
        """
    )
    for row in rows:
        assert row["counted"] == 5
        # The operator's customer has the bare address; self-service may make one more for the same mailbox.
        assert row["customers"] <= (2 if row["mailbox"] == "m0@example.com" else 1)
    emails = await pool.fetch("select email from kaixu.customer where id <> $1", known)
    assert len({row["email"].replace("+a", "").replace("+b", "") for row in emails}) == len(emails)
    live = await pool.fetch(
        "select customer_id from kaixu.virtual_key where revoked_at is null and label = 'self-service'"
    )
    assert max(Counter(row["customer_id"] for row in live).values(), default=0) <= 1
    # The key that the operator made is as it was.
    assert await pool.fetchval("select k::text from kaixu.virtual_key k where id = $1", operators_key) == before


async def test_a_gateway_that_dies_between_request_and_mail_loses_no_link(
    stage_of: MakeStage, pool: asyncpg.Pool, mailbox: Mailbox
) -> None:
    stage = await stage_of("mode: email")
    statuses = [(await stage.ask(0, f"user{n}@example.com"))[0] for n in range(5)]
    stage.processes[0].kill()
    assert statuses == [409] * 5
    # What the dead one had claimed is due again when its lease is over.
    await pool.execute("update kaixu.mail set next_attempt_at = now() where state = 'waiting'")
    tokens = await stage.tokens(5)
    assert (await stage.press(1, tokens[0]))[0] == 200


async def test_a_gateway_that_is_killed_leaves_whole_accounts_or_none(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    stage = await stage_of("per_network: 100000, per_network_a_day: 100000, in_all: 100000")

    async def ask(n: int) -> int | None:
        try:
            return (await stage.ask(n, f"user{n}@example.com"))[0]
        except aiohttp.ClientError:
            return None

    asks = [asyncio.ensure_future(ask(n)) for n in range(size(90, 165))]
    async with asyncio.timeout(30):
        while not await pool.fetchval("select exists (select from kaixu.key_request)"):
            await asyncio.sleep(0.001)
    stage.processes[0].kill()
    statuses = Counter(await asyncio.gather(*asks))
    assert set(statuses) <= {200, None}
    rows = await pool.fetchrow(
        """
        select (select count(*) from kaixu.key_request where state = 'issued' and key_id is not null) as requests,
               (select count(*) from kaixu.key_request) as all_requests,
               (select count(*) from kaixu.customer) as customers,
               (select count(*) from kaixu.virtual_key) as keys,
               (select count(*) from kaixu.selfservice_account) as accounts,
               (select count(*) from kaixu.audit_event where action = 'KEY_CREATE') as audited
        """
    )
    assert rows is not None
    assert len({*rows.values()}) == 1, dict(rows)
    assert statuses[200] <= rows["keys"]


async def test_nonsense_is_refused_and_counts_nothing(stage_of: MakeStage, pool: asyncpg.Pool) -> None:
    stage = await stage_of()
    chance = Random(15)
    alphabet = "a@.+\"'<>()[]\\,;: \t\r\n\0%x-_é😀\u202e\ufeffＡ。ß"

    async def post(path: str, data: bytes) -> int:
        async with stage.http.post(f"{stage.processes[chance.randrange(3)].url}{path}", data=data) as response:
            await response.read()
            return response.status

    statuses: Counter[int] = Counter()
    for _ in range(size(100, 3000)):
        text = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 40)))
        body = chance.choice(
            [json.dumps({"email": text}).encode(), text.encode(), json.dumps({"email": f"a@b.co{text}"}).encode()]
        )
        statuses[await post("/api/request-key", body)] += 1
        statuses[await post("/request-key/link", b"token=" + text.encode())] += 1
    assert not [status for status in statuses if status >= 500], statuses
    assert set(statuses) <= {200, 400, 404, 409, 429}
    assert await pool.fetchval("select count(*) from kaixu.virtual_key") == statuses[200]
