"""Run jobs that call a model: each is admitted like any call, and ended together with its bill."""

from __future__ import annotations

import msgspec

from kaixu.catalog.current import CurrentConfig
from kaixu.jobs.payloads import JobOutcome, ModelCall, unseal
from kaixu.metering.chat import admit_chat
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.event_codec import encode_events
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.model_ticket import ModelTicket
from kaixu.metering.vector_codec import encode_vector
from kaixu.metering.whole_answer import whole_answer
from kaixu.ops.sealing import Sealer
from kaixu.plugin.types import ChatDelta, ChatRequest, EmbedRequest
from kaixu.store.jobs import ClaimedJob

from .lease import Lease

AGENT = "job"


class ModelRunner:
    """Runs jobs of kind "chat" and "embed"."""

    def __init__(self, gate: Gate, current: CurrentConfig, sealer: Sealer) -> None:
        self.gate = gate
        self.current = current
        self.sealer = sealer

    async def run(self, job: ClaimedJob, lease: Lease) -> None:
        """See `Runner.run`."""
        call = msgspec.json.decode(unseal(self.sealer, job.id, "payload", job.payload), type=ModelCall)
        caller = Caller(
            None,
            None,
            job.key_id,
            job.install_id,
            AGENT,
            job.request_id,
            app_id=job.app_id,
            build_id=job.build_id,
            facts=lease.facts,
        )
        if call.chat is not None:
            await self.chat(caller, call, call.chat, lease)
        else:
            assert call.embed is not None
            await self.embed(caller, call, call.embed, lease)

    async def chat(self, caller: Caller, call: ModelCall, request: ChatRequest, lease: Lease) -> None:
        """One chat."""
        match = self.current.catalog.resolve(call.provider, call.model, "chat")
        admission = admit_chat(
            self.gate, caller, match.deployment, match.provider, request, operation="job:chat", price=call.price
        )
        async with admission as ticket:
            await lease.admitted(ticket)
            events = await whole_answer(self.gate, ticket)
            outcome = JobOutcome(
                events=encode_events(events).decode(),
                finish_reason=ticket.finish_reason,
                stop_sequence=ticket.stop_sequence,
                end=ticket.end_reason or "complete",
                bill=bill_fields(ticket),
            )
            length = sum(len(event.text) for event in events if isinstance(event, ChatDelta))
            await lease.wait_for_database()
            ticket.alongside = lease.completion(ticket, outcome, length)

    async def embed(self, caller: Caller, call: ModelCall, request: EmbedRequest, lease: Lease) -> None:
        """One embedding call."""
        match = self.current.catalog.resolve(call.provider, call.model, "embed")
        admission = admit_embed(
            self.gate, caller, match.deployment, match.provider, request, operation="job:embed", price=call.price
        )
        async with admission as ticket:
            await lease.admitted(ticket)
            vectors = await embed_vectors(self.gate, ticket, request)
            ticket.units = {"vectors": len(vectors)}
            encoded = [encode_vector(vector) for vector in vectors]
            await lease.wait_for_database()
            ticket.alongside = lease.completion(ticket, JobOutcome(vectors=encoded, bill=bill_fields(ticket)), None)


def bill_fields(ticket: ModelTicket) -> dict[str, object]:
    """Fields of the bill that the usage event does not have."""
    return {"deployment": None if ticket.served is None else ticket.served.name, "tries": len(ticket.tried)}
