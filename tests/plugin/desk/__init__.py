"""An integration that behaves, with a callback, an upload, a reaction, panels and a book. Tests break it in one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import httpx
import msgspec

from kaixu.plugin import (
    Begun,
    Book,
    BookMonth,
    Call,
    Callback,
    Caller,
    Crossing,
    Free,
    Integration,
    Operation,
    Options,
    Page,
    Panel,
    PanelView,
    PerCall,
    Query,
    Reaction,
    Returned,
    Secret,
    UpstreamError,
    WireUrl,
    panels,
)
from kaixu.plugin.testing import Example, IntegrationContract, json_answer

TOKEN = "token-of-the-customer"
CALLER = Caller("key", "owner", "last", "customer@example.com")


class DeskOptions(Options):
    base_url: WireUrl = "https://desk.example.com"


class DeskCustomer(msgspec.Struct):
    warn_below_cents: int | None = None


class Start(msgspec.Struct):
    pass


class Started(msgspec.Struct):
    url: str


class Sent(msgspec.Struct):
    name: Annotated[str, Query()]


class Stored(msgspec.Struct):
    digest: str


def authorize(options: DeskOptions, begun: Begun) -> str:
    """The vendor's page."""
    return f"{options.base_url}/authorize?state={begun.state}"


async def start(call: Call[Start]) -> Started:
    """Go to the vendor."""
    return Started((await call.begin("account")).url)


async def connected(call: Call[Returned]) -> Page:
    """Come back from the vendor: change the code for a token."""
    if "code" not in call.body.query:
        return Page("Not connected", "You have not allowed it.")
    form = {"code": call.body.query["code"], "code_verifier": call.body.verifier}
    async with call.wire.send(httpx.Request("POST", f"{call.options.base_url}/token", data=form)) as answer:
        await call.secrets.put("token", text_in(await answer.aread(), "token"))
    return Page("Connected", "The account is connected.")


def text_in(data: bytes, name: str) -> str:
    """A text of a vendor's answer."""
    try:
        found = json.loads(data)[name]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise UpstreamError(f"the vendor's answer has no {name}")
    return found


async def put(call: Call[Sent]) -> Stored:
    """Keep a file."""
    blob = await call.upload.store(most_bytes=1000)
    async with call.db() as db:
        await db.keep(blob, f"files/{call.body.name}", for_s=3600)
        await db.execute(
            "insert into files (customer_id, name, digest) values ($1, $2, $3)",
            call.customer_id,
            call.body.name,
            blob.digest,
        )
    return Stored(blob.digest)


async def remind(call: Call[Crossing]) -> None:
    """Tell the vendor once for each crossing."""
    async with call.db() as db:
        known = await db.fetchval("select crossing from reminders where crossing = $1", call.body.id)
    if known is not None:
        return
    request = httpx.Request(
        "POST",
        f"{call.options.base_url}/reminders",
        json={"customer": call.customer_id},
        headers={"idempotency-key": str(call.body.id)},
    )
    async with call.wire.send(request) as answer:
        await answer.aread()
    async with call.db() as db:
        await db.execute(
            "insert into reminders (crossing, customer_id) values ($1, $2) on conflict do nothing",
            call.body.id,
            call.customer_id,
        )


async def shelf(view: PanelView) -> list[panels.Part]:
    """One's own files, and whether the vendor is there."""
    async with view.db() as db:
        rows = await db.fetch("select name, digest from files where customer_id = $1 order by id", view.customer_id)
    request = httpx.Request("GET", f"{view.options.base_url}/state")
    async with view.wire.send(request, secret="token") as answer:
        state = text_in(await answer.aread(), "state")
    month = await view.book("desk")
    return [
        panels.Stat("Vendor", state),
        panels.Stat("Spent", panels.Money(month.spent_nusd)),
        panels.Table(["File", "Digest"], [[row["name"], panels.Code(row["digest"])] for row in rows]),
        panels.File("desk.put", [panels.Field("name", "Name")]),
    ]


def statement(month: BookMonth) -> dict[str, int]:
    """What an invoice shows."""
    return {"files": month.line("file").count, "file_cents": month.prices["file"].cents}


Handler = Callable[[Any], Any]


def desk(
    *,
    start: Handler = start,
    authorize: Callable[..., Any] = authorize,
    connected: Handler = connected,
    put: Handler = put,
    remind: Handler = remind,
    shelf: Handler = shelf,
    statement: Callable[..., Any] = statement,
    on_failure: Any = "release",
) -> Integration:
    """The integration, with some of its functions replaced."""
    return Integration(
        "desk",
        [
            Operation("desk.start", start, Start, Free("connects an account")),
            Operation("desk.put", put, Sent, PerCall("upload"), on_failure=on_failure, upload=True),
        ],
        options=DeskOptions,
        customer=DeskCustomer,
        books=[Book("desk", statement=statement)],
        charges=[PerCall("file", book="desk")],
        secrets=[Secret("token", "Token")],
        callbacks=[Callback("account", connected, "connects an account", authorize)],
        reactions=[Reaction("balance_below", remind, "a reminder", threshold="warn_below_cents")],
        panels=[Panel("Desk", "On the shelf", shelf, "dashboard")],
        schema="schema",
    )


class DeskContract(IntegrationContract):
    """Its contract."""

    integration: ClassVar[Integration] = desk()

    def examples(self) -> Mapping[str, Example | list[Example]]:
        put = Example(body=Sent("letter"), upload=b"Dear Ada")
        back = Returned({"code": "c-1"}, "verifier", "https://gateway.example/back", None, None, CALLER)
        return {
            "desk.start": Example(body=Start()),
            "desk.put": put,
            "desk.callbacks.account": [
                Example(body=back, wire=[json_answer({"token": TOKEN})]),
                Example(body=msgspec.structs.replace(back, query={"error": "denied"})),
            ],
            "desk.reactions.balance_below": Example(wire=[json_answer({"ok": True})]),
            "desk.panels.on-the-shelf": Example(
                before=[("desk.put", put)], secrets={"token": TOKEN}, wire=[json_answer({"state": "open"})]
            ),
        }
