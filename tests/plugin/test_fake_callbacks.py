"""The kit begins callbacks and runs their handlers as the gateway does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.plugin import Begun, Callback, Caller, Free, Integration, Operation, Page, Returned
from kaixu.plugin.testing import FakeCall, check_integration, run


class Wish(msgspec.Struct):
    scope: str = "repo"


class Started(msgspec.Struct):
    url: str


def authorize(options: Any, begun: Begun) -> str:
    return f"https://vendor.example/authorize?state={begun.state}&challenge={begun.challenge}"


async def start(call: Any) -> Started:
    begun = await call.begin("account", call.body, return_to="/here")
    return Started(begun.url)


async def connected(call: Any) -> Page:
    return Page("Connected", f"{call.body.data.scope} {call.body.query['code']} {call.body.verifier}")


LINK = Integration(
    "link",
    [Operation("link.start", start, Wish, Free("a test"))],
    callbacks=[Callback("account", connected, "a test", authorize, data=Wish)],
)


async def test_what_is_begun_is_noted_and_the_vendor_s_address_made() -> None:
    check_integration(LINK)
    call = FakeCall(Wish("all"))
    assert await run(LINK, "link.start", call) == Started(
        "https://vendor.example/authorize?state=state&challenge=challenge"
    )
    assert call.begun == [("account", Wish("all"), "/here")]


async def test_the_handler_of_a_callback_runs() -> None:
    returned = Returned({"code": "c"}, "verifier", "https://gateway.example/x", Wish("all"), None, Caller("key"))
    assert await run(LINK, "link.callbacks.account", FakeCall(returned)) == Page("Connected", "all c verifier")


async def test_an_unknown_callback_is_a_mistake() -> None:
    async def wrong(call: Any) -> Started:
        await call.begin("nothing")
        return Started("")

    broken = Integration("link", [Operation("link.start", wrong, Wish, Free("a test"))])
    with pytest.raises(AssertionError, match="no callback"):
        await run(broken, "link.start", FakeCall(Wish()))
