"""A callback: the customer's account at the carrier is connected in a browser, by OAuth with PKCE."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx
import msgspec

from kaixu.plugin import Begun, Call, Callback, Free, Key, Operation, Page, PageLink, Returned

from .options import ParcelOptions
from .part import Part

CLIENT_ID = "parcels"


class Login(msgspec.Struct):
    return_to: str | None = None


class Address(msgspec.Struct):
    authorize_url: str


class Purpose(msgspec.Struct):
    scope: str


class Granted(msgspec.Struct):
    access_token: str
    account: str


def authorize(options: ParcelOptions, begun: Begun) -> str:
    """The carrier's page of consent."""
    query = {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "state": begun.state,
        "redirect_uri": begun.redirect_uri,
        "code_challenge": begun.challenge,
        "code_challenge_method": "S256",
    }
    return f"{options.carrier}/authorize?{urlencode(query)}"


async def login(call: Call[Login]) -> Address:
    """Where the browser goes."""
    begun = await call.begin("account", Purpose("labels"), return_to=call.body.return_to)
    return Address(begun.url)


async def connected(call: Call[Returned]) -> Page:
    """Exchange the code, and store the token."""
    back = call.body
    if "code" not in back.query:
        return Page("Not connected", "The carrier says that you have not allowed it.")
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "code": back.query["code"],
        "code_verifier": back.verifier,
        "redirect_uri": back.redirect_uri,
    }
    request = httpx.Request("POST", f"{call.options.carrier}/token", data=form)
    async with call.wire.send(request, accept={400}) as answer:
        data = await answer.aread()
    try:
        granted = msgspec.json.decode(data, type=Granted)
    except msgspec.MsgspecError:
        return Page("Not connected", "The carrier has not accepted the code.", status=502)
    await call.change_settings({"account": granted.account})
    await call.secrets.put("token", granted.access_token)
    link = None if back.return_to is None else PageLink("Back", back.return_to)
    return Page("Connected", f"{granted.account} may print {back.data.scope}.", link)


PART = Part(
    operations=[
        Operation("parcel.login", login, Login, Free("one's account"), path="/account/login", auth=Key("admin"))
    ],
    callbacks=[
        Callback("account", connected, "one's account", authorize, data=Purpose, aliases=["carrier-callback"])
    ],
)  # fmt: skip
