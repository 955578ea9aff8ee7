"""Callbacks: what an integration begins at a vendor with the customer's browser, and its return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from kaixu.plugin.access import Caller

Bind = Literal["browser", "link"]

#: The longest time between the beginning and the return, in seconds.
MOST_LIFETIME_S = {"browser": 3600.0, "link": 24 * 3600.0}


class Begun(msgspec.Struct, frozen=True):
    """What was begun. `url` is where the browser goes; of `authorize` it is this gateway's own address with the state.

    `challenge` is that of PKCE (RFC 7636), with the method S256.
    """

    url: str
    state: str
    challenge: str
    redirect_uri: str


class Returned(msgspec.Struct, frozen=True):
    """What the handler of a callback gets as `call.body`.

    `query` is what the vendor has added, without `state`; of a repeated name the first value. `data` and `return_to`
    are what was given to `begin`; `begun_by` is who called it.
    """

    query: Mapping[str, str]
    verifier: str
    redirect_uri: str
    data: Any
    return_to: str | None
    begun_by: Caller


class NoData(msgspec.Struct, frozen=True):
    """Nothing is noted at the beginning."""


class Callback(msgspec.Struct, frozen=True):
    """The return of a browser: `GET /v1/<integration>/callbacks/<name>`. It costs nothing: `why_free`.

    `handler` gets a `Call` with a `Returned`, and answers with a page or a redirect. `authorize` makes the vendor's
    address from the options and a `Begun`; it is quick and has no side effects. `data`: the type of what is noted.
    `bind`: "browser" works once, in the browser that began it, and the key is admitted again; "link" is a page that may
    be opened again by whoever has its address, and is not admitted. `redirect_uri`: an address of the options instead
    of the gateway's own. `aliases`: names below `/api/` and `/.netlify/functions/`.
    """

    name: str
    handler: Callable[[Any], Awaitable[Any]]
    why_free: str
    authorize: Callable[[Any, Begun], str] | None = None
    data: type[msgspec.Struct] = NoData
    bind: Bind = "browser"
    redirect_uri: Callable[[Any], str | None] | None = None
    aliases: Sequence[str] = ()
    timeout_s: float = 30.0
