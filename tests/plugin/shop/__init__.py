"""An integration that behaves, with everything that a contract test can look at. Tests break it in one place each."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

import httpx
import msgspec
from pydantic import Field, SecretStr

from kaixu.plugin import (
    BadSignature,
    Call,
    Free,
    Integration,
    Job,
    NotFound,
    Operation,
    Options,
    PerCall,
    PerUnit,
    RegisterIntegration,
    Schedule,
    ScheduledCall,
    Secret,
    Tries,
    Unprocessable,
    UpstreamError,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
    WireUrl,
    hookimpl,
)
from kaixu.plugin.testing import Example, IntegrationContract, json_answer

TOKEN = "token-of-the-customer"
WEBHOOK_SECRET = "webhook-secret-of-the-operator"


class ShopOptions(Options):
    base_url: WireUrl = "https://pay.example.com"
    webhook_secret: SecretStr = SecretStr(WEBHOOK_SECRET)
    tags: list[str] = Field(default=["new"])


class Item(msgspec.Struct):
    item: str


class Number(msgspec.Struct):
    id: int


class Order(msgspec.Struct):
    id: int
    item: str
    paid: int = 0


class Token(msgspec.Struct):
    token: str


class Account(msgspec.Struct):
    name: str


async def order(call: Call[Item]) -> Order:
    """Take an order, and let a job pay it."""
    async with call.db() as db:
        number = await db.fetchval(
            "insert into orders (customer_id, item) values ($1, $2) returning id", call.customer_id, call.body.item
        )
        await db.enqueue("shop.pay", Number(number), key=str(number))
    return Order(number, call.body.item)


async def read(call: Call[Number]) -> Order:
    """One's own order."""
    async with call.db() as db:
        row = await db.fetchrow(
            "select id, item, paid from orders where id = $1 and customer_id = $2", call.body.id, call.customer_id
        )
    if row is None:
        raise NotFound("no such order", field="id")
    return Order(**row)


async def rename(call: Call[Order]) -> Order:
    """Another item in one's own order."""
    async with call.db() as db:
        row = await db.fetchrow(
            "update orders set item = $3 where id = $1 and customer_id = $2 returning id, item, paid",
            call.body.id, call.customer_id, call.body.item,
        )  # fmt: skip
    if row is None:
        raise NotFound("no such order", field="id")
    return Order(**row)


async def connect(call: Call[Token]) -> Account:
    """Store a token, after the vendor has accepted it."""
    request = httpx.Request(
        "GET", f"{call.options.base_url}/account", headers={"authorization": f"Bearer {call.body.token}"}
    )
    async with call.wire.send(request, accept={403}) as answer:
        if answer.status_code == 403:
            raise Unprocessable("the vendor does not accept this token", field="token")
        name = name_in(await answer.aread())
    await call.secrets.put("token", call.body.token)
    return Account(name)


def name_in(data: bytes) -> str:
    """The name in a vendor's answer."""
    try:
        return str(json.loads(data)["name"])
    except (ValueError, KeyError, TypeError):
        raise UpstreamError("the vendor's answer has no name") from None


async def upload(call: Call[Item]) -> Account:
    """Send something that is billed by its size, with the customer's own token."""
    token = await call.secrets.get("token")
    request = httpx.Request(
        "PUT",
        f"{call.options.base_url}/files/1",
        content=call.body.item.encode(),
        headers={"authorization": f"Bearer {token}"},
    )
    async with call.wire.send(request, tries=Tries(3)) as answer:
        return Account(name_in(await answer.aread()))


async def pay(call: Call[Number]) -> Order:
    """Pay an order. The idempotency key is that of the order, so a payment is made once."""
    async with call.db() as db:
        row = await db.fetchrow("select id, item, paid, payment from orders where id = $1", call.body.id)
    if row is None:
        raise NotFound("the order is gone")
    if row["payment"] is None:
        request = httpx.Request(
            "POST",
            f"{call.options.base_url}/payments",
            json={"amount": 5},
            headers={"idempotency-key": f"order-{row['id']}"},
        )
        async with call.wire.send(request) as answer:
            payment = name_in(await answer.aread())
        async with call.db() as db:
            await db.execute("update orders set payment = $2 where id = $1", row["id"], payment)
    return Order(row["id"], row["item"], row["paid"])


def verify(body: bytes, headers: Mapping[str, str], options: ShopOptions, now: datetime) -> WebhookEvent:
    """A vendor's event, signed within five minutes."""
    signature, at = headers.get("x-signature", ""), headers.get("x-time", "")
    expected = signature_of(body, at, options.webhook_secret.get_secret_value())
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        raise BadSignature("the signature is wrong")
    if abs(now.timestamp() - float(at)) > 300:
        raise BadSignature("the signature is too old")
    return event_in(body)


def event_in(body: bytes) -> WebhookEvent:
    """The event of a body."""
    event = json.loads(body)
    return WebhookEvent(event["id"], event["type"], object=str(event["order"]))


def signature_of(body: bytes, at: str, secret: str) -> str:
    """The vendor's signature of a body."""
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()


def sign(body: bytes, now: datetime) -> dict[str, str]:
    """The headers that the vendor sends."""
    at = str(int(now.timestamp()))
    return {"X-Time": at, "X-Signature": signature_of(body, at, WEBHOOK_SECRET)}


async def note_payment(call: Call[WebhookDelivery]) -> None:
    """An order was paid."""
    event = json.loads(call.body.body)
    async with call.db() as db:
        await db.execute("update orders set paid = $2 where id = $1", event["order"], event["paid"])


async def expire(call: ScheduledCall) -> None:
    """Delete old orders."""
    async with call.db() as db:
        await db.execute("delete from orders where created_at < now() - interval '30 days'")


Handler = Callable[[Any], Any]


def shop(
    *,
    order: Handler = order,
    read: Handler = read,
    rename: Handler = rename,
    connect: Handler = connect,
    upload: Handler = upload,
    pay: Handler = pay,
    verify: Callable[..., Any] = verify,
    note_payment: Handler = note_payment,
    expire: Handler = expire,
) -> Integration:
    """The integration, with some of its functions replaced."""
    return Integration(
        "shop",
        [
            Operation("shop.order", order, Item, PerCall("order"), on_failure="charge_counted"),
            Operation("shop.read", read, Number, Free("reads")),
            Operation("shop.rename", rename, Order, Free("corrects")),
            Operation("shop.connect", connect, Token, Free("stores a token")),
            Operation("shop.upload", upload, Item, PerUnit("byte", unit="bytes_sent", most=1000), on_failure="release"),
        ],
        options=ShopOptions,
        jobs=[
            Job("shop.pay", pay, Number, Free("a part of the order")),
            Job("shop.ship", pay, Number, Free("a part of the order")),
        ],
        schedules=[Schedule("shop.expire", expire, 3600, why_free="housekeeping")],
        webhooks=[Webhook("events", verify, note_payment, types=["paid"])],
        schema="schema",
        secrets=[Secret("token", title="The vendor's token")],
        grants=["credit", "mail"],
        charges=[PerCall("plan")],
    )


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    register(shop())


class ShopContract(IntegrationContract):
    """Its contract."""

    integration: ClassVar[Integration] = shop()

    def examples(self) -> Mapping[str, Example | list[Example]]:
        ordered = [("shop.order", Example(body=Item("tea")))]
        paid = [json_answer({"name": "payment-7"})]
        return {
            "shop.order": Example(body=Item("tea")),
            "shop.read": Example(body=lambda done: Number(done[0].id), before=ordered),
            "shop.rename": Example(body=lambda done: Order(done[0].id, "coffee"), before=ordered),
            "shop.connect": Example(body=Token(TOKEN), wire=[json_answer({"name": "Ada"})]),
            "shop.upload": Example(body=Item("tea"), secrets={"token": TOKEN}, wire=[json_answer({"name": "f"})]),
            "shop.pay": Example(body=Number(1), before=ordered, wire=paid),
            "shop.ship": Example(body=Number(1), before=ordered, wire=paid),
            "shop.expire": Example(before=ordered),
            "shop.webhooks.events": Example(
                body=b'{"id": "e1", "type": "paid", "order": 1, "paid": 5}', sign=sign, before=ordered
            ),
        }
