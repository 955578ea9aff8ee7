"""An integration whose operation tries one thing that a call can do, and answers what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import msgspec

from kaixu.plugin import (
    Call,
    Free,
    Integration,
    Job,
    KaixuError,
    Operation,
    Options,
    PageLink,
    PerUnit,
    RegisterIntegration,
    Secret,
    Tries,
    Webhook,
    WebhookEvent,
    WireUrl,
    hookimpl,
)


class ProbeOptions(Options):
    base_url: WireUrl = "https://vendor.example.com"


class ProbeCustomer(msgspec.Struct):
    cap_cents: int = 50
    vendor_id: str | None = None


class Case(msgspec.Struct):
    name: str


class Outcome(msgspec.Struct):
    text: str


class Payload(msgspec.Struct):
    id: int = 0


def to(call: Call[Any], path: str, method: str = "GET", content: bytes = b"") -> httpx.Request:
    """A request to the vendor, which answers `/<status>` with it, and the first time `/then/200` with 503."""
    return httpx.Request(method, f"{call.options.base_url}{path}", content=content)


async def sends(call: Call[Any], path: str, **options: Any) -> object:
    async with call.wire.send(to(call, path), **options) as answer:
        return answer.status_code, answer.headers.get("x-vendor"), await answer.aread()


async def sends_elsewhere(call: Call[Any]) -> object:
    async with call.wire.send(httpx.Request("GET", "https://elsewhere.example.com/")) as answer:
        return answer.status_code


async def sends_too_much(call: Call[Any]) -> object:
    async with call.wire.send(to(call, "/200", "PUT", b"x" * 2000)) as answer:
        return answer.status_code


async def sends_in_a_thread(call: Call[Any]) -> object:
    wire = call.wire.blocking()

    def work() -> tuple[int, bytes]:
        answer = wire.send(to(call, "/404"), accept={404})
        return answer.status_code, answer.content

    return await call.in_thread(work)


async def sends_blocking_without_a_thread(call: Call[Any]) -> object:
    return call.wire.blocking().send(to(call, "/200"))


async def fails_in_a_thread(call: Call[Any]) -> object:
    def work() -> None:
        raise LookupError("not here")

    await call.in_thread(work)
    return "no error"


async def fills_its_folder(call: Call[Any]) -> object:
    async with call.scratch(10_000) as folder:
        (folder / "file").write_bytes(b"x" * 20_000)
    return "no limit"


async def asks_for_no_folder(call: Call[Any]) -> object:
    async with call.scratch(0):
        return "a folder"


async def stores_a_secret(call: Call[Any]) -> object:
    await call.secrets.put("token", "token-of-ada", meta={"type": "pat"})
    info = await call.secrets.info("token")
    stored = await call.secrets.get("token") == "token-of-ada", info and (info.meta, info.set_by)
    return (
        stored,
        await call.secrets.clear("token"),
        await call.secrets.clear("token"),
        await call.secrets.info("token"),
    )


async def shows_a_secret(call: Call[Any]) -> object:
    await call.secrets.put("token", "token-of-ada", meta={"note": "it is token-of-ada"})
    return "stored"


async def changes_settings(call: Call[Any]) -> object:
    before = await call.settings()
    await call.change_settings({"vendor_id": f"vendor-{call.customer_id}", "cap_cents": 7})
    found = await call.customer_with("vendor_id", f"vendor-{call.customer_id}")
    after = await call.settings()
    return before, after.cap_cents, found == call.customer_id, await call.customer_with("vendor_id", "nobody")


async def enqueues_twice(call: Call[Any]) -> object:
    first = await call.enqueue("probe.work", Payload(1), key="one", delay_s=600)
    second = await call.enqueue("probe.work", Payload(1), key="one", delay_s=600)
    third = await call.enqueue("probe.work", Payload(1), key="two", delay_s=600)
    return first == second, first == third


async def enqueues_with_the_transaction(call: Call[Any]) -> object:
    ids: list[UUID] = []
    try:
        async with call.db() as db:
            ids.append(await db.enqueue("probe.work", Payload(1), key="one", delay_s=600))
            raise LookupError
    except LookupError:
        return ids[0] == await call.enqueue("probe.work", Payload(1), key="one", delay_s=600)


async def looks_for_a_job(call: Call[Any]) -> object:
    async with call.db() as db:
        return await db.job(UUID(int=7))


async def receives(call: Call[Any], *events: WebhookEvent, webhook: str = "events") -> object:
    async with call.db() as db:
        return [await db.receive(webhook, event) for event in events]


async def counts(call: Call[Any], unit: str, n: Any) -> object:
    call.count(unit, n)
    return "counted"


async def reads_after_its_transaction(call: Call[Any]) -> object:
    async with call.db() as db:
        await db.fetch("select 1")
    return await db.fetch("select 1")


async def writes(call: Call[Any]) -> object:
    async with call.db() as db:
        tag = await db.execute("insert into seen (customer_id, what) values (1, 'a'), (1, 'b')")
        rows = await db.fetch("select what from seen order by what")
        row = await db.fetchrow("select what from seen where what = $1", "c")
        value = await db.fetchval("select what from seen where what = $1", "b")
        changed = await db.execute("update seen set what = 'd' where what = $1 returning what", "a")
        return tag, rows, row, value, changed, await db.execute("delete from seen")


async def rolls_back(call: Call[Any]) -> object:
    try:
        async with call.db() as db:
            await db.execute("insert into seen (customer_id, what) values (1, 'a')")
            raise LookupError
    except LookupError:
        pass
    async with call.db() as db:
        return await db.fetchval("select count(*) from seen")


async def mails(call: Call[Any], subject: Any = "Hello", paragraphs: Any = ("A text.",), **more: Any) -> object:
    async with call.db() as db:
        await db.mail(subject, paragraphs, key=f"for {call.customer_id}", **more)
        await db.mail("Hello again", ["Another text."], key=f"for {call.customer_id}")
    return "sent"


async def mails_a_secret(call: Call[Any]) -> object:
    await call.secrets.put("token", "token-of-ada")
    async with call.db() as db:
        await db.mail("Your token", ["It is token-of-ada."], key="one")
    return "sent"


async def changes_settings_in_a_transaction(call: Call[Any]) -> object:
    async with call.db() as db:
        before = await db.settings()
        between = await db.change_settings({"cap_cents": 7})
        after = await db.change_settings({"vendor_id": f"own-{call.customer_id}"}, customer_id=call.customer_id)
        outside = await call.settings()
    try:
        async with call.db() as db:
            await db.change_settings({"cap_cents": 8})
            raise LookupError
    except LookupError:
        pass
    found = await call.customer_with("vendor_id", f"own-{call.customer_id}") == call.customer_id
    return before, between, after.cap_cents, outside, (await call.settings()).cap_cents, found


async def changes_a_setting_in_a_transaction(call: Call[Any], changes: dict[str, Any], **more: Any) -> object:
    async with call.db() as db:
        return await db.change_settings(changes, **more)


async def writes_to_the_audit_log(call: Call[Any], action: str = "PROBE_TRIED", **more: Any) -> None:
    async with call.db() as db:
        await db.audit(action, **more)


async def writes_a_secret_to_the_audit_log(call: Call[Any]) -> None:
    await call.secrets.put("token", "token-one")
    async with call.db() as db:
        await db.audit("PROBE_TRIED", after={"used": ["token-one"]})


async def clears_one_version(call: Call[Any]) -> object:
    await call.secrets.put("token", "token-one")
    first = await call.secrets.read("token")
    await call.secrets.put("token", "token-one")
    second = await call.secrets.read("token")
    assert first is not None
    assert second is not None
    kept = await call.secrets.clear("token", version=first.version)
    async with call.db() as db:
        await db.clear_secret("token", version=first.version)
    still = await call.secrets.get("token") is not None
    async with call.db() as db:
        same = await db.secret("token") == second
        await db.clear_secret("token", version=second.version)
        until_then = await call.secrets.get("token") is not None
    return first.version == second.version, kept, still, same, until_then, await call.secrets.read("token")


async def clears_in_a_transaction(call: Call[Any], name: str) -> object:
    async with call.db() as db:
        await db.clear_secret(name)
    return "cleared"


async def wakes(call: Call[Any], job: str, **more: Any) -> object:
    async with call.db() as db:
        return await db.wake(job, key="nothing", **more)


def event(number: str, kind: str = "paid") -> WebhookEvent:
    return WebhookEvent(number, kind)


CASES: dict[str, Callable[[Call[Any]], Awaitable[object]]] = {
    "200": lambda call: sends(call, "/200"),
    "404": lambda call: sends(call, "/404"),
    "404 accepted": lambda call: sends(call, "/404", accept={404}),
    "404, everything accepted": lambda call: sends(call, "/404", accept="all"),
    "503, everything accepted": lambda call: sends(call, "/503", accept="all"),
    "a text as statuses": lambda call: sends(call, "/404", accept="404"),
    "a short limit": lambda call: sends(call, "/200", most_bytes=17),
    "a limit": lambda call: sends(call, "/200", most_bytes=18),
    "no limit at all": lambda call: sends(call, "/200", most_bytes=0),
    "302": lambda call: sends(call, "/302"),
    "302 accepted": lambda call: sends(call, "/302", accept={302}),
    "429": lambda call: sends(call, "/429"),
    "429 accepted": lambda call: sends(call, "/429", accept={429}),
    "503, then 200": lambda call: sends(call, "/then/200", tries=Tries(3, first_wait_s=0.01)),
    "503 without tries": lambda call: sends(call, "/503"),
    "a broken connection": lambda call: sends(call, "/broken"),
    "another host": sends_elsewhere,
    "may send": lambda call: asyncio.sleep(
        0, [call.wire.may_send_to(f"{call.options.base_url}/x"), call.wire.may_send_to("https://a.example"), call.wire.may_send_to("no URL")]
    ),
    "too much": sends_too_much,
    "in a thread": sends_in_a_thread,
    "blocking without a thread": sends_blocking_without_a_thread,
    "fails in a thread": fails_in_a_thread,
    "a full folder": fills_its_folder,
    "no folder": asks_for_no_folder,
    "a secret": stores_a_secret,
    "a secret that is not declared": lambda call: call.secrets.get("password"),
    "an empty secret": lambda call: call.secrets.put("token", " "),
    "a long secret": lambda call: call.secrets.put("token", "x" * 20_000),
    "a secret that is shown": shows_a_secret,
    "settings": changes_settings,
    "an entry of the audit log": lambda call: writes_to_the_audit_log(call, target="t", before={"a": 1}, after={"a": 2}),
    "an entry without anything": writes_to_the_audit_log,
    "an action in small letters": lambda call: writes_to_the_audit_log(call, "probe"),
    "a long target": lambda call: writes_to_the_audit_log(call, target="x" * 201),
    "a target of two lines": lambda call: writes_to_the_audit_log(call, target="a\nb"),
    "values that are no object": lambda call: writes_to_the_audit_log(call, after=[1]),
    "values that are long": lambda call: writes_to_the_audit_log(call, before={"x": "y" * 5000}),
    "values that are no JSON": lambda call: writes_to_the_audit_log(call, before={"x": object()}),
    "values with a NUL": lambda call: writes_to_the_audit_log(call, before={"x": "\0"}),
    "a secret in the audit log": writes_a_secret_to_the_audit_log,
    "a wrong setting": lambda call: call.change_settings({"cap_cents": "seven"}),
    "an unknown setting": lambda call: call.change_settings({"cap": 7}),
    "not unique": lambda call: call.customer_with("cap_cents", 7),
    "the same key": enqueues_twice,
    "a key that was rolled back": enqueues_with_the_transaction,
    "an unknown job": lambda call: call.enqueue("probe.other", Payload(1)),
    "another payload": lambda call: call.enqueue("probe.work", Case("x")),
    "a long key": lambda call: call.enqueue("probe.work", Payload(1), key="x" * 501),
    "an empty serial": lambda call: call.enqueue("probe.work", Payload(1), serial=""),
    "a mail": mails,
    "a mail to the same customer": lambda call: mails(call, customer_id=call.customer_id),
    "a mail with a link": lambda call: mails(call, link=PageLink("Pay", "https://pay.example.com")),
    "a mail with a wrong link": lambda call: mails(call, link=PageLink("Pay", "http://pay.example.com")),
    "a mail without a subject": lambda call: mails(call, " "),
    "a mail of one text": lambda call: mails(call, paragraphs="text"),
    "a mail with lines": lambda call: mails(call, paragraphs=["two\nlines"]),
    "a mail without text": lambda call: mails(call, paragraphs=[]),
    "a mail to no customer": lambda call: mails(call, customer_id=0),
    "a mail with a secret": mails_a_secret,
    "settings in a transaction": changes_settings_in_a_transaction,
    "a wrong setting in a transaction": lambda call: changes_a_setting_in_a_transaction(call, {"cap_cents": "seven"}),
    "an unknown setting in a transaction": lambda call: changes_a_setting_in_a_transaction(call, {"cap": 7}),
    "settings of no customer": lambda call: changes_a_setting_in_a_transaction(call, {"cap_cents": 7}, customer_id=-1),
    "a version of a secret": clears_one_version,
    "clears what is not declared": lambda call: clears_in_a_transaction(call, "password"),
    "clears what is not there": lambda call: clears_in_a_transaction(call, "token"),
    "wakes nothing": lambda call: wakes(call, "probe.work"),
    "wakes an unknown job": lambda call: wakes(call, "probe.other"),
    "wakes for no customer": lambda call: wakes(call, "probe.work", customer_id=True),
    "no such job": looks_for_a_job,
    "an event twice": lambda call: receives(call, event("e1"), event("e1"), event("e2", "other")),
    "an unknown webhook": lambda call: receives(call, event("e1"), webhook="others"),
    "counts": lambda call: counts(call, "pages", 3),
    "counts less": lambda call: counts(call, "pages", -1),
    "counts half": lambda call: counts(call, "pages", 1.5),
    "counts a reserved name": lambda call: counts(call, "undelivered", 1),
    "counts no name": lambda call: counts(call, "a page", 1),
    "counts too many": lambda call: counts(call, "bytes_sent", 1001),
    "after its transaction": reads_after_its_transaction,
    "writes": writes,
    "rolls back": rolls_back,
    "a statement that is not allowed": lambda call: statement(call, "create table more (id bigint)"),
    "the core's tables": lambda call: statement(call, "select * from kaixu.customer"),
    "a wrong statement": lambda call: statement(call, "select nothing from nowhere"),
}  # fmt: skip


async def statement(call: Call[Any], sql: str) -> object:
    async with call.db() as db:
        return await db.execute(sql)


async def try_it(call: Call[Case]) -> Outcome:
    """What a case returns, or the error that it raises."""
    try:
        return Outcome(f"returns {await CASES[call.body.name](call)!r}")
    except Exception as error:
        more = (error.hint, error.field, error.retry_after_s) if isinstance(error, KaixuError) else ()
        return Outcome(f"raises {type(error).__name__}: {error} {more}")


async def work(call: Call[Payload]) -> Payload:
    """A job that does nothing."""
    return call.body


def verify(body: bytes, headers: Any, options: Any, now: Any) -> WebhookEvent:
    """Every body is an event."""
    return WebhookEvent(body.decode(), "paid")


async def handle(call: Call[Any]) -> None:
    """Nothing is done with it."""


PROBE = Integration(
    "probe",
    [Operation("probe.try", try_it, Case, PerUnit("byte", unit="bytes_sent", most=1000), on_failure="release")],
    options=ProbeOptions,
    customer=ProbeCustomer,
    unique=["vendor_id"],
    secrets=[Secret("token", title="A token")],
    jobs=[Job("probe.work", work, Payload, Free("a test"))],
    webhooks=[Webhook("events", verify, handle, types=["paid"])],
    schema="schema",
    grants=["mail", "customers"],
)


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    register(PROBE)
