"""A mistake in the declaration of a callback is told as a sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.catalog.check_integration import check_integration
from kaixu.plugin import Callback, Free, Integration, Operation, Page
from kaixu.plugin.errors import PluginError


class Nothing(msgspec.Struct):
    pass


async def do(call: Any) -> Page:
    return Page("Title", "Text")


def plain(call: Any) -> Page:
    return Page("Title", "Text")


def authorize(options: Any, begun: Any) -> str:
    return ""


def one(
    name: str = "back", handler: Any = do, why_free: str = "a test", make: Any = authorize, **more: Any
) -> Callback:
    return Callback(name, handler, why_free, make, **more)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([3], "`callbacks[0]` of integration `link` must be a Callback"),
        ([one("Back")], "callback `Back` must be named in small letters, digits and hyphens"),
        ([one(), one()], "callback `back` is registered twice"),
        ([one(aliases=["a", "a"])], "callback `a` is registered twice"),
        ([one(aliases=["gateway-chat"])], "callback alias `gateway-chat` is an endpoint already"),
        ([one(aliases=["mine"])], "callback alias `mine` is an endpoint already"),
        ([one(handler=plain)], "callback `back`: its handler must be an `async def` function"),
        ([one(why_free=" ")], "callback `back`: `why_free` must say why it is free"),
        ([one(bind="tab")], "callback `back`: `bind` is browser or link, not 'tab'"),
        ([one(make=None)], "callback `back`: `authorize` must make the vendor's address"),
        ([one(make=do)], "callback `back`: `authorize` and `redirect_uri` must be plain functions"),
        ([one(timeout_s=0)], "callback `back`: it may take up to 300 s, not 0"),
        ([one(data=dict)], "callback `back`: its `data` must be a subclass of msgspec.Struct"),
    ],
)
def test_a_mistake_is_told(callbacks: list[Any], words: str) -> None:
    operation = Operation("link.start", do, Nothing, Free("a test"), aliases=["mine"])
    with pytest.raises(PluginError) as raised:
        check_integration(Integration("link", [operation], callbacks=callbacks))
    assert words in str(raised.value)


@pytest.mark.parametrize("more", [{"path": "/callbacks/back"}, {}], ids=["path", "name"])
def test_no_operation_is_named_like_a_callback(more: dict[str, Any]) -> None:
    name = "link.start" if more else "link.callbacks.back"
    with pytest.raises(PluginError, match="cannot be named like a callback"):
        check_integration(Integration("link", [Operation(name, do, Nothing, Free("a test"), **more)]))


def test_a_link_needs_no_vendor_s_address() -> None:
    check_integration(Integration("link", [], callbacks=[one(bind="link", make=None)]))
