"""The response cache: a customer's repeated request is answered without a vendor.

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
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)
from kaixu.store.responses import find_response, keep_response

from .chat_ticket import ChatTicket

log = logging.getLogger(__name__)

#: Increased when the form of cached answers changes, so that no old one is found.
FORM = 1

EVENTS: dict[str, type[ChatEvent]] = {
    kind.__name__: kind for kind in (ChatDelta, ReasoningDelta, ToolCallDelta, Usage, Finish, NativeEvent)
}

#: Longer answers are not cached, and at most this many wait to be written.
MOST_BYTES = 512 * 1024
MOST_WAITING = 200

#: Finish reasons of whole answers. One that a filter stopped may differ the next time.
WHOLE = frozenset({"stop", "length", "tool_calls"})

#: Fields that change how an answer is sent, and not its content.
DELIVERY_FIELDS = frozenset({"stream", "stream_options"})

#: A client's cache header: none, a new answer, or a new answer that is not cached either.
CacheControl = Literal["", "no-cache", "no-store"]


class ResponseCache:
    """The cached answers of all customers, each found by its own customer only."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer) -> None:
        self.pool = pool
        self.sealer = sealer
        self.writing: set[asyncio.Task[None]] = set()

    def question(self, ticket: ChatTicket) -> bytes | None:
        """The hash of the request; None where its answer is not cached."""
        request, deployment = ticket.request, ticket.deployment
        if deployment.cache is None:
            return None
        if request.temperature != 0 and not deployment.cache.any_temperature:
            return None
        served = [(one.name, one.upstream) for one in deployment.choices]
        key = (FORM, deployment.provider, deployment.model, served, fields_of(request))
        return hashlib.sha256(msgspec.json.encode(key, order="sorted")).digest()

    async def find(self, ticket: ChatTicket, question: bytes) -> list[ChatEvent] | None:
        """The cached answer for this ticket's customer, if there is one. Never raises because the database is away."""
        customer_id = ticket.verdict.customer_id
        assert customer_id is not None
        try:
            sealed = await find_response(self.pool, customer_id=customer_id, question=question)
            return None if sealed is None else events_in(self.sealer.open(sealed, about(customer_id, question)))
        except DatabaseAway:
            return None
        except (InvalidTag, ValueError, msgspec.MsgspecError):  # cached under another secret, or in another form
            return None

    def keep(self, ticket: ChatTicket, question: bytes, events: Sequence[ChatEvent]) -> None:
        """Cache a whole answer, in the background and if it is not too long."""
        deployment, customer_id = ticket.deployment, ticket.verdict.customer_id
        assert deployment.cache is not None
        assert customer_id is not None
        if ticket.finish_reason not in WHOLE or len(self.writing) >= MOST_WAITING:
            return
        data = bytes_of(events)
        if len(data) <= MOST_BYTES:
            task = asyncio.get_running_loop().create_task(
                self.write(customer_id, question, data, deployment.cache.ttl), name="cache an answer"
            )
            self.writing.add(task)
            task.add_done_callback(self.writing.discard)

    async def write(self, customer_id: int, question: bytes, data: bytes, seconds: float) -> None:
        """Seal and store. A failure is only logged: the next call asks the vendor."""
        sealed = self.sealer.seal(data, about(customer_id, question))
        try:
            await keep_response(self.pool, customer_id=customer_id, question=question, answer=sealed, seconds=seconds)
        except (DatabaseAway, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("an answer was not cached: %s", type(error).__name__)

    async def drained(self) -> None:
        """Wait for what is being written."""
        if self.writing:
            await asyncio.wait(self.writing, timeout=5)


def fields_of(request: ChatRequest) -> object:
    """Every field that affects the answer."""
    if request.native is None:
        return msgspec.to_builtins(request)
    body = {name: value for name, value in request.native.body.items() if name not in DELIVERY_FIELDS}
    return request.native.protocol, request.max_tokens, body, request.native.betas


def about(customer_id: int, question: bytes) -> str:
    """The context that an answer is sealed with: it opens for this customer and request only."""
    return f"response:{customer_id}:{question.hex()}"


def bytes_of(events: Sequence[ChatEvent]) -> bytes:
    """Events as JSON, each with its kind."""
    return msgspec.json.encode([(type(event).__name__, event) for event in events])


def events_in(data: bytes) -> list[ChatEvent]:
    """Reads what `bytes_of` made. Raises `MsgspecError` for anything else."""
    pairs = msgspec.json.decode(data, type=list[tuple[str, msgspec.Raw]])
    return [msgspec.json.decode(raw, type=EVENTS[kind]) for kind, raw in pairs if kind in EVENTS]
