"""Begin something at a vendor with a browser, and let the callback's handler finish it: see `kaixu.plugin.Callback`."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.catalog.catalog import IntegrationState
from kaixu.ops.sealing import Sealer, about_callback
from kaixu.plugin.access import Caller as PluginCaller
from kaixu.plugin.callback import MOST_LIFETIME_S, Begun, Callback, NoData, Returned
from kaixu.plugin.errors import Conflict, NotConfigured, RateLimited, TicketClosed, Unprocessable
from kaixu.store.callbacks import NewState, TakenState, begin_callback, take_callback
from kaixu.store.pool import database

MOST_DATA_BYTES = 16 * 1024
MOST_URL = 8000
AGENT = "callback"


class Noted(msgspec.Struct, frozen=True):
    """What is sealed in the row of a state."""

    verifier: str
    redirect_uri: str
    data: msgspec.Raw
    return_to: str | None
    kind: str
    role: str | None
    key_last4: str | None
    email: str | None
    install_id: str | None = None
    app_id: str | None = None
    build_id: str | None = None


#: What was begun under a state.
Taken = TakenState


class BrowserCookie(msgspec.Struct, frozen=True):
    """The cookie of the browser that has begun something."""

    name: str
    value: str
    lifetime_s: int


class CallbackOwner(msgspec.Struct, frozen=True):
    """For whom something is begun: those of the call."""

    customer_id: int | None
    key_id: int | None
    caller: PluginCaller
    install_id: str | None = None
    app_id: str | None = None
    build_id: str | None = None


class CallbackStart:
    """`call.begin` of one call. `cookie`: for the reply of the call that has begun something."""

    def __init__(
        self,
        integration: IntegrationState,
        owner: CallbackOwner,
        *,
        pool: Callable[[], asyncpg.Pool],
        sealer: Sealer,
        public_url: str | None,
    ) -> None:
        self.integration = integration
        self.owner = owner
        self.cookie: BrowserCookie | None = None
        self._pool = pool
        self._sealer = sealer
        self._public_url = public_url

    async def begin(
        self, callback: str, data: msgspec.Struct | None, *, return_to: str | None, lifetime_s: float, is_open: bool
    ) -> Begun:
        """See `kaixu.plugin.Call.begin`."""
        if not is_open:
            raise TicketClosed("the call has been settled; it can begin nothing any more")
        declared = self._declared(callback)
        noted = NoData() if data is None else data
        if not isinstance(noted, declared.data):
            raise TypeError(f"callback `{callback}` notes a {declared.data.__name__}")
        if self.cookie is not None:
            raise ValueError("a call can begin one thing only")
        if not 0 < lifetime_s <= MOST_LIFETIME_S[declared.bind]:
            raise ValueError(f"`lifetime_s` of a {declared.bind} may be up to {MOST_LIFETIME_S[declared.bind]:.0f}")
        encoded = msgspec.json.encode(noted)
        if len(encoded) > MOST_DATA_BYTES:
            raise ValueError(f"`data` may have {MOST_DATA_BYTES} bytes, not {len(encoded)}")
        back = None if return_to is None else own_path(return_to, self._public_url)
        redirect_uri = self._redirect_uri(declared)
        state, verifier, cookie = (secrets.token_urlsafe(32) for _ in range(3))
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        own = f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}state={quote(state)}"
        begun = Begun(own, state, challenge, redirect_uri)
        if declared.authorize is not None:
            url = declared.authorize(self.integration.options, begun)
            begun = msgspec.structs.replace(begun, url=self._require_url(url))
        owner, caller = self.owner, self.owner.caller
        sealed = self._sealer.seal_named(
            msgspec.json.encode(
                Noted(
                    verifier=verifier,
                    redirect_uri=redirect_uri,
                    data=msgspec.Raw(encoded),
                    return_to=back,
                    kind=caller.kind,
                    role=caller.role,
                    key_last4=caller.key_last4,
                    email=caller.email,
                    install_id=owner.install_id,
                    app_id=owner.app_id,
                    build_id=owner.build_id,
                )
            ),
            about_callback(hash_of(state)),
        )
        new = NewState(
            state_hash=hash_of(state),
            integration=self.integration.name,
            callback=callback,
            customer_id=owner.customer_id,
            key_id=owner.key_id,
            is_bound=declared.bind == "browser",
            cookie_hash=hash_of(cookie),
            sealed=sealed,
            lifetime_s=lifetime_s,
        )
        with database():
            if not await begin_callback(self._pool(), new):
                raise RateLimited("too much was begun and not finished", hint="Wait an hour.", retry_after_s=3600)
        if new.is_bound:
            self.cookie = BrowserCookie(cookie_name(state), cookie, int(lifetime_s))
        return begun

    def _declared(self, name: str) -> Callback:
        assert self.integration.integration is not None
        for one in self.integration.integration.callbacks:
            if one.name == name:
                return one
        raise ValueError(f"integration `{self.integration.name}` has no callback `{name}`")

    def _redirect_uri(self, callback: Callback) -> str:
        """Where the vendor sends the browser to: of the options, or below GATEWAY_URL; never of the request."""
        given = None if callback.redirect_uri is None else callback.redirect_uri(self.integration.options)
        if given is not None:
            return given
        if self._public_url is None:
            raise NotConfigured(
                f"`{self.integration.name}` needs the gateway's own address", hint="Set GATEWAY_URL, and restart."
            )
        return f"{self._public_url.rstrip('/')}{path_of(self.integration.name, callback)}"

    def _require_url(self, url: str) -> str:
        """Raises `ValueError` for what no browser should be sent to: https, or a host that the options name."""
        try:
            is_fine = len(url) <= MOST_URL and url.isascii() and url.isprintable()
            is_fine = is_fine and (url.startswith("https://") or self.integration.hosts.allow(httpx.URL(url)))
        except (httpx.InvalidURL, ValueError):
            is_fine = False
        if not is_fine:
            raise ValueError("`authorize` must return an https address, or one of a host that the options name")
        return url


def path_of(integration: str, callback: Callback) -> str:
    """The path of a callback."""
    return f"/v1/{integration}/callbacks/{callback.name}"


def hash_of(text: str) -> bytes:
    """How states and cookies are stored: whoever reads the database cannot use them."""
    return hashlib.sha256(text.encode()).digest()


def cookie_name(state: str) -> str:
    """The cookie for a state: several things can be begun in one browser."""
    return f"__Host-kaixu-cb-{hash_of(state).hex()[:12]}"


def own_path(address: str, public_url: str | None) -> str:
    """A path of this gateway. Raises `Unprocessable` for anything else, also for another origin."""
    path = address
    if public_url is not None and not address.startswith("/"):
        own, given = urlsplit(public_url), urlsplit(address)
        if (own.scheme, own.netloc) == (given.scheme, given.netloc):
            path = address[len(f"{given.scheme}://{given.netloc}") :] or "/"
    is_path = path.startswith("/") and not path.startswith(("//", "/\\"))
    if not is_path or len(path) > 2000 or not path.isascii() or not path.isprintable() or " " in path or "\\" in path:
        raise Unprocessable("`return_to` must be a page of this gateway", field="return_to")
    return path


async def take(
    pool: asyncpg.Pool, integration: str, callback: Callback, state: str, cookie: str | None, *, is_confirmed: bool
) -> Taken:
    """What was begun under a state, which is used up where it works once. Raises `DatabaseAway`."""
    with database():
        return await take_callback(
            pool,
            state_hash=hash_of(state),
            integration=integration,
            callback=callback.name,
            cookie_hash=None if cookie is None else hash_of(cookie),
            is_confirmed=is_confirmed,
        )


def returned_of(
    sealer: Sealer, callback: Callback, taken: Taken, state: str, query: Mapping[str, str]
) -> tuple[Returned, Noted]:
    """What the handler gets, and what was noted besides. Raises `Conflict`."""
    assert taken.sealed is not None
    try:
        noted = msgspec.json.decode(sealer.open(taken.sealed, about_callback(hash_of(state))), type=Noted)
        data: Any = msgspec.json.decode(noted.data, type=callback.data)
    except (InvalidTag, msgspec.MsgspecError):
        raise Conflict("this was begun with another version of the gateway", hint="Begin again.") from None
    begun_by = PluginCaller(noted.kind, noted.role, noted.key_last4, noted.email)  # type: ignore[arg-type]
    return Returned(query, noted.verifier, noted.redirect_uri, data, noted.return_to, begun_by), noted
