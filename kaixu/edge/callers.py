"""Checks callers before the handler runs: credentials, who pays for a body's memory, the rate of read requests."""

from __future__ import annotations

from typing import Protocol, assert_never

from kaixu.accounts.readings import KeyLookup, count_reading
from kaixu.plugin.errors import TooLarge

from .authenticate import read_caller, require_credential, require_key
from .operators import (
    HOW_TO_LOG_IN,
    cookie_session_of,
    identify,
    looks_like_operator,
    not_an_operator,
    require_operator_credential,
)
from .request import Headers, IncomingRequest
from .request_body import SMALL_BODY_BYTES, BodyOwner
from .routes import Auth
from .services import Services


class Callers(Protocol):
    """What an exchange needs to know about the caller of a request."""

    def require(self, auth: Auth, headers: Headers) -> None:
        """Raises `Unauthenticated` if the headers have no credential of this kind. Makes no database query."""

    async def find_body_owner(self, request: IncomingRequest) -> BodyOwner:
        """Look up whose memory budget a long body counts against. Raises `Unauthenticated` for an unknown key."""
        ...

    async def count_reading(self, request: IncomingRequest, body_bytes: int) -> None:
        """Count one read request of the key. Raises `Unauthenticated`, `CustomerDisabled`, `RateLimited`."""


class GatewayCallers:
    """The callers of one gateway: customers by their keys and sessions, and operators."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.keys = KeyLookup(services.pool)

    def require(self, auth: Auth, headers: Headers) -> None:
        """See `Callers.require`."""
        services = self.services
        if auth == "key":
            require_credential(headers, services.secrets)
        elif auth == "key_or_operator":
            if not looks_like_operator(services, headers):
                require_credential(headers, services.secrets)
        elif auth == "key_only":
            require_key(headers)
        elif auth == "operator":
            require_operator_credential(services, headers)
        elif auth == "operator_page":
            if cookie_session_of(services, headers) is None:
                raise not_an_operator()
        elif auth != "public":
            assert_never(auth)

    async def find_body_owner(self, request: IncomingRequest) -> BodyOwner:
        """See `Callers.holder_of`. Raises `TooLarge` for a password without a token: it is not checked here."""
        if looks_like_operator(self.services, request.headers):
            if await identify(self.services, request) is None:
                raise not_an_operator()
            return "operator"
        if request.headers.get("x-admin-password"):
            raise TooLarge(
                f"a request with x-admin-password may have a body of at most {SMALL_BODY_BYTES} bytes",
                hint=HOW_TO_LOG_IN,
            )
        caller = read_caller(request, self.services.secrets)
        return await self.keys.owner_of(key_hash=caller.key_hash, legacy_hash=caller.legacy_hash, key_id=caller.key_id)

    async def count_reading(self, request: IncomingRequest, body_bytes: int) -> None:
        """See `Callers.count_reading`."""
        services = self.services
        caller = read_caller(request, services.secrets)
        await count_reading(
            services.pool,
            key_hash=caller.key_hash,
            legacy_hash=caller.legacy_hash,
            key_id=caller.key_id,
            body_bytes=body_bytes,
            per_minute=services.gateway.readings_per_minute,
            default_rpm=services.settings.default_rpm_limit,
        )
