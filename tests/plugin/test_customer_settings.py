"""What an integration may declare of its customers, and the kit's secrets and settings."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kaixu.plugin import Conflict, Free, Integration, NotFound, Operation, Secret, TicketClosed, Unprocessable
from kaixu.plugin.customer_settings import check_customer_settings
from kaixu.plugin.errors import PluginError
from kaixu.plugin.secret import check_secrets
from kaixu.plugin.testing import Example, FakeCall, IntegrationContract, check_integration, run


class Settings(msgspec.Struct):
    stripe_customer_id: str | None = None
    cap_cents: int = 5


class Required(msgspec.Struct):
    cap_cents: int


class NoJson(msgspec.Struct):
    what: complex = 0j


class Body(msgspec.Struct):
    do: str = ""


@pytest.mark.parametrize(
    ("kind", "unique", "why"),
    [(Required, (), "must have a default"), (NoJson, (), "JSON can express"), (dict, (), "msgspec.Struct"),
     (Settings, ("cap",), "not a field"), (None, ("cap",), "not declared")],
    ids=["required", "no JSON", "no Struct", "unknown unique field", "no settings"],
)  # fmt: skip
def test_settings_that_cannot_be_served_are_refused(kind: Any, unique: tuple[str, ...], why: str) -> None:
    with pytest.raises(PluginError, match=why):
        check_customer_settings(kind, unique)
    with pytest.raises(AssertionError, match=why):
        check_integration(Integration("push", [], customer=kind, unique=unique))


@pytest.mark.parametrize(
    ("secrets", "why"),
    [((Secret("Token", "t"),), "identifier"), ((Secret("a", "t"), Secret("a", "t")), "twice"), ((Secret("a", " "),), "title"),
     ((Secret("a", "t", shown_as="email"),), "has_")],
    ids=["name", "twice", "title", "shown_as"],
)  # fmt: skip
def test_secrets_that_cannot_be_served_are_refused(secrets: tuple[Secret, ...], why: str) -> None:
    with pytest.raises(PluginError, match=why):
        check_secrets(secrets)


async def work(call: Any) -> Body:
    token = await call.secrets.get("token")
    match call.body.do:
        case "put":
            await call.secrets.put("token", "another-token", meta={"a": 1})
            assert (await call.secrets.info("token")).meta == {"a": 1}
            assert await call.secrets.clear("token")
            assert await call.secrets.info("token") is None
        case "undeclared":
            await call.secrets.get("password")
        case "shows":
            return Body(token)
        case "raises":
            raise NotFound(f"nothing for {token}")
        case "settings":
            assert (await call.settings()).cap_cents == 7
            assert await call.change_settings({"cap_cents": 8}) == Settings(cap_cents=8)
            assert await call.customer_with("stripe_customer_id", "cus_2") == 7
            await call.change_settings({"stripe_customer_id": "cus_2"})
        case "impossible":
            await call.change_settings({"cap_cents": "8"})
    return Body(call.body.do)


PUSH = Integration(
    "push",
    [Operation("push.work", work, Body, Free("a test"))],
    secrets=[Secret("token", title="Token")],
    customer=Settings,
    unique=("stripe_customer_id",),
)


def call_to(do: str, **how: Any) -> FakeCall:
    """A call of a customer with a token and settings."""
    given: dict[str, Any] = {
        "secrets": {"token": "a-token-of-ada"}, "settings": {"cap_cents": 7},
        "unique_values": {("stripe_customer_id", "cus_2"): 7},
    }  # fmt: skip
    return FakeCall(Body(do), **{**given, **how})


class TestPush(IntegrationContract):
    integration = PUSH

    def examples(self) -> dict[str, Example]:
        given = Example(
            body=Body("put"),
            secrets={"token": "a-token-of-ada"},
            settings={"cap_cents": 7},
            unique_values={("stripe_customer_id", "cus_2"): 7},
        )
        return {"push.work": given}


@pytest.mark.parametrize(
    ("do", "error"),
    [("undeclared", ValueError), ("shows", AssertionError), ("settings", Conflict), ("impossible", Unprocessable)],
)
async def test_the_kit_refuses_what_the_gateway_refuses(do: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await run(PUSH, "push.work", call_to(do))


async def test_a_call_of_the_kit_has_nothing_after_its_end_and_without_a_customer() -> None:
    call = call_to("put")
    await run(PUSH, "push.work", call)
    for use in (call.secrets.get("token"), call.settings(), call.customer_with("stripe_customer_id", "cus_2")):
        with pytest.raises(TicketClosed):
            await use
    with pytest.raises(ValueError, match="no customer"):
        await run(PUSH, "push.work", call_to("put", customer_id=None, key_id=None))
