"""Re-embed collections with another model in the background; each batch is an admitted and billed call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import asyncpg

from kaixu.catalog.catalog import Deployment
from kaixu.catalog.current import CurrentConfig
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.final_statuses import FINAL_STATUSES
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.verdict import Refusal
from kaixu.ops.call_facts import CallFacts
from kaixu.ops.events import Monitor
from kaixu.ops.failure_events import background_failure_event
from kaixu.ops.leases import renewing
from kaixu.plugin.errors import KaixuError, ModelMismatch
from kaixu.plugin.types import EmbedRequest
from kaixu.store import reembedding as store
from kaixu.store.documents import Piece
from kaixu.store.pool import database
from kaixu.store.query import Connection
from kaixu.store.reembedding import Reembedding, Target
from kaixu.store.vectors import packed

from .ingest import CollectionLimits, Ingested, write_documents
from .lengths import require_length, shortens_vectors, vector_length

log = logging.getLogger(__name__)

#: The lease; without renewal, another gateway continues after it.
LEASE_S = 60

#: Chunks in one embedding call.
CHUNKS_AT_ONCE = 256

#: The number of consecutive failures after which it fails, and the pauses between them.
MAX_ATTEMPTS = 8
FIRST_WAIT_S = 2.0
MAX_WAIT_S = 300.0

AGENT = "re-embedding"
CHANGED = "the collection has changed meanwhile; start again"


class TakenOver(Exception):
    """Another gateway continues this re-embedding."""


class Reembedder:
    """Re-embeds collections; any number of gateways may run one."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        gate: Gate,
        current: CurrentConfig,
        limits: Callable[[], CollectionLimits],
        monitor: Monitor,
    ) -> None:
        self.pool = pool
        self.monitor = monitor
        self.gate = gate
        self.current = current
        self.limits = limits

    async def round(self) -> None:
        """Process all pending re-embeddings, one at a time."""
        while True:
            with database():
                work = await store.claim(self.pool, lease_s=LEASE_S)
            if work is None:
                return
            # A vendor's call may take longer than the lease.
            renew = partial(self.renew, work.id)
            async with renewing(renew, lease_s=lambda: LEASE_S, what=f"the lease of re-embedding {work.id}"):
                await self.reembed(work)

    async def renew(self, work_id: int) -> None:
        """Renew a lease. Raises `DatabaseAway`."""
        with database():
            await store.renew(self.pool, work_id, lease_s=LEASE_S)

    async def reembed(self, work: Reembedding) -> None:
        """Embed batch after batch until all is done, one fails, or the gateway stops."""
        attempts = work.attempts
        while not self.gate.calls.leaving:
            with database():
                target = await store.target_of(self.pool, work.id)
            if target is None or not target.is_alive:
                with database():
                    await store.end(self.pool, work.id, "cancelled")
                return
            facts = CallFacts(key_id=work.key_id)
            try:
                is_done = await self.embed_batch(work, target, facts)
            except TakenOver:
                return
            except (KaixuError, Refusal) as raised:
                error = raised.error if isinstance(raised, Refusal) else raised
                attempts += 1
                facts.failed(error)
                self.monitor.record(background_failure_event(facts, request_id=work.request_id, function=AGENT))
                await self.fail(work, error, attempts)
                return
            with database():
                if is_done:
                    if not await store.finish(self.pool, work.id):
                        await store.end(self.pool, work.id, "failed", code="COLLECTION_BUSY", message=CHANGED)
                    return
                attempts = 0
                await store.record_progress(self.pool, work.id, lease_s=LEASE_S)

    async def embed_batch(self, work: Reembedding, target: Target, facts: CallFacts) -> bool:
        """Embed and store the next chunks; True if none were left."""
        with database():
            documents = await store.remaining(self.pool, work, limit=CHUNKS_AT_ONCE)
        if not documents:
            return True
        deployment = self.current.catalog.resolve(target.provider, target.model, "embed").deployment
        pieces = [
            Piece(document.doc_id, document.chunk, document.starts_at, document.text, document.metadata)
            for document in documents
        ]
        request = embed_request(deployment, target, pieces)
        require_length(deployment, target.dimensions, "dimensions")  # kaixu.yaml may have changed since the start
        length = vector_length(deployment, request.dimensions)
        caller = Caller(None, None, work.key_id, work.install_id, AGENT, work.request_id, facts=facts)
        async with admit_embed(self.gate, caller, deployment, target.provider, request, role="deployer") as ticket:
            vectors = await embed_vectors(self.gate, ticket, request, length=length)
            if len(vectors[0]) != target.dimensions:
                raise ModelMismatch(
                    f"model `{target.model}` made vectors of {len(vectors[0])} dimensions, not of {target.dimensions}",
                    code="DIMENSIONS_MISMATCH",
                )
            ticket.units = {"vectors": len(vectors), "stored": len(vectors)}
            embeddings, ingested = [packed(vector) for vector in vectors], Ingested()
            store_chunks = partial(
                write_documents, ticket, work.copy_id, pieces, embeddings, self.limits(), ingested, target.name
            )

            async def store_once(connection: Connection) -> None:
                await store_chunks(connection)
                if ingested.replaced:  # another gateway had the lease, and has stored and billed these
                    raise TakenOver

            ticket.alongside = store_once
        return False

    async def fail(self, work: Reembedding, error: KaixuError, attempts: int) -> None:
        """Schedule the next attempt; or end it after a final error or too many attempts."""
        with database():
            if error.status in FINAL_STATUSES or attempts >= MAX_ATTEMPTS:
                log.warning("re-embedding %d has failed: %s", work.id, error.message)
                await store.end(self.pool, work.id, "failed", code=error.code, message=error.message[:1000])
                return
            wait_s = min(FIRST_WAIT_S * 2**attempts, MAX_WAIT_S)
            if error.retry_after_s is not None:
                wait_s = max(float(error.retry_after_s), 0.5)
                attempts = min(attempts, MAX_ATTEMPTS - 1 if error.status != 429 else 0)
            await store.record_progress(self.pool, work.id, lease_s=LEASE_S, wait_s=wait_s, attempts=attempts)


def embed_request(deployment: Deployment, target: Target, pieces: list[Piece]) -> EmbedRequest:
    """The request that embeds chunks for the target collection."""
    return EmbedRequest(
        model=deployment.upstream,
        inputs=tuple(piece.text for piece in pieces),
        dimensions=target.dimensions if shortens_vectors(deployment) else None,
        purpose="document",
    )
