"""Stored payloads and results of jobs, encrypted for their job."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec

from kaixu.ops.sealing import Sealer, about_job
from kaixu.plugin.types import ChatRequest, EmbedRequest


class ModelCall(msgspec.Struct, frozen=True):
    """A call of a model, with the names that the client used. `price`: the name of the model's price that bills it."""

    provider: str
    model: str
    chat: ChatRequest | None = None
    embed: EmbedRequest | None = None
    price: str = ""


class JobOutcome(msgspec.Struct, frozen=True):
    """The outcome of a call: a chat's events as `encode_events` writes them, or vectors; and its bill."""

    events: str | None = None
    vectors: list[str] | None = None  # 32-bit floats, little-endian, in base64
    finish_reason: str | None = None
    stop_sequence: str | None = None
    end: str = "complete"
    bill: dict[str, Any] = {}


Part = Literal["payload", "result", "webhook"]


def seal(sealer: Sealer, job_id: UUID, part: Part, value: object) -> bytes:
    """`value` as JSON, encrypted for this part of this job."""
    return sealer.seal(msgspec.json.encode(value), about_job(job_id, part))


def unseal(sealer: Sealer, job_id: UUID, part: Part, data: bytes) -> bytes:
    """Decrypt to JSON. Raises `InvalidTag` for another key, job or part."""
    return sealer.open(data, about_job(job_id, part))
