"""Payloads and results of jobs as they are stored: sealed, each for its own job only."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec

from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.types import ChatRequest, EmbedRequest


class ModelCall(msgspec.Struct, frozen=True):
    """A call of a model, by the names that its client used. `price`: which of the model's prices bills it."""

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


def seal(sealer: Sealer, job_id: UUID, part: Part, value: object) -> bytes:
    """`value` as JSON, sealed for this part of this job."""
    return sealer.seal(msgspec.json.encode(value), about_job(job_id, part))


def unseal(sealer: Sealer, job_id: UUID, part: Part, data: bytes) -> bytes:
    """The JSON that was sealed. Raises `InvalidTag` for another key, job or part."""
    return sealer.open(data, about_job(job_id, part))
