"""Kept answers: the same question of the same customer is answered without asking a vendor again.

Admission asks for every one of them all the same: the key, its limits, its allowlists.
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
from kaixu.store.responses import find_response, keep_response

from .event_codec import decode_events, encode_events
from .ticket import Ticket

log = logging.getLogger(__name__)

#: Raised when the form of kept answers changes: then none of the old ones is found.
FORM = 1

#: Longer answers are not kept, and no more than so many wait to be written.
MOST_BYTES = 512 * 1024
MOST_WAITING = 200

#: Answers that are whole; one that a filter stopped may be another the next time.
WHOLE = frozenset({"stop", "length", "tool_calls"})

#: What changes how an answer is sent, and not what it says.
SENDING = frozenset({"stream", "stream_options"})

#: What a client may ask of the cache: nothing, a new answer, or a new answer that is not kept either.
CacheControl = Literal["", "no-cache", "no-store"]


class ResponseCache:
    """The answers of all customers, each found by its own only."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer) -> None:
        self.pool = pool
        self.sealer = sealer
        self.writing: set[asyncio.Task[None]] = set()

    def question(self, ticket: Ticket) -> bytes | None:
        """What is asked, as a hash; None where the answer is not one to be kept."""
        request, deployment = ticket.request, ticket.deployment
        if request is None or deployment is None or deployment.cache is None:
            return None
        if request.temperature != 0 and not deployment.cache.any_temperature:
            return None
        served = [(one.name, one.upstream) for one in deployment.choices]
        asked = (FORM, deployment.provider, deployment.model, served, fields_of(request))
        return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).digest()

    async def find(self, ticket: Ticket, question: bytes) -> list[ChatEvent] | None:
        """The kept answer of this ticket's customer, if there is one. Never raises for a database that is away."""
        customer_id = ticket.verdict.customer_id
        assert customer_id is not None
        try:
            sealed = await find_response(self.pool, customer_id=customer_id, question=question)
            return None if sealed is None else decode_events(self.sealer.open(sealed, about(customer_id, question)))
        except DatabaseAway:
            return None
        except (InvalidTag, ValueError, msgspec.MsgspecError):  # kept under another secret, or in another form
            return None

    def keep(self, ticket: Ticket, question: bytes, events: Sequence[ChatEvent]) -> None:
        """Keep a whole answer, a little later and if it is not too long."""
        deployment, customer_id = ticket.deployment, ticket.verdict.customer_id
        assert deployment is not None
        assert deployment.cache is not None
        assert customer_id is not None
        if ticket.finish_reason not in WHOLE or len(self.writing) >= MOST_WAITING:
            return
        said = encode_events(events)
        if len(said) <= MOST_BYTES:
            task = asyncio.get_running_loop().create_task(
                self.write(customer_id, question, said, deployment.cache.ttl), name="keep an answer"
            )
            self.writing.add(task)
            task.add_done_callback(self.writing.discard)

    async def write(self, customer_id: int, question: bytes, said: bytes, seconds: float) -> None:
        """Seal and keep; without it the next call asks the vendor, which is no harm."""
        sealed = self.sealer.seal(said, about(customer_id, question))
        try:
            await keep_response(self.pool, customer_id=customer_id, question=question, answer=sealed, seconds=seconds)
        except (DatabaseAway, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("an answer was not kept: %s", type(error).__name__)

    async def drained(self) -> None:
        """Wait for what is being written."""
        if self.writing:
            await asyncio.wait(self.writing, timeout=5)


def fields_of(request: ChatRequest) -> object:
    """Everything that decides an answer."""
    if request.native is None:
        return msgspec.to_builtins(request)
    body = {name: value for name, value in request.native.body.items() if name not in SENDING}
    return request.native.protocol, request.max_tokens, body, request.native.betas


def about(customer_id: int, question: bytes) -> str:
    """What a sealed answer is: it opens as nothing else, and for nobody else."""
    return f"response:{customer_id}:{question.hex()}"
