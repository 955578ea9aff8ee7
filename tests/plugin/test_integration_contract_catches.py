"""`IntegrationContract` catches what authors get wrong, one thing at a time, and names the function and the remedy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import httpx
import msgspec
import pytest

from kaixu.plugin import (
    Again,
    BadSignature,
    Call,
    Events,
    Failure,
    Integration,
    IntegrationWire,
    Reply,
    ScheduledCall,
    Tries,
    UpstreamError,
    WebhookDelivery,
    WebhookEvent,
)
from kaixu.plugin.testing import Example, IntegrationContract

from . import shop as good
from .shop import Account, Item, Number, Order, ShopContract, ShopOptions, Token, shop


class TestShop(ShopContract):
    """The integration that all others are made of passes."""


def account(call: Call[Any], method: str = "GET", **headers: str) -> httpx.Request:
    return httpx.Request(method, f"{call.options.base_url}/account", headers=headers)


# What is wrong with the broken ones


async def swallows_the_cancellation(call: Call[Token]) -> Account:
    with contextlib.suppress(asyncio.CancelledError):
        return await good.connect(call)
    return Account("nobody")


async def takes_the_cancellation_for_an_error(call: Call[Token]) -> Account:
    try:
        return await good.connect(call)
    except BaseException:
        raise Failure(500, "FAILED", "it failed") from None


async def goes_on_in_spite_of_it(call: Call[Token]) -> Account:
    task = asyncio.ensure_future(good.connect(call))
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


async def answers_a_dictionary(call: Call[Item]) -> dict[str, str]:
    return {"item": call.body.item}


async def sets_a_cookie(call: Call[Item]) -> Reply:
    return Reply(Account("Ada"), headers={"set-cookie": "session=1"})


async def streams_dictionaries(call: Call[Item]) -> Events:
    async def items() -> AsyncIterator[Any]:
        yield {"item": call.body.item}

    return Events(items())


async def calls_a_host_that_is_not_declared(call: Call[Token]) -> Account:
    async with call.wire.send(httpx.Request("GET", "https://elsewhere.example.com/account")) as answer:
        return Account(good.name_in(await answer.aread()))


async def tells_the_token_in_an_error(call: Call[Item]) -> Account:
    token = await call.secrets.get("token")
    try:
        return await good.upload(call)
    except UpstreamError:
        raise UpstreamError(f"the vendor does not like {token}") from None


async def logs_the_token(call: Call[Item]) -> Account:
    logging.getLogger("shop").info("sending with %s", await call.secrets.get("token"))
    return await good.upload(call)


async def answers_with_the_token(call: Call[Item]) -> Account:
    await good.upload(call)
    return Account(await call.secrets.get("token") or "")


async def tells_the_operators_secret(call: Call[Item]) -> Account:
    secret = call.options.webhook_secret.get_secret_value()
    logging.getLogger("shop").warning("the section of kaixu.yaml has %s", secret)
    return await good.upload(call)


async def takes_429_for_an_answer(call: Call[Item]) -> Account:
    async with call.wire.send(account(call, "PUT"), accept={429}) as answer:
        await answer.aread()
        return Account(str(answer.status_code))


async def forgets_how_long_to_wait(call: Call[Item]) -> Account:
    try:
        return await good.upload(call)
    except UpstreamError:
        raise Failure(503, "VENDOR_AWAY", "the vendor is away") from None


async def swallows_the_vendors_failure(call: Call[Item]) -> Account:
    try:
        return await good.upload(call)
    except UpstreamError:
        return Account("unknown")


async def believes_every_answer(call: Call[Token]) -> Account:
    async with call.wire.send(account(call)) as answer:
        return Account(json.loads(await answer.aread())["name"])


async def reads_without_end(call: Call[Token]) -> Account:
    data = bytearray()
    async with call.wire.send(account(call)) as answer:
        async for piece in answer.aiter_bytes():
            data += piece
    return Account(good.name_in(bytes(data)))


async def tries_again_what_may_not_arrive_twice(call: Call[Token]) -> Account:
    async with call.wire.send(account(call, "POST"), tries=Tries(3)) as answer:
        return Account(good.name_in(await answer.aread()))


async def leaves_the_answer_open(call: Call[Token]) -> Account:
    answer = await call.wire.send(account(call)).__aenter__()
    return Account(good.name_in(await answer.aread()))


WIRES: list[IntegrationWire] = []


async def keeps_the_wire(call: Call[Token]) -> Account:
    WIRES.append(call.wire)
    async with WIRES[0].send(account(call)) as answer:
        return Account(good.name_in(await answer.aread()))


async def leaves_a_task_behind(call: Call[Token]) -> Account:
    async def later() -> None:
        await asyncio.sleep(3600)

    TASKS.append(asyncio.ensure_future(later()))
    return await good.connect(call)


TASKS: list[asyncio.Future[None]] = []


async def blocks_the_event_loop(call: Call[Token]) -> Account:
    time.sleep(0.001)
    return await good.connect(call)


async def connects_past_the_wire(call: Call[Token]) -> Account:
    with socket.socket() as connection, contextlib.suppress(OSError):
        connection.connect(("127.0.0.1", 9))
    return await good.connect(call)


async def changes_its_options(call: Call[Token]) -> Account:
    call.options.tags.append("seen")
    return await good.connect(call)


async def waits_inside_a_transaction(call: Call[Item]) -> Account:
    async with call.db() as db:
        await db.fetchval("select 1")
        return await good.upload(call)


async def opens_two_transactions(call: Call[Item]) -> Order:
    async with call.db() as db:
        await db.fetchval("select 1")
        return await good.order(call)


async def enqueues_what_it_does_not_declare(call: Call[Item]) -> Order:
    await call.enqueue("shop.deliver", Number(1))
    return await good.order(call)


async def enqueues_another_payload(call: Call[Item]) -> Order:
    await call.enqueue("shop.pay", Item("tea"))
    return await good.order(call)


async def reads_the_core_s_tables(call: Call[Item]) -> Order:
    async with call.db() as db:
        await db.fetch("select email from kaixu.customer")
    return await good.order(call)


async def makes_a_table(call: Call[Item]) -> Order:
    async with call.db() as db:
        await db.execute("create table if not exists more (id bigint)")
    return await good.order(call)


async def sends_more_than_it_may(call: Call[Item]) -> Account:
    request = httpx.Request("PUT", f"{call.options.base_url}/files/1", content=b"x" * 2000)
    async with call.wire.send(request) as answer:
        return Account(good.name_in(await answer.aread()))


async def pauses_without_being_a_job(call: Call[Token]) -> Account:
    raise Again(30)


async def writes_everybody_s_rows(call: Call[Order]) -> Order:
    async with call.db() as db:
        row = await db.fetchrow(
            "update orders set item = $2 where id = $1 returning id, item, paid", call.body.id, call.body.item
        )
    assert row is not None
    return Order(**row)


async def shows_everybody_s_rows(call: Call[Number]) -> Order:
    async with call.db() as db:
        row = await db.fetchrow("select id, item, paid from orders where id = $1", call.body.id)
    if row is None:
        raise Failure(404, "NO_ORDER", "no such order")
    return Order(**row)


async def pays_twice(call: Call[Number]) -> Order:
    request = httpx.Request("POST", f"{call.options.base_url}/payments", json={"amount": 5})
    async with call.wire.send(request) as answer:
        payment = good.name_in(await answer.aread())
    async with call.db() as db:
        await db.execute("update orders set payment = $2 where id = $1", call.body.id, payment)
    return Order(call.body.id, "tea")


async def pays_with_a_new_key_each_time(call: Call[Number]) -> Order:
    headers = {"idempotency-key": str(time.monotonic_ns())}
    request = httpx.Request("POST", f"{call.options.base_url}/payments", json={"amount": 5}, headers=headers)
    async with call.wire.send(request) as answer:
        payment = good.name_in(await answer.aread())
    async with call.db() as db:
        await db.execute("update orders set payment = $2 where id = $1", call.body.id, payment)
    return Order(call.body.id, "tea")


async def notes_the_payment_before_it_is_made(call: Call[Number]) -> Order:
    async with call.db() as db:
        if await db.fetchval("select payment from orders where id = $1", call.body.id) is not None:
            return Order(call.body.id, "tea")
        await db.execute("update orders set payment = 'made' where id = $1", call.body.id)
    request = httpx.Request("GET", f"{call.options.base_url}/payments")
    async with call.wire.send(request) as answer:
        await answer.aread()
    async with call.db() as db:
        await db.execute("update orders set paid = 5 where id = $1", call.body.id)
    return Order(call.body.id, "tea")


async def enqueues_again(call: Call[Number]) -> Order:
    await call.enqueue("shop.ship", call.body)
    return await good.pay(call)


async def writes_again(call: Call[Number]) -> Order:
    async with call.db() as db:
        await db.mail("Your order", ["It is paid."], key=f"paid {time.monotonic_ns()}")
    return await good.pay(call)


async def credits_again(call: Call[Number]) -> Order:
    async with call.db() as db:
        await db.credit(1, 5, key=f"paid {time.monotonic_ns()}")
    return await good.pay(call)


async def bills_again(call: Call[Number]) -> Order:
    async with call.db() as db:
        await db.charge("plan", key=f"order {time.monotonic_ns()}")
    return await good.pay(call)


async def fails_the_second_time(call: Call[Number]) -> Order:
    async with call.db() as db:
        await db.execute("insert into orders (customer_id, item, payment) values (1, 'tea', $1)", str(call.body.id))
    return Order(call.body.id, "tea")


async def adds_the_payment_each_time(call: Call[WebhookDelivery]) -> None:
    event = json.loads(call.body.body)
    async with call.db() as db:
        await db.execute("update orders set paid = paid + $2 where id = $1", event["order"], event["paid"])


async def adds_a_row_each_time(call: Call[WebhookDelivery]) -> None:
    async with call.db() as db:
        await db.execute("insert into orders (customer_id, item) values (1, $1)", call.body.event.id)


async def needs_a_customer(call: ScheduledCall) -> None:
    assert getattr(call, "customer_id", None) is not None, "a schedule has no customer"


async def verifies_asynchronously(body: bytes, headers: Mapping[str, str], options: Any, now: datetime) -> WebhookEvent:
    return good.verify(body, headers, options, now)


def looks_at_the_clock(body: bytes, headers: Mapping[str, str], options: ShopOptions, now: datetime) -> WebhookEvent:
    return good.verify(body, headers, options, datetime.now(UTC))


def verifies_nothing(body: bytes, headers: Mapping[str, str], options: ShopOptions, now: datetime) -> WebhookEvent:
    return good.event_in(body)


def verifies_only_that_there_is_one(
    body: bytes, headers: Mapping[str, str], options: ShopOptions, now: datetime
) -> WebhookEvent:
    if not headers.get("x-signature"):
        raise BadSignature("there is no signature")
    return good.event_in(body)


def verifies_what_it_has_parsed(
    body: bytes, headers: Mapping[str, str], options: ShopOptions, now: datetime
) -> WebhookEvent:
    return good.verify(json.dumps(json.loads(body)).encode(), headers, options, now)


def makes_an_id_of_its_own(
    body: bytes, headers: Mapping[str, str], options: ShopOptions, now: datetime
) -> WebhookEvent:
    event = good.verify(body, headers, options, now)
    return msgspec.structs.replace(event, id=str(time.monotonic_ns()))


# The tests of the contract that catch them

DECLARED = "test_everything_that_it_declares_can_be_served"
SUCCEEDS = "test_every_example_succeeds_and_leaves_nothing_behind"
FAILS = "test_a_vendor_that_fails_comes_out_as_an_error"
NONSENSE = "test_nonsense_of_a_vendor_is_no_bug_of_ours"
ENDLESS = "test_an_endless_answer_is_given_up"
LEAVES = "test_a_client_that_leaves_ends_the_call_wherever_it_is"
TWICE = "test_a_job_that_runs_twice_does_its_work_once"
OTHERS = "test_another_customer_s_rows_are_neither_shown_nor_changed"
SIGNED = "test_webhooks_accept_what_is_signed_and_nothing_else"


@pytest.mark.parametrize(
    ("function", "broken", "test", "says"),
    [
        ("connect", swallows_the_cancellation, LEAVES, "it answers although it was cancelled"),
        (
            "connect",
            takes_the_cancellation_for_an_error,
            LEAVES,
            "it raises Failure (it failed) although it was cancelled",
        ),
        ("connect", goes_on_in_spite_of_it, LEAVES, "it goes on after it was cancelled"),
        ("order", answers_a_dictionary, SUCCEEDS, "must return a msgspec.Struct or a reply"),
        ("order", sets_a_cookie, SUCCEEDS, "the header `set-cookie` is set by the gateway only"),
        ("order", streams_dictionaries, SUCCEEDS, "must yield Structs"),
        ("connect", calls_a_host_that_is_not_declared, SUCCEEDS, "may not send to https://elsewhere.example.com"),
        ("upload", tells_the_token_in_an_error, FAILS, "a secret is shown in 'the error"),
        ("upload", logs_the_token, SUCCEEDS, "a secret is shown in 'the log"),
        ("upload", tells_the_operators_secret, SUCCEEDS, "a secret is shown in 'the log"),
        ("upload", answers_with_the_token, SUCCEEDS, "the reply of 'shop.upload' contains a secret"),
        ("upload", takes_429_for_an_answer, FAILS, "it succeeds although request 1 is answered with 429"),
        ("upload", forgets_how_long_to_wait, FAILS, "does not say when to try again"),
        ("upload", swallows_the_vendors_failure, FAILS, "it succeeds although request 1"),
        ("connect", believes_every_answer, NONSENSE, "read answers with care"),
        ("connect", reads_without_end, ENDLESS, "an answer to request 1 that does not end"),
        ("connect", tries_again_what_may_not_arrive_twice, SUCCEEDS, "send an idempotency key"),
        ("connect", leaves_the_answer_open, SUCCEEDS, "it leaves an answer open"),
        ("connect", keeps_the_wire, SUCCEEDS, "the call has been settled"),
        ("connect", leaves_a_task_behind, SUCCEEDS, "it leaves a task behind"),
        ("connect", blocks_the_event_loop, SUCCEEDS, "it blocks the event loop with time.sleep"),
        ("connect", connects_past_the_wire, SUCCEEDS, "it opens a connection of its own"),
        ("connect", changes_its_options, SUCCEEDS, "it changes its options"),
        ("upload", waits_inside_a_transaction, SUCCEEDS, "it waits for a vendor inside"),
        ("order", opens_two_transactions, SUCCEEDS, "it opens a transaction inside another"),
        ("order", enqueues_what_it_does_not_declare, SUCCEEDS, "has no job `shop.deliver`"),
        ("order", enqueues_another_payload, SUCCEEDS, "job `shop.pay` takes a Number"),
        ("order", reads_the_core_s_tables, SUCCEEDS, "see its own schema only"),
        ("order", makes_a_table, SUCCEEDS, "begins with that word"),
        ("upload", sends_more_than_it_may, SUCCEEDS, "more than the 1000 that one call may use"),
        ("connect", pauses_without_being_a_job, SUCCEEDS, "it fails: Again"),
        ("rename", writes_everybody_s_rows, OTHERS, "changes rows of this one"),
        ("read", shows_everybody_s_rows, OTHERS, "it shows what belongs to this one"),
        ("pay", pays_twice, TWICE, "send an idempotency key that follows from the payload"),
        ("pay", pays_with_a_new_key_each_time, TWICE, "send an idempotency key that follows from the payload"),
        (
            "pay",
            notes_the_payment_before_it_is_made,
            TWICE,
            "when it runs again after it was killed, its rows become others",
        ),
        ("pay", enqueues_again, TWICE, "it enqueues shop.ship again"),
        ("pay", writes_again, TWICE, "when it runs a second time, it mails under another key"),
        ("pay", credits_again, TWICE, "when it runs a second time, it credits under another key"),
        ("pay", bills_again, TWICE, "when it runs a second time, it charges under another key"),
        ("pay", fails_the_second_time, TWICE, "when it runs a second time, it fails: UniqueViolationError"),
        ("note_payment", adds_the_payment_each_time, TWICE, "when it runs a second time, its rows become others"),
        ("note_payment", adds_a_row_each_time, TWICE, "when it runs a second time, its rows become others"),
        ("expire", needs_a_customer, SUCCEEDS, "a schedule has no customer"),
        ("verify", verifies_asynchronously, DECLARED, "must be `def`"),
        ("verify", looks_at_the_clock, SIGNED, "compared with `now`, and not with the clock"),
        ("verify", verifies_nothing, SIGNED, "accepts a body without a signature"),
        ("verify", verifies_only_that_there_is_one, SIGNED, "accepts a body that was changed after it was signed"),
        ("verify", verifies_what_it_has_parsed, SIGNED, "accepts a body that was changed after it was signed"),
        ("verify", makes_an_id_of_its_own, SIGNED, "finds another event in the same body"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_broken_is_caught_and_the_message_says_where_and_what_to_do(
    function: str, broken: Callable[..., Any], test: str, says: str
) -> None:
    WIRES.clear()

    class Broken(ShopContract):
        integration: ClassVar[Integration] = shop(**{function: broken})

    where = {"note_payment": "shop.webhooks.events", "verify": "events"}.get(function, f"shop.{function}")
    with pytest.raises(AssertionError) as caught:
        getattr(Broken(), test)()
    assert says in str(caught.value)
    assert where in str(caught.value)


def complaints_of(contract: IntegrationContract) -> list[str]:
    """What the tests of a contract say."""
    complaints = []
    for name in dir(contract):
        if name.startswith("test_"):
            try:
                getattr(contract, name)()
            except AssertionError as error:
                complaints.append(str(error))
    return complaints


def test_a_function_without_an_example_is_named() -> None:
    class Forgetful(ShopContract):
        def examples(self) -> Mapping[str, Example | list[Example]]:
            return {name: one for name, one in super().examples().items() if name != "shop.read"}

    with pytest.raises(AssertionError, match=r"`examples` has none for shop\.read"):
        Forgetful().test_everything_that_it_declares_can_be_served()


def test_what_the_author_knows_better_is_accepted() -> None:
    class Knows(ShopContract):
        integration: ClassVar[Integration] = shop(pay=pays_twice, upload=swallows_the_vendors_failure)
        may_arrive_twice = ("https://pay.example.com/payments",)

        def examples(self) -> Mapping[str, Example | list[Example]]:
            given = dict(super().examples())
            upload = given["shop.upload"]
            assert isinstance(upload, Example)
            return given | {"shop.upload": msgspec.structs.replace(upload, may_fail={1})}

    assert complaints_of(Knows()) == []
