"""What a job is to do and what came of it, as they are kept: sealed, each for its own job only."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec

from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.types import ChatRequest, EmbedRequest


class ModelCall(msgspec.Struct, frozen=True):
    """A call of a model, under the names that its client used. `price`: which of the model's prices it is billed by."""

    provider: str
    model: str
    chat: ChatRequest | None = None
    embed: EmbedRequest | None = None
    price: str = ""


class JobOutcome(msgspec.Struct, frozen=True):
    """What came of a call: the events of a chat as `encode_events` writes them, or vectors; and its bill."""

    events: str | None = None
    vectors: list[str] | None = None  # 32-bit floats, little-endian, in base64
    finish_reason: str | None = None
    stop_sequence: str | None = None
    end: str = "complete"
    bill: dict[str, Any] = {}


Part = Literal["payload", "result", "webhook"]


def sealed(sealer: Sealer, job_id: UUID, part: Part, value: object) -> bytes:
    """`value` as JSON, sealed for this part of this job."""
    return sealer.seal(msgspec.json.encode(value), about_job(job_id, part))


def opened(sealer: Sealer, job_id: UUID, part: Part, data: bytes) -> bytes:
    """What `sealed` was given. Raises `InvalidTag`."""
    return sealer.open(data, about_job(job_id, part))
