"""The response cache: answers a customer's repeated request without a vendor.

Admission checks cached calls like all others: the key, its limits, its allowlists.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Literal

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import DatabaseAway
from kaixu.plugin.types import ChatEvent, ChatRequest
from kaixu.store.pool import AWAY
from kaixu.store.responses import find_response, store_response

from .chat_ticket import ChatTicket
from .event_codec import decode_events, encode_events

log = logging.getLogger(__name__)

#: Increased when the form of cached answers changes, so that no old one is found.
FORM = 1

#: Longer answers are not cached, and at most this many wait to be written.
MOST_BYTES = 512 * 1024
MOST_WAITING = 200

#: Finish reasons of complete answers. One that a filter stopped may differ the next time.
COMPLETE = frozenset({"stop", "length", "tool_calls"})

#: Fields that change how an answer is sent, and not its content.
DELIVERY_FIELDS = frozenset({"stream", "stream_options"})

#: A client's cache header: none, a new answer, or a new answer that is not cached either.
CacheControl = Literal["", "no-cache", "no-store"]


class ResponseCache:
    """The cached answers. Each is found only by the customer whose call it was."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer) -> None:
        self.pool = pool
        self.sealer = sealer
        self.writing: set[asyncio.Task[None]] = set()

    def request_hash(self, ticket: ChatTicket) -> bytes | None:
        """The hash of the request; None where its answer is not cached."""
        request, deployment = ticket.request, ticket.deployment
        if deployment.cache is None:
            return None
        if request.temperature != 0 and not deployment.cache.any_temperature:
            return None
        served = [(one.name, one.upstream) for one in deployment.choices]
        key = (FORM, deployment.provider, deployment.model, served, fields_of(request))
        return hashlib.sha256(msgspec.json.encode(key, order="sorted")).digest()

    async def find(self, ticket: ChatTicket, request_hash: bytes) -> list[ChatEvent] | None:
        """The cached answer for this ticket's customer, if there is one. Never raises because the database is away."""
        customer_id = ticket.verdict.customer_id
        assert customer_id is not None
        try:
            sealed = await find_response(self.pool, customer_id=customer_id, request_hash=request_hash)
            if sealed is None:
                return None
            return decode_events(self.sealer.open(sealed, sealing_context(customer_id, request_hash)))
        except DatabaseAway:
            return None
        except (InvalidTag, ValueError, msgspec.MsgspecError):  # cached under another secret, or in another form
            return None

    def store(self, ticket: ChatTicket, request_hash: bytes, events: Sequence[ChatEvent]) -> None:
        """Cache a whole answer, in the background and if it is not too long."""
        deployment, customer_id = ticket.deployment, ticket.verdict.customer_id
        assert deployment.cache is not None
        assert customer_id is not None
        if ticket.finish_reason not in COMPLETE or len(self.writing) >= MOST_WAITING:
            return
        data = encode_events(events)
        if len(data) <= MOST_BYTES:
            task = asyncio.get_running_loop().create_task(
                self.write(customer_id, request_hash, data, deployment.cache.ttl), name="cache an answer"
            )
            self.writing.add(task)
            task.add_done_callback(self.writing.discard)

    async def write(self, customer_id: int, request_hash: bytes, data: bytes, seconds: float) -> None:
        """Seal and store. A failure is only logged: the next call asks the vendor."""
        sealed = self.sealer.seal(data, sealing_context(customer_id, request_hash))
        try:
            await store_response(
                self.pool, customer_id=customer_id, request_hash=request_hash, answer=sealed, seconds=seconds
            )
        except (DatabaseAway, asyncpg.PostgresError, *AWAY) as error:
            log.warning("an answer was not cached: %s", type(error).__name__)

    async def drained(self) -> None:
        """Wait until every answer that is being written is stored."""
        if self.writing:
            await asyncio.wait(self.writing, timeout=5)


def fields_of(request: ChatRequest) -> object:
    """Every field that affects the answer."""
    if request.native is None:
        return msgspec.to_builtins(request)
    body = {name: value for name, value in request.native.body.items() if name not in DELIVERY_FIELDS}
    return request.native.protocol, request.max_tokens, body, request.native.betas


def sealing_context(customer_id: int, request_hash: bytes) -> str:
    """The context that an answer is sealed with: it opens for this customer and request only."""
    return f"response:{customer_id}:{request_hash.hex()}"
