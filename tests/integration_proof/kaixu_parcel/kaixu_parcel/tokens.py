"""Secrets and settings of customers: their account at the carrier."""

from __future__ import annotations

import httpx
import msgspec

from kaixu.plugin import Call, Free, Key, Operation, Secret, Unprocessable, UpstreamError

from .part import Part


class Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str


class Account(msgspec.Struct):
    account: str


class Connection(msgspec.Struct):
    account: str | None
    is_connected: bool


class Nothing(msgspec.Struct):
    """No input."""


async def connect(call: Call[Token]) -> Account:
    """Store the customer's token, after the carrier has said whose it is."""
    headers = {"authorization": f"Bearer {call.body.token}"}
    request = httpx.Request("GET", f"{call.options.carrier}/account", headers=headers)
    async with call.wire.send(request, accept={401}) as answer:
        if answer.status_code == 401:
            raise Unprocessable("the carrier does not know this token", field="token")
        try:
            account = msgspec.json.decode(await answer.aread(), type=Account)
        except msgspec.MsgspecError:
            raise UpstreamError("the carrier's answer cannot be read") from None
    await call.change_settings({"account": account.account})
    await call.secrets.put("token", call.body.token)
    return account


async def connection(call: Call[Nothing]) -> Connection:
    """Whether there is one."""
    settings = await call.settings()
    return Connection(settings.account, await call.secrets.info("token") is not None)


async def disconnect(call: Call[Nothing]) -> Connection:
    """Forget it."""
    await call.secrets.clear("token")
    await call.change_settings({"account": None})
    return Connection(None, is_connected=False)


PART = Part(
    operations=[
        Operation("parcel.connect", connect, Token, Free("one's token"), path="/account", auth=Key("admin")),
        Operation("parcel.connection", connection, Nothing, Free("one's token"), method="GET", path="/account"),
        Operation(
            "parcel.disconnect", disconnect, Nothing, Free("one's token"), method="DELETE", path="/account",
            auth=Key("admin"),
        ),
    ],
    secrets=[Secret("token", title="Token of the carrier", shown_as="has_parcel_token")],
)  # fmt: skip
