"""The token of a customer: store, show and remove it; who it belongs to."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from kaixu.plugin import Call, Failure, Free, Invalid, KaixuError, Key, Operation, Operator, SecretInfo

from .account import TOKEN, Account
from .identity import Identity, identity_of, missing
from .times import stamp

MOST_TYPE = 32


class Nothing(msgspec.Struct):
    """No input."""


class TokenBody(msgspec.Struct):
    token: str | None = None
    token_type: str | None = None
    scopes: list[Annotated[str, msgspec.Meta(max_length=100)]] = []


class TokenState(msgspec.Struct):
    """`missing`: what the token cannot do, in words. `error`: why there is none any more."""

    ok: bool
    connected: bool
    token_type: str | None
    scopes: list[str]
    updated_at: str | None
    whoami: dict[str, Any] | None
    login: str | None = None
    missing: list[str] = []
    error: str | None = None


class Stored(msgspec.Struct):
    ok: bool
    login: str
    scopes: list[str]
    missing: list[str]


class Done(msgspec.Struct):
    ok: bool = True


class WhoAmI(msgspec.Struct):
    ok: bool
    customer_id: int | None
    user: dict[str, Any]
    scopes: str
    missing: list[str]


class CustomerToken(msgspec.Struct):
    customer_id: int | None
    has_token: bool
    token_type: str | None
    scopes: list[str]
    login: str | None = None
    missing: list[str] = []


class CustomerDone(msgspec.Struct):
    ok: bool
    customer_id: int | None


async def show(call: Call[Nothing]) -> TokenState:
    """Whether there is a token. For admins and owners GitHub is asked whose it is."""
    info = await call.secrets.info(TOKEN)
    whoami, error = None, None
    if info is not None and call.caller.role in ("admin", "owner"):
        try:
            whoami = (await identity_of(await Account.of(call))).user
        except KaixuError as failure:
            if failure.code == "GITHUB_UNAUTHORIZED":
                error, info = failure.message, None
    return TokenState(
        ok=True,
        connected=info is not None,
        token_type=text_in(info, "token_type"),
        scopes=scopes_in(info),
        updated_at=None if info is None else stamp(info.set_at),
        whoami=whoami,
        login=text_in(info, "login"),
        missing=[] if info is None else missing(shown_scopes(info)),
        error=error,
    )


async def store(call: Call[TokenBody]) -> Stored:
    """Store a token, after GitHub has said whose it is."""
    return await stored(call)


async def clear(call: Call[Nothing]) -> Done:
    """Remove the token."""
    await call.secrets.clear(TOKEN)
    return Done()


async def whoami(call: Call[Nothing]) -> WhoAmI:
    """Whose the token is, in GitHub's words."""
    found = await identity_of(await Account.of(call))
    return WhoAmI(True, call.customer_id, found.user, ", ".join(found.scopes or []), missing(found.scopes))


async def show_of_customer(call: Call[Nothing]) -> CustomerToken:
    """For operators: whether a customer has a token."""
    info = await call.secrets.info(TOKEN)
    lacks = [] if info is None else missing(shown_scopes(info))
    return CustomerToken(
        call.customer_id, info is not None, text_in(info, "token_type"), scopes_in(info), text_in(info, "login"), lacks
    )


async def store_of_customer(call: Call[TokenBody]) -> CustomerDone:
    """For operators: store a customer's token."""
    await stored(call)
    return CustomerDone(True, call.customer_id)


async def clear_of_customer(call: Call[Nothing]) -> CustomerDone:
    """For operators: remove a customer's token."""
    await call.secrets.clear(TOKEN)
    return CustomerDone(True, call.customer_id)


async def stored(call: Call[TokenBody]) -> Stored:
    """Check a token and store it. Raises `Invalid`, `Failure`."""
    token = (call.body.token or "").strip()
    if not token:
        raise Invalid("Missing token", field="token")
    if not token.isascii() or not token.isprintable() or " " in token or len(token) > 4000:
        raise Failure(422, "BAD_TOKEN", "This is no token of GitHub")
    try:
        found = await identity_of(Account(call, token))
    except KaixuError as failure:
        if failure.code == "GITHUB_UNAUTHORIZED":
            raise Failure(
                422, "BAD_TOKEN", "GitHub does not accept this token", hint="Is it whole, and valid?"
            ) from None
        raise
    return await keep(call, token, found, (call.body.token_type or "").strip()[:MOST_TYPE] or "pat", call.body.scopes)


async def keep(call: Call[Any], token: str, found: Identity, token_type: str, given: list[str]) -> Stored:
    """Store a token that was checked."""
    meta = found.meta(token_type, given)
    await call.secrets.put(TOKEN, token, meta=meta)
    return Stored(True, found.login, meta["scopes"], missing(found.scopes))


def text_in(info: SecretInfo | None, name: str) -> str | None:
    """A text of what is stored beside the token."""
    value = None if info is None else info.meta.get(name)
    return value if isinstance(value, str) else None


def scopes_in(info: SecretInfo | None) -> list[str]:
    """The scopes of the stored token."""
    scopes = [] if info is None else info.meta.get("scopes")
    return [one for one in scopes if isinstance(one, str)] if isinstance(scopes, list) else []


def shown_scopes(info: SecretInfo) -> list[str] | None:
    """The scopes that GitHub has shown; None: it shows none, or the token was imported and never asked about."""
    return scopes_in(info) if info.meta.get("shows_scopes") or scopes_in(info) else None


FREE = Free("connects an account")
ADMIN = "admin-github-token"

OPERATIONS = [
    Operation("github.token", show, Nothing, FREE, method="GET", path="/token", aliases=["github-token"]),
    Operation(
        "github.token-set", store, TokenBody, FREE, path="/token", aliases=["github-token"], auth=Key("admin")
    ),
    Operation(
        "github.token-clear", clear, Nothing, FREE, method="DELETE", path="/token", aliases=["github-token"],
        auth=Key("admin"),
    ),
    Operation(
        "github.whoami", whoami, Nothing, FREE, method="GET", path="/whoami", aliases=["github-whoami"],
        auth=Key("admin"),
    ),
    Operation(
        "github.admin-token", show_of_customer, Nothing, FREE, method="GET", path="/admin/token", aliases=[ADMIN],
        auth=Operator(),
    ),
    Operation(
        "github.admin-token-set", store_of_customer, TokenBody, FREE, path="/admin/token", aliases=[ADMIN],
        auth=Operator(),
    ),
    Operation(
        "github.admin-token-clear", clear_of_customer, Nothing, FREE, method="DELETE", path="/admin/token",
        aliases=[ADMIN], auth=Operator(),
    ),
]  # fmt: skip
