"""What integrations do for customers in their transactions: mails, settings, secrets, charges, jobs and files.

Each is done with the transaction or not at all, for the call's customer or, where that is granted, for another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from kaixu.reports.reconcile import reconcile
from kaixu.store.pool import open_pool
from tests.support.money import customer, virtual_key
from tests.support.operators import admin_token
from tests.support.process import Process
from tests.support.smtp import smtp_server
from tests.vendors.stage import database, gateway

PLUGIN = """
import msgspec
from kaixu.plugin import (
    Again, Free, Integration, Job, Operation, Operator, PageLink, PerCall, Secret, Webhook, WebhookEvent,
    hookimpl,
)

class Step(msgspec.Struct):
    do: str
    args: list = []
    more: dict = {}

class Script(msgspec.Struct):
    steps: list[Step] = []
    id: str = ""

class Said(msgspec.Struct):
    results: list = []

class Settings(msgspec.Struct):
    auto: bool = True
    account: str | None = None
    sites: list[str] = []

async def one(call, db, step):
    args, more = step.args, step.more
    match step.do:
        case "fail":
            raise LookupError("on purpose")
        case "mail":
            if "link" in more:
                more = more | {"link": PageLink(*more["link"])}
            return await db.mail(*args, **more)
        case "put":
            return await call.secrets.put(*args)
        case "secret":
            found = await db.secret(*args, **more)
            return None if found is None else [len(found.value), found.version]
        case "clear own":
            return await call.secrets.clear(args[0], version=args[1])
        case "leak":
            secret = await db.secret(*args)
            return await db.mail("Your token", [f"It is {secret.value}."], key="leak")
        case "later":
            return str(await db.enqueue("{name}.later", Script(), **more))
        case "wake":
            return await db.wake("{name}.later", **more)
        case "job" | "cancel":
            from uuid import UUID
            view = await getattr(db, step.do)(UUID(args[0]), **more)
            return view.status
        case "kept":
            return [one.name for one in await db.kept(*args, **more)]
        case _:
            return await getattr(db, step.do)(*args, **more)

async def later(call):
    if call.attempt == 1 and not call.body.steps:
        raise Again(3600)
    return Said()

class Wrapped:
    def __init__(self, call, body):
        self._call, self.body = call, body
    def __getattr__(self, name):
        return getattr(self._call, name)

def verify(body, headers, options, now):
    return WebhookEvent(msgspec.json.decode(body, type=Script).id, "script")

async def put(call):
    async with call.db() as db:
        await db.keep(await call.upload.store(most_bytes=100), call.body.id, for_s=1000)
    return Said()

@hookimpl
def register_integrations(register):
    def make(name, grants, schema):
        free = Free("a test")
        return Integration(
            name,
            [
                Operation(f"{name}.run", run_of(name), Script, free, auth=Operator(customer=None), holds=["plan"]),
                Operation(f"{name}.about", run_of(name), Script, free, auth=Operator(), holds=["plan"]),
                Operation(f"{name}.own", run_of(name), Script, free, holds=["plan"]),
                Operation(f"{name}.put", put, Script, free, method="PUT", upload=True),
            ],
            jobs=[Job(f"{name}.later", later, Script, free)],
            webhooks=[Webhook("events", verify, event_of(name), types=("script",))],
            customer=Settings, unique=["account"], secrets=[Secret("token", title="A token")],
            charges=[PerCall("plan")], schema=schema, grants=grants,
        )
    register(make("agent", {"mail", "customers", "credit"}, "tables"))
    register(make("bare", {"mail", "customers", "credit"}, None))
    register(make("poor", set(), "tables"))

def run_of(name):
    async def named(call):
        return await run_as(name, call)
    return named

def event_of(name):
    async def named(call):
        await run_as(name, Wrapped(call, msgspec.json.decode(call.body.body, type=Script)))
    return named

async def run_as(name, call):
    async with call.db() as db:
        return Said([await one(call, Named(db, name), step) for step in call.body.steps])

class Named:
    def __init__(self, db, name):
        self._db, self._name = db, name
    def __getattr__(self, attribute):
        return getattr(self._db, attribute)
    async def enqueue(self, job, *args, **more):
        return await self._db.enqueue(job.replace("{name}", self._name), *args, **more)
    async def wake(self, job, **more):
        return await self._db.wake(job.replace("{name}", self._name), **more)
"""
TABLES = "create table seen (what text primary key);"
CONFIG = """
integrations:
  agent: {plugin: ./agent, price: {plan: 1}, grants: [mail, customers, credit]}
  bare: {plugin: ./agent, price: {plan: 1}, grants: [mail, customers, credit]}
  poor: {plugin: ./agent, price: {plan: 1}}
"""
TABLED = ("agent", "bare")


class House:
    """Runs steps in transactions of integrations of one gateway, and looks into its database."""

    def __init__(self, process: Process, http: aiohttp.ClientSession, pool: asyncpg.Pool) -> None:
        self.process = process
        self.http = http
        self.pool = pool

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {key or admin_token()}"}
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.request(method, f"{self.process.url}{path}", headers=headers, **sent) as answer:
            return answer.status, await answer.json()

    async def run(self, integration: str, *steps: Any, key: str | None = None, about: int | None = None) -> Any:
        """The results of steps in one transaction, or the refusal. Without a key an operator asks for it."""
        body: dict[str, Any] = {"steps": list(steps)}
        if about is not None:
            body["customer_id"] = about
        what = "own" if key is not None else "run" if about is None else "about"
        status, reply = await self.ask("POST", f"/v1/{integration}/{what}", body, key)
        return reply["results"] if status == 200 else (status, reply["code"])

    async def value(self, sql: str, *args: Any) -> Any:
        return await self.pool.fetchval(sql, *args)

    async def audited(self, customer_id: int) -> list[tuple[Any, ...]]:
        rows = await self.pool.fetch(
            "select action, actor, before, after, meta from kaixu.audit_event where customer_id = $1 order by id",
            customer_id,
        )
        return [tuple(row) for row in rows]

    async def settings(self, customer_id: int, integration: str) -> Any:
        return await self.value(
            "select settings from kaixu.integration_setting where customer_id = $1 and integration = $2",
            customer_id,
            integration,
        )


def step(do: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"do": do, "args": list(args), "more": more}


@pytest.fixture(scope="module")
def shared(server_dsn: str, pristine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("effects")
    (home / "agent" / "tables").mkdir(parents=True)
    (home / "agent" / "__init__.py").write_text(PLUGIN)
    (home / "agent" / "tables" / "0001_seen.sql").write_text(TABLES)
    with database(server_dsn, pristine) as dsn, gateway(home, dsn, CONFIG) as process:
        yield process


@pytest.fixture
async def house(shared: Process, http: aiohttp.ClientSession) -> AsyncIterator[House]:
    pool = await open_pool(shared.environment["DATABASE_URL"])
    yield House(shared, http, pool)
    await pool.close()


async def keyed(house: House) -> tuple[int, str]:
    customer_id = await customer(house.pool)
    return customer_id, (await virtual_key(house.pool, customer_id, role="owner"))[1]


HELLO = ("Your card was declined", ["Top-ups are off now.", "Please choose <another> card & try again."])


@pytest.mark.parametrize("integration", TABLED)
async def test_a_message_is_written_once_and_shown_in_the_dashboard_where_no_mail_is_sent(
    house: House, integration: str
) -> None:
    customer_id, key = await keyed(house)
    letter = step("mail", *HELLO, key=f"declined-{customer_id}", link=["Choose a card", "/gateway/dashboard"])
    assert await house.run(integration, letter, step("fail"), key=key) == (502, "INTEGRATION_FAILED")
    for _ in range(2):
        assert await house.run(integration, letter, key=key) == [None]
    status, own = await house.ask("GET", "/api/user-integrations", key=key)
    (message,) = own["messages"]
    assert status == 200
    assert message.pop("created_at").endswith("Z")
    assert message == {
        "integration": integration,
        "subject": HELLO[0],
        "paragraphs": HELLO[1],
        "link": {"text": "Choose a card", "url": "/gateway/dashboard"},
        "is_mailed": False,
    }
    assert await house.value("select count(*) from kaixu.mail where customer_id = $1", customer_id) == 0
    ((action, actor, _, _, meta),) = await house.audited(customer_id)
    assert (action, actor, meta["is_mailed"]) == ("INTEGRATION_MESSAGE", f"integration:{integration}", False)


async def test_mails_are_sent_where_the_gateway_sends_them(house: House) -> None:
    customer_id, key = await keyed(house)
    email = await house.value("select email from kaixu.customer where id = $1", customer_id)
    async with smtp_server() as mailbox:
        section = f"mail: {{host: 127.0.0.1, port: {mailbox.port}, tls: none, from: gateway@example.com}}\n"
        house.process.config.write_text(CONFIG + section)
        assert (await house.process.command("reload")).returncode == 0
        letter = step("mail", *HELLO, key="declined", link=["Choose a card", "https://pay.example.com/c?a=1&b=2"])
        elsewhere = step("mail", *HELLO, key="declined", customer_id=customer_id)
        try:
            for _ in range(2):
                assert await house.run("agent", letter, key=key) == [None]
            assert await house.run("agent", elsewhere) == [None]
            assert await house.run("bare", elsewhere) == [None]  # another integration's key
            await until(lambda: len(mailbox.messages) >= 2)
            # One integration mails a customer twenty times a day; the others are shown only.
            for at in range(2):
                letters = [step("mail", "More", ["Text"], key=f"more-{at}-{one}") for one in range(15)]
                assert await house.run("agent", *letters, key=key) == [None] * 15
        finally:
            house.process.config.write_text(CONFIG)
            assert (await house.process.command("reload")).returncode == 0
        count = "select count(*) from kaixu.integration_message where customer_id = $1 and integration = 'agent'"
        assert await house.value(f"{count} and is_mailed", customer_id) == 20
        assert await house.value(count, customer_id) == 31
    assert set(mailbox.recipients) == {email}
    assert {one["subject"] for one in mailbox.messages[:2]} == {HELLO[0]}
    bodies = [
        tuple(one.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
        for one in mailbox.messages[:2]
    ]
    ((text, html),) = [one for one in bodies if "`agent`" in one[0]]
    assert "Please choose <another> card & try again." in text
    assert "https://pay.example.com/c?a=1&b=2" in text
    assert "Please choose &lt;another&gt; card &amp; try again." in html
    assert '<a href="https://pay.example.com/c?a=1&amp;b=2">Choose a card</a>' in html
    assert "from the integration `agent`" in text


async def until(is_so: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        step("mail", "", ["Text"], key="k"),
        step("mail", "x" * 151, ["Text"], key="k"),
        step("mail", "Two\nlines", ["Text"], key="k"),
        step("mail", "Subject", [], key="k"),
        step("mail", "Subject", ["Text"] * 21, key="k"),
        step("mail", "Subject", ["x" * 2001], key="k"),
        step("mail", "Subject", "Text", key="k"),
        step("mail", "Subject", ["Text"], key=""),
        step("mail", "Subject", ["Text"], key="x" * 201),
        step("mail", "Subject", ["Text"], key="k", link=["Pay", "http://pay.example.com"]),
        step("mail", "Subject", ["Text"], key="k", link=["Pay", "//pay.example.com"]),
        step("mail", "Subject", ["Text"], key="k", link=["", "https://pay.example.com"]),
        step("mail", "Subject", ["Text"], key="k", customer_id=2**62),
        step("mail", "Subject", ["Text"], key="k", customer_id=-1),
        step("leak", "token"),
        step("change_settings", {"auto": "perhaps"}),
        step("change_settings", {"nothing": 1}),
        step("change_settings", {"auto": False}, customer_id=2**62),
        step("secret", "password"),
        step("clear_secret", "password"),
        step("wake", key="k", customer_id=0),
        step("hold", "plan", key="k", for_s=60, customer_id=2**62),
        step("charge", "other", key="k", customer_id=1),
    ],
    ids=lambda one: f"{one['do']}-{[*one['args'], *one['more'].values()]!r:.30}",
)
async def test_what_is_not_possible_is_refused_and_nothing_is_done(house: House, wrong: Any) -> None:
    customer_id, key = await keyed(house)
    assert await house.run("agent", step("put", "token", "token-of-the-vendor"), key=key) == [None]
    for integration in TABLED:
        before = await house.audited(customer_id)
        good = step("change_settings", {"sites": ["a"]})
        status, _ = await house.run(integration, good, wrong, key=key)
        assert status in (403, 404, 422, 502)
        assert await house.audited(customer_id) == before
        assert await house.settings(customer_id, integration) is None
    assert await house.value("select count(*) from kaixu.integration_message where customer_id = $1", customer_id) == 0


async def test_without_grants_only_the_own_customer_is_reached(house: House) -> None:
    customer_id, key = await keyed(house)
    other, _ = await keyed(house)
    assert await house.run("poor", step("change_settings", {"auto": False}), key=key) is not None
    assert await house.settings(customer_id, "poor") == {"auto": False}
    for refused in (
        step("mail", *HELLO, key="k"),
        step("settings", customer_id=other),
        step("change_settings", {"auto": False}, customer_id=other),
        step("secret", "token", customer_id=other),
        step("clear_secret", "token", customer_id=other),
        step("hold", "plan", key="k", for_s=60, customer_id=other),
        step("charge", "plan", key="k", customer_id=other),
        step("release", "plan", key="k", customer_id=other),
        step("drop", "", customer_id=other),
        step("kept", "", customer_id=other),
        step("later", customer_id=other),
        step("wake", key="k", customer_id=other),
        step("cancel", "00000000-0000-0000-0000-000000000007", customer_id=other),
    ):
        assert await house.run("poor", refused, key=key) == (502, "INTEGRATION_FAILED"), refused
        assert await house.run("poor", refused, about=customer_id) == (502, "INTEGRATION_FAILED"), refused
    # The customer that an operator's call is about needs no grant.
    assert await house.run("poor", step("change_settings", {"sites": ["b"]}), about=customer_id) is not None
    assert await house.settings(customer_id, "poor") == {"auto": False, "sites": ["b"]}


@pytest.mark.parametrize("integration", TABLED)
async def test_settings_are_changed_with_the_transaction(house: House, integration: str) -> None:
    customer_id, key = await keyed(house)
    other, _ = await keyed(house)
    results = await house.run(
        integration,
        step("change_settings", {"account": f"acct-{integration}"}),
        step("settings"),
        step("change_settings", {"auto": False}),
        step("change_settings", {"sites": ["a"]}, customer_id=other),
        key=key,
    )
    assert [one["account"] for one in results[:3]] == [f"acct-{integration}"] * 3
    assert [one["auto"] for one in results[:3]] == [True, True, False]
    assert await house.settings(customer_id, integration) == {"account": f"acct-{integration}", "auto": False}
    assert await house.settings(other, integration) == {"sites": ["a"]}
    assert [(action, before, after) for action, _, before, after, _ in await house.audited(customer_id)] == [
        ("INTEGRATION_SETTINGS", {"account": None}, {"account": f"acct-{integration}"}),
        ("INTEGRATION_SETTINGS", {"auto": True}, {"auto": False}),
    ]
    # What is so already changes nothing; a list that contains another one is not the same.
    assert await house.run(integration, step("change_settings", {"auto": False}), key=key) is not None
    assert len(await house.audited(customer_id)) == 2
    assert await house.run(integration, step("change_settings", {"sites": []}, customer_id=other)) is not None
    assert await house.settings(other, integration) == {"sites": []}
    # Another customer's unique value undoes everything.
    taken = step("change_settings", {"account": f"acct-{integration}"}, customer_id=other)
    undone = step("mail", *HELLO, key="undone", customer_id=other)
    assert await house.run(integration, undone, taken) == (409, "CONFLICT")
    assert await house.value("select count(*) from kaixu.integration_message where key = 'undone'") == 0
    # An operator's change has its name, and where it came from.
    assert await house.run(integration, step("change_settings", {"auto": True}), about=customer_id) is not None
    assert (await house.audited(customer_id))[-1][1] != f"integration:{integration}"


async def test_settings_that_were_changed_meanwhile_are_not_overwritten(house: House) -> None:
    customer_id, _ = await keyed(house)
    async with house.pool.acquire() as connection, connection.transaction():
        await connection.fetch("select from kaixu.customer where id = $1 for update", customer_id)
        waiting = asyncio.ensure_future(house.run("agent", step("change_settings", {"auto": False}), about=customer_id))
        async with asyncio.timeout(30):
            while not await house.value("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.05)
        await connection.fetch(
            "select * from kaixu.set_integration_settings(p_customer_id => $1, p_integration => 'agent',"
            " p_changes => $2, p_reset => '{}', p_unique => '{}')",
            customer_id,
            {"sites": ["new"]},
        )
    assert await waiting == (409, "CONFLICT")
    assert await house.settings(customer_id, "agent") == {"sites": ["new"]}


@pytest.mark.parametrize("integration", TABLED)
async def test_a_secret_is_cleared_only_if_it_is_still_that_one(house: House, integration: str) -> None:
    customer_id, key = await keyed(house)
    assert await house.run(integration, step("secret", "token"), key=key) == [None]
    versions = []
    for value in ("first-token", "second-token", "second-token"):
        await house.run(integration, step("put", "token", value), key=key)
        ((size, version),) = await house.run(integration, step("secret", "token", customer_id=customer_id))
        assert size == len(value)
        versions.append(version)
    assert len(set(versions)) == 3  # the same value again is another version
    first, _, last = versions
    assert await house.run(integration, step("clear own", "token", first), key=key) == [False]
    assert await house.run(integration, step("clear_secret", "token", version=first), key=key) == [None]
    assert await house.run(integration, step("secret", "token"), key=key) == [[12, last]]
    cleared = step("clear_secret", "token", version=last, customer_id=customer_id)
    assert await house.run(integration, cleared, step("fail")) == (502, "INTEGRATION_FAILED")
    assert await house.run(integration, cleared, cleared) == [None, None]
    assert await house.run(integration, step("secret", "token"), key=key) == [None]
    actions = [one[0] for one in await house.audited(customer_id)]
    assert actions.count("SECRET_CLEAR") == 1


@pytest.mark.parametrize("integration", TABLED)
async def test_charges_of_another_customer_are_billed_to_the_key_of_their_hold(house: House, integration: str) -> None:
    one, key = await keyed(house)
    two, other_key = await keyed(house)
    for name, whose in (("a", key), ("b", key), ("a", other_key)):
        assert await house.run(integration, step("hold", "plan", key=name, for_s=600), key=whose) == [None]
    await house.pool.execute("update kaixu.virtual_key set revoked_at = now() where customer_id = $1", one)
    # One transaction for two customers, whose rows are locked in order, with a credit in between.
    assert await house.run(
        integration,
        step("charge", "plan", key="a", customer_id=two),
        step("charge", "plan", key="a", customer_id=one),
        step("release", "plan", key="b", customer_id=one),
        step("credit", two, 10**9, key=f"credit-{integration}-{two}"),
        step("change_settings", {"auto": False}, customer_id=one),
    ) == [None, None, None, None, {"auto": False, "account": None, "sites": []}]
    rows = await house.pool.fetch(
        "select customer_id, key, state from kaixu.keyed_charge where customer_id in ($1, $2) order by 1, 2", one, two
    )
    assert [tuple(row) for row in rows] == [(one, "a", "charged"), (one, "b", "released"), (two, "a", "charged")]
    # Without a hold there is no key that could be billed.
    assert (await house.run(integration, step("charge", "plan", key="c", customer_id=one)))[0] == 502
    assert (await house.run(integration, step("hold", "plan", key="c", for_s=60, customer_id=one)))[0] == 502
    # A hold that is there can be prolonged, also beyond what its customer's key could do.
    assert await house.run(integration, step("hold", "plan", key="d", for_s=60), key=other_key) == [None]
    assert await house.run(integration, step("hold", "plan", key="d", for_s=6000, customer_id=two)) == [None]
    async with house.pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


@pytest.mark.parametrize("integration", TABLED)
async def test_transactions_for_the_same_customers_in_another_order_do_not_wait_for_each_other_for_ever(
    house: House, integration: str
) -> None:
    one, key = await keyed(house)
    two, other_key = await keyed(house)
    names = [f"{integration}-{at}" for at in range(12)]
    for whose in (key, other_key):
        assert await house.run(integration, *(step("hold", "plan", key=name, for_s=600) for name in names), key=whose)

    async def bill(at: int, name: str) -> Any:
        first, second = (one, two) if at % 2 else (two, one)
        return await house.run(
            integration,
            step("credit", second, 5, key=f"{name}-{second}"),
            step("charge", "plan", key=name, customer_id=first),
            step("change_settings", {"sites": [name]}, customer_id=second),
            step("charge", "plan", key=name, customer_id=second),
            key=None if at % 3 else (key if at % 2 else other_key),
        )

    replies = await asyncio.gather(*(bill(at, name) for at, name in enumerate(names)))
    # Whoever checked the settings before another one changed them writes the same field: the last one wins.
    assert [reply[0] for reply in replies] == [None] * 12
    billed = "select count(*) from kaixu.keyed_charge where customer_id in ($1, $2) and state = 'charged'"
    assert await house.value(billed, one, two) == 24
    credited = "select sum(amount_nusd)::bigint from kaixu.topup where customer_id in ($1, $2)"
    assert await house.value(credited, one, two) == 60
    async with house.pool.acquire() as connection:
        assert (await reconcile(connection)).differences == []


async def test_a_webhook_does_all_of_it_for_the_customer_that_it_finds(house: House) -> None:
    customer_id, key = await keyed(house)
    assert await house.run("agent", step("hold", "plan", key="w", for_s=600), key=key) == [None]
    steps = [
        step("charge", "plan", key="w", customer_id=customer_id),
        step("change_settings", {"auto": False}, customer_id=customer_id),
        step("mail", *HELLO, key=f"hook-{customer_id}", customer_id=customer_id),
    ]
    status = (await house.http.post(f"{house.process.url}/v1/agent/webhooks/events",
                                    json={"id": f"e-{customer_id}", "steps": steps})).status  # fmt: skip
    assert status == 200
    async with asyncio.timeout(30):
        while await house.settings(customer_id, "agent") is None:
            await asyncio.sleep(0.05)
    state = "select state from kaixu.keyed_charge where customer_id = $1"
    assert await house.value(state, customer_id) == "charged"
    assert [one[0] for one in await house.audited(customer_id)] == ["INTEGRATION_SETTINGS", "INTEGRATION_MESSAGE"]


@pytest.mark.parametrize("integration", TABLED)
async def test_jobs_of_another_customer_are_woken_and_cancelled(house: House, integration: str) -> None:
    customer_id, key = await keyed(house)
    other, other_key = await keyed(house)
    (job,) = await house.run(integration, step("later", key="one"), key=key)
    paused = "select count(*) from kaixu.job where id = $1 and status = 'queued' and pause = 'waiting'"
    async with asyncio.timeout(30):
        while not await house.value(paused, job):
            await asyncio.sleep(0.05)
    assert await house.run(integration, step("wake", key="two"), key=key) == [False]
    assert await house.run(integration, step("wake", key="one"), key=other_key) == [False]
    assert await house.run(integration, step("wake", key="one")) == [False]  # nobody's job
    assert await house.run(integration, step("wake", key="one"), step("fail"), key=key) == (502, "INTEGRATION_FAILED")
    assert await house.value(paused, job) == 1
    assert await house.run(integration, step("wake", key="one", customer_id=customer_id)) == [True]
    async with asyncio.timeout(30):  # it runs again, and pauses again
        while await house.value("select run_after from kaixu.job where id = $1", job) is None:
            await asyncio.sleep(0.05)
    assert await house.run(integration, step("job", job, customer_id=other), key=key) == (404, "NOT_FOUND")
    assert await house.run(integration, step("cancel", job, customer_id=other)) == (404, "NOT_FOUND")
    async with asyncio.timeout(30):
        while await house.run(integration, step("cancel", job, customer_id=customer_id)) != ["cancelled"]:
            await asyncio.sleep(0.05)
    assert await house.run(integration, step("wake", key="one"), key=key) == [False]


async def test_files_of_another_customer_are_dropped(house: House) -> None:
    customer_id, key = await keyed(house)
    other, _ = await keyed(house)
    status, reply = await house.ask("PUT", "/v1/agent/put?id=a", b"x" * 10, key=key)
    assert status == 200, reply
    kept = step("kept", "", customer_id=customer_id)
    assert await house.run("agent", kept) == [["a"]]
    assert await house.run("agent", step("drop", "", customer_id=other)) == [0]
    assert await house.run("agent", step("drop", "", customer_id=customer_id), step("fail")) == (
        502,
        "INTEGRATION_FAILED",
    )
    assert await house.run("agent", step("drop", "", customer_id=customer_id)) == [1]
    assert await house.run("agent", kept) == [[]]


async def test_a_deleted_customer_keeps_no_message_and_gets_none(house: House) -> None:
    customer_id, key = await keyed(house)
    assert await house.run("agent", step("mail", *HELLO, key=f"last-{customer_id}"), key=key) == [None]
    assert (await house.process.command("customers", "delete", str(customer_id), "--yes")).returncode == 0
    async with asyncio.timeout(60):
        while await house.value("select count(*) from kaixu.integration_message where customer_id = $1", customer_id):
            await asyncio.sleep(0.2)
    late = step("mail", *HELLO, key=f"late-{customer_id}", customer_id=customer_id)
    assert await house.run("agent", late) == (404, "UNKNOWN_CUSTOMER")
    assert await house.run("agent", step("change_settings", {"auto": False}, customer_id=customer_id)) == (
        404,
        "UNKNOWN_CUSTOMER",
    )
