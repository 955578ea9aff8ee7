"""`IntegrationContract` catches what is broken in callbacks, uploads, reactions, panels and books, too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable
from typing import Any, ClassVar

import httpx
import pytest

from kaixu.plugin import (
    BookMonth,
    Call,
    Crossing,
    Integration,
    Page,
    PanelView,
    Returned,
    UpstreamError,
    panels,
)
from kaixu.plugin.testing import Example

from . import desk as good
from .desk import DeskContract, Sent, Start, Started, Stored, desk
from .test_integration_contract_catches import DECLARED, FAILS, LEAVES, NONSENSE, SUCCEEDS, TWICE, complaints_of

SHOWN = "test_every_panel_of_an_example_can_be_shown"
PANEL_FAILS = "test_a_panel_whose_vendor_fails_says_so"
SLOW = "test_a_panel_that_is_slow_is_given_up"
PANEL_OTHERS = "test_a_panel_of_another_customer_does_not_show_this_one_s_rows"


class TestDesk(DeskContract):
    """The integration that all others are made of passes."""


# Callbacks


async def begins_what_is_not_declared(call: Call[Start]) -> Started:
    return Started((await call.begin("login")).url)


async def trusts_the_token_endpoint(call: Call[Returned]) -> Page:
    if "code" not in call.body.query:
        return Page("Not connected", "You have not allowed it.")
    async with call.wire.send(httpx.Request("POST", f"{call.options.base_url}/token")) as answer:
        await call.secrets.put("token", json.loads(await answer.aread())["token"])
    return Page("Connected", "")


async def expects_a_code(call: Call[Returned]) -> Page:
    return Page("Connected", call.body.query["code"])


async def says_connected_whatever_happens(call: Call[Returned]) -> Page:
    with contextlib.suppress(UpstreamError):
        return await good.connected(call)
    return Page("Connected", "The account is connected.")


async def shows_the_token(call: Call[Returned]) -> Page:
    await good.connected(call)
    return Page("Connected", await call.secrets.get("token") or "")


# Uploads


async def stores_twice(call: Call[Sent]) -> Stored:
    await call.upload.store(most_bytes=1000)
    return await good.put(call)


async def takes_less_than_is_sent(call: Call[Sent]) -> Stored:
    return Stored((await call.upload.store(most_bytes=3)).digest)


async def keeps_in_a_transaction_that_is_over(call: Call[Sent]) -> Stored:
    blob = await call.upload.store(most_bytes=1000)
    async with call.db() as db:
        pass
    await db.keep(blob, call.body.name, for_s=60)
    return Stored(blob.digest)


# Reactions


async def reminds_without_a_key(call: Call[Crossing]) -> None:
    request = httpx.Request("POST", f"{call.options.base_url}/reminders", json={"customer": call.customer_id})
    async with call.wire.send(request) as answer:
        await answer.aread()


async def notes_each_time(call: Call[Crossing]) -> None:
    async with call.db() as db:
        await db.execute(
            "insert into reminders (crossing, customer_id) values (gen_random_uuid(), $1)", call.customer_id
        )


async def swallows_the_cancellation(call: Call[Crossing]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await good.remind(call)


async def swallows_the_failure(call: Call[Crossing]) -> None:
    with contextlib.suppress(UpstreamError):
        await good.remind(call)


async def needs_a_key(call: Call[Crossing]) -> None:
    assert call.key_id is not None, "a reaction has no key"


# Panels


async def shows_everybodys_files(view: PanelView) -> list[panels.Part]:
    async with view.db() as db:
        rows = await db.fetch("select name from files")
    return [panels.Table(["File"], [[row["name"]] for row in rows])]


async def writes(view: Any) -> list[panels.Part]:
    async with view.db() as db:
        await db.fetch("insert into files (customer_id, name, digest) values (1, 'x', 'x') returning id")
    return []


async def posts(view: PanelView) -> list[panels.Part]:
    async with view.wire.send(httpx.Request("POST", f"{view.options.base_url}/state")):
        return []


async def shows_the_token_of_the_customer(view: Any) -> list[panels.Part]:
    return [panels.Stat("Token", good.TOKEN)]


async def logs_the_token_of_the_customer(view: Any) -> list[panels.Part]:
    logging.getLogger("desk").info("loading with %s", good.TOKEN)
    return []


async def returns_nothing(view: PanelView) -> Any:
    return None


async def has_a_row_that_is_too_short(view: PanelView) -> list[panels.Part]:
    return [panels.Table(["File", "Digest"], [["letter"]])]


async def offers_what_nobody_can_call(view: PanelView) -> list[panels.Part]:
    return [panels.Action("Delete", "desk.delete")]


async def believes_the_vendor(view: PanelView) -> list[panels.Part]:
    async with view.wire.send(httpx.Request("GET", f"{view.options.base_url}/state"), secret="token") as answer:
        return [panels.Stat("Vendor", json.loads(await answer.aread())["state"])]


async def shows_what_the_vendor_sends(view: PanelView) -> list[panels.Part]:
    async with view.wire.send(httpx.Request("GET", f"{view.options.base_url}/state")) as answer:
        try:
            return [panels.Stat("Vendor", json.loads(await answer.aread()))]
        except ValueError:
            raise UpstreamError("the vendor's answer is no JSON") from None


async def never_gives_up(view: PanelView) -> list[panels.Part]:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            return await good.shelf(view)


async def leaves_a_task(view: PanelView) -> list[panels.Part]:
    TASKS.append(asyncio.ensure_future(asyncio.sleep(3600)))
    return []


TASKS: list[Any] = []


# Books, and what is declared


def needs_charges(month: BookMonth) -> dict[str, int]:
    return {"files": month.lines[0].count}


def is_no_mapping(month: BookMonth) -> list[int]:
    return [1]


def changes_its_mind(month: BookMonth) -> dict[str, float]:
    return {"files": random.random()}


@pytest.mark.parametrize(
    ("function", "broken", "test", "says"),
    [
        ("start", begins_what_is_not_declared, SUCCEEDS, "there is no callback 'login'"),
        ("connected", trusts_the_token_endpoint, NONSENSE, "read answers with care"),
        ("connected", expects_a_code, SUCCEEDS, "it fails: KeyError"),
        ("connected", says_connected_whatever_happens, FAILS, "it succeeds although request 1"),
        ("connected", shows_the_token, SUCCEEDS, "the reply of 'desk.callbacks.account' contains a secret"),
        ("put", stores_twice, SUCCEEDS, "it fails:"),
        ("put", takes_less_than_is_sent, SUCCEEDS, "it fails: TooLarge"),
        ("put", keeps_in_a_transaction_that_is_over, SUCCEEDS, "it fails: TicketClosed"),
        ("remind", reminds_without_a_key, TWICE, "send an idempotency key that follows from the payload"),
        ("remind", notes_each_time, TWICE, "when it runs a second time, its rows become others"),
        ("remind", swallows_the_cancellation, LEAVES, "it answers although it was cancelled"),
        ("remind", swallows_the_failure, FAILS, "it succeeds although request 1"),
        ("remind", needs_a_key, SUCCEEDS, "a reaction has no key"),
        ("shelf", shows_everybodys_files, PANEL_OTHERS, "it shows what belongs to this one"),
        ("shelf", writes, SHOWN, "a panel only reads"),
        ("shelf", posts, SHOWN, "its wire sends GET and HEAD"),
        ("shelf", shows_the_token_of_the_customer, SHOWN, "a secret is shown in the page"),
        ("shelf", logs_the_token_of_the_customer, SHOWN, "a secret is shown in the log"),
        ("shelf", returns_nothing, SHOWN, "must return a list of parts"),
        ("shelf", has_a_row_that_is_too_short, SHOWN, "has a row with 1 cells"),
        ("shelf", offers_what_nobody_can_call, SHOWN, "there is no operation 'desk.delete'"),
        ("shelf", believes_the_vendor, PANEL_FAILS, "read answers with care"),
        ("shelf", shows_what_the_vendor_sends, PANEL_FAILS, "has a cell"),
        ("shelf", never_gives_up, SLOW, "it goes on although its time is over"),
        ("shelf", leaves_a_task, SHOWN, "it leaves a task behind"),
        ("statement", needs_charges, DECLARED, "fails for a month without charges: IndexError"),
        ("statement", is_no_mapping, DECLARED, "must return a mapping"),
        ("statement", changes_its_mind, DECLARED, "says something else the second time"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_broken_is_caught_and_the_message_says_where_and_what_to_do(
    function: str, broken: Callable[..., Any], test: str, says: str
) -> None:
    class Broken(DeskContract):
        integration: ClassVar[Integration] = desk(**{function: broken})

    where = {
        "connected": "desk.callbacks.account",
        "remind": "desk.reactions.balance_below",
        "shelf": "desk.panels.on-the-shelf",
        "statement": "desk",
    }.get(function, f"desk.{function}")
    with pytest.raises(AssertionError) as caught:
        getattr(Broken(), test)()
    assert says in str(caught.value)
    assert where in str(caught.value)


def test_a_charge_with_a_wire_says_what_a_failure_costs() -> None:
    class Silent(DeskContract):
        integration: ClassVar[Integration] = desk(on_failure=None)

    with pytest.raises(AssertionError, match=r"'desk\.put' has a price and a wire: say `on_failure"):
        Silent().test_everything_that_it_declares_can_be_served()


def test_reactions_and_panels_may_be_without_examples() -> None:
    class Short(DeskContract):
        def examples(self) -> Any:
            given = super().examples()
            return {name: one for name, one in given.items() if ".reactions." not in name and ".panels." not in name}

    assert complaints_of(Short()) == []


def test_an_example_of_what_does_not_exist_is_named() -> None:
    class Wrong(DeskContract):
        def examples(self) -> Any:
            return {**super().examples(), "desk.panels.other": Example()}

    with pytest.raises(AssertionError, match=r"desk\.panels\.other, which the integration does not declare"):
        Wrong().test_everything_that_it_declares_can_be_served()
