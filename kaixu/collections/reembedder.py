"""Making a collection's vectors anew by another model, in the background: each batch a call, admitted and billed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial

import asyncpg

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.metering.embeddings import admit_embed, embed_vectors
from kaixu.metering.gate import Caller, Gate
from kaixu.metering.verdict import Refusal
from kaixu.plugin.errors import DatabaseAway, KaixuError, ModelMismatch
from kaixu.plugin.types import EmbedRequest
from kaixu.store import reembedding as store
from kaixu.store.documents import Piece
from kaixu.store.pool import database
from kaixu.store.query import Connection
from kaixu.store.reembedding import CopyOf, Work
from kaixu.store.vectors import packed

from .ingest import Ingested, Room, write
from .lengths import insist_on_length, length_of, shortens

log = logging.getLogger(__name__)

#: How long nobody else takes the work up after who did was last heard of.
LEASE_S = 60
PIECES_AT_ONCE = 256

#: After so many failures in a row it is given up; until then it waits longer each time.
MOST_ATTEMPTS = 8
FIRST_WAIT_S = 2.0
MOST_WAIT_S = 300.0

AGENT = "re-embedding"
CHANGED = "the collection has changed meanwhile; begin again"


class TakenOver(Exception):
    """Somebody else works on it."""


class Reembedder:
    """One gateway's share of the work; any number of gateways may have one."""

    def __init__(
        self, pool: asyncpg.Pool, gate: Gate, catalog: Callable[[], Catalog], room: Callable[[], Room]
    ) -> None:
        self.pool = pool
        self.gate = gate
        self.catalog = catalog
        self.room = room

    async def round(self) -> None:
        """Take up what there is to do, one after the other."""
        while True:
            with database():
                work = await store.claim(self.pool, lease_s=LEASE_S)
            if work is None:
                return
            renewing = asyncio.get_running_loop().create_task(self.renew(work))
            try:
                await self.go_on(work)
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])

    async def renew(self, work: Work) -> None:
        """Keep the lease for as long as the work goes on: a batch may take as long as its vendor likes."""
        while True:
            await asyncio.sleep(LEASE_S / 4)
            with contextlib.suppress(DatabaseAway), database():
                await store.keep(self.pool, work.id, lease_s=LEASE_S)

    async def go_on(self, work: Work) -> None:
        """Until it is done, or fails for good, or must wait."""
        attempts = work.attempts
        while not self.gate.calls.stopping:
            with database():
                copy = await store.copy_of(self.pool, work.id)
            if copy is None or not copy.is_alive:
                with database():
                    await store.end(self.pool, work.id, "cancelled")
                return
            try:
                done = await self.batch(work, copy)
            except TakenOver:
                return
            except (KaixuError, Refusal) as raised:
                error = raised.error if isinstance(raised, Refusal) else raised
                attempts += 1
                await self.failed(work, error, attempts)
                return
            with database():
                if done:
                    if not await store.finish(self.pool, work.id):
                        await store.end(self.pool, work.id, "failed", code="COLLECTION_BUSY", message=CHANGED)
                    return
                attempts = 0
                await store.lease_again(self.pool, work.id, lease_s=LEASE_S)

    async def batch(self, work: Work, copy: CopyOf) -> bool:
        """The next pieces; whether there were none left."""
        with database():
            documents = await store.remaining(self.pool, work, limit=PIECES_AT_ONCE)
        if not documents:
            return True
        deployment = self.catalog().resolve(copy.provider, copy.model, "embed").deployment
        pieces = [Piece(one.doc_id, one.chunk, one.starts_at, one.text, one.metadata) for one in documents]
        request = request_of(deployment, copy, pieces)
        insist_on_length(deployment, copy.dimensions, "dimensions")  # kaixu.yaml may have changed since it began
        length = length_of(deployment, request.dimensions)
        caller = Caller(None, None, work.key_id, work.install_id, AGENT, work.request_id)
        async with admit_embed(self.gate, caller, deployment, copy.provider, request, role="deployer") as ticket:
            vectors = await embed_vectors(self.gate, ticket, request, length=length)
            if len(vectors[0]) != copy.dimensions:
                raise ModelMismatch(
                    f"model `{copy.model}` made vectors of {len(vectors[0])} dimensions, not of {copy.dimensions}",
                    code="DIMENSIONS_MISMATCH",
                )
            ticket.units = {"vectors": len(vectors), "stored": len(vectors)}
            made, ingested = [packed(one) for one in vectors], Ingested()
            store_them = partial(write, ticket, work.copy_id, pieces, made, self.room(), ingested, copy.name)

            async def store_once(connection: Connection) -> None:
                await store_them(connection)
                if ingested.replaced:  # whoever had the lease before was still at it: that is paid for already
                    raise TakenOver

            ticket.alongside = store_once
        return False

    async def failed(self, work: Work, error: KaixuError, attempts: int) -> None:
        """Wait, where another time may go better; else end it, and say why."""
        hopeless = error.status in (400, 401, 402, 403, 404, 409, 413, 422)
        with database():
            if hopeless or attempts >= MOST_ATTEMPTS:
                log.warning("re-embedding %d has failed: %s", work.id, error.message)
                await store.end(self.pool, work.id, "failed", code=error.code, message=error.message[:1000])
                return
            wait_s = min(FIRST_WAIT_S * 2**attempts, MOST_WAIT_S)
            if error.retry_after_s is not None:
                wait_s = max(float(error.retry_after_s), 0.5)
                attempts = min(attempts, MOST_ATTEMPTS - 1 if error.status != 429 else 0)
            await store.lease_again(self.pool, work.id, lease_s=LEASE_S, wait_s=wait_s, attempts=attempts)


def request_of(deployment: Deployment, copy: CopyOf, pieces: list[Piece]) -> EmbedRequest:
    """The pieces as the new model is asked for them."""
    return EmbedRequest(
        model=deployment.upstream,
        inputs=tuple(piece.text for piece in pieces),
        dimensions=copy.dimensions if shortens(deployment) else None,
        purpose="document",
    )
