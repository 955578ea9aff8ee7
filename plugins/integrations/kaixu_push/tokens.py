"""Tokens: the customer's own lies in the vault; the operator's is used for sites on the customer's list only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from kaixu.plugin import Body, Call, Failure, Free, Key, Operation, Operator, Secret

from .errors import bad
from .netlify import Netlify
from .options import PushOptions
from .part import Part

TOKEN = "token"  # noqa: S105
FREE = Free("one's own settings")
OPERATORS = Free("operators")

Source = Literal["customer", "operator"]


class Nothing(msgspec.Struct):
    """No input."""


class Token(msgspec.Struct):
    token: Annotated[Any, Body()] = None


class Done(msgspec.Struct):
    ok: bool = True


class DoneFor(msgspec.Struct):
    customer_id: int
    ok: bool = True


class Connection(msgspec.Struct):
    ok: bool
    connected: bool
    whoami: dict[str, Any] | None


class HasToken(msgspec.Struct):
    customer_id: int
    has_token: bool


def no_token() -> Failure:
    """There is no token that may be used."""
    return Failure(
        409,
        "CONFIG",
        "No Netlify token for this site",
        hint="Set a Netlify token (netlify-token), or ask your operator to put the site on your list.",
    )


async def token_for(call: Call[Any], site: str, source: Source | None = None) -> tuple[str, Source]:
    """The token for a site, and whose it is; `source`: only this one's. Raises `Failure` CONFIG."""
    options: PushOptions = call.options
    if source != "operator":
        own = await call.secrets.get(TOKEN)
        if own is not None:
            return own, "customer"
    if source != "customer" and options.netlify_token is not None and site in (await call.settings()).allowed_sites:
        return options.netlify_token.get_secret_value(), "operator"
    raise no_token()


async def netlify_for(call: Call[Any], site: str, source: Source | None = None) -> Netlify:
    """Netlify for a site. Raises `Failure` CONFIG."""
    token, _ = await token_for(call, site, source)
    return Netlify(call, token)


async def store(call: Call[Token]) -> None:
    """Store a token that Netlify knows; while Netlify is away, unchecked. Raises `Failure`."""
    token = call.body.token.strip() if isinstance(call.body.token, str) else ""
    if not token:
        raise bad("Missing token")
    if not token.isascii() or not token.isprintable() or " " in token or len(token) > 4096:
        raise Failure(422, "BAD_TOKEN", "This cannot be a token of Netlify")
    try:
        await Netlify(call, token).user()
    except Failure as error:
        if error.status in (401, 403):
            raise Failure(422, "BAD_TOKEN", "Netlify does not accept this token") from None
        if error.status == 429:
            raise
        call.note("warn", "a Netlify token was stored unchecked, because Netlify did not answer")
    await call.secrets.put(TOKEN, token)


async def connection(call: Call[Nothing]) -> Connection:
    """Whether there is a token; whose it is, for admins, and of the customer's own only."""
    has_own = await call.secrets.info(TOKEN) is not None
    whoami = None
    if has_own and call.caller.role in ("admin", "owner"):
        try:
            own = await call.secrets.get(TOKEN)
            whoami = None if own is None else await Netlify(call, own).user()
        except Failure as error:
            if error.status == 429:
                raise
    options: PushOptions = call.options
    connected = has_own or (options.netlify_token is not None and bool((await call.settings()).allowed_sites))
    return Connection(True, connected, whoami)


async def set_own(call: Call[Token]) -> Done:
    """Store the customer's token."""
    await store(call)
    return Done()


async def clear_own(call: Call[Nothing]) -> Done:
    """Forget it."""
    await call.secrets.clear(TOKEN)
    return Done()


async def has_token(call: Call[Nothing]) -> HasToken:
    """Whether a customer has a token, for operators."""
    assert call.customer_id is not None
    return HasToken(call.customer_id, await call.secrets.info(TOKEN) is not None)


async def set_for(call: Call[Token]) -> DoneFor:
    """Store a customer's token, for operators."""
    assert call.customer_id is not None
    await store(call)
    return DoneFor(call.customer_id)


async def clear_for(call: Call[Nothing]) -> DoneFor:
    """Forget a customer's token, for operators."""
    assert call.customer_id is not None
    await call.secrets.clear(TOKEN)
    return DoneFor(call.customer_id)


OWN, ADMIN = ["netlify-token"], ["admin-netlify-token"]

PART = Part(
    operations=[
        Operation("push.token", connection, Nothing, FREE, method="GET", admission="key", path="/token", aliases=OWN),
        Operation(
            "push.token_set", set_own, Token, FREE, auth=Key("admin"), admission="key", path="/token", aliases=OWN
        ),
        Operation(
            "push.token_clear",
            clear_own,
            Nothing,
            FREE,
            method="DELETE",
            auth=Key("admin"),
            admission="key",
            path="/token",
            aliases=OWN,
        ),
        Operation(
            "push.admin_token",
            has_token,
            Nothing,
            OPERATORS,
            method="GET",
            auth=Operator(),
            path="/admin/token",
            aliases=ADMIN,
        ),
        Operation(
            "push.admin_token_set", set_for, Token, OPERATORS, auth=Operator(), path="/admin/token", aliases=ADMIN
        ),
        Operation(
            "push.admin_token_clear",
            clear_for,
            Nothing,
            OPERATORS,
            method="DELETE",
            auth=Operator(),
            path="/admin/token",
            aliases=ADMIN,
        ),
    ],
    secrets=[Secret(TOKEN, title="Netlify token", shown_as="has_netlify_token")],
)
