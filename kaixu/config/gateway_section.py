"""What kaixu.yaml says of the gateway itself."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from .database import DatabaseSection
from .values import (
    Seconds,
    Section,
    Whole,
)


class JobsSection(Section):
    """Work that outlives its caller."""

    workers: Whole = Field(
        default=4, ge=0, le=1000, description="jobs that one process runs at one time; 0: it leaves them to others"
    )
    lease_s: Seconds = Field(
        default=60, ge=1, description="how long a job waits after its worker was heard of last, before another runs it"
    )
    attempts: Whole = Field(default=3, ge=1, le=20, description="how often a job is tried that fails")
    most_waiting: Whole = Field(
        default=10_000, ge=1, le=10_000_000, description="jobs of one customer that wait at one time; beyond it 429"
    )
    webhook_http: bool = Field(default=False, description="true: webhooks may go to http:// addresses, too")
    webhook_private: bool = Field(
        default=False, description="true: webhooks may go to private and loopback addresses, too"
    )


class GatewaySection(Section):
    """The gateway itself."""

    on_lost: Literal["release", "charge"] = Field(
        default="release", description="what a call costs whose gateway died: nothing, or all that was held"
    )
    reservation_s: Whole = Field(
        default=120, ge=2, le=3600, description="how long a hold outlives the gateway that made it"
    )
    max_in_flight: Whole = Field(default=1000, ge=1, le=100_000, description="calls at one time; beyond it 503 at once")
    max_in_flight_per_key: Whole | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="calls of one key at one time; beyond it 429 at once; default: a quarter of `max_in_flight`",
    )
    stall_s: Whole = Field(
        default=60, ge=1, le=3600, description="a reader that takes nothing of its answer for so long counts as gone"
    )
    server: Literal["hypercorn", "granian"] = Field(
        default="hypercorn",
        description="what speaks HTTP; granian is faster and needs `pip install 'kaixu[granian]'`; read at start only",
    )
    grace_s: Whole = Field(default=25, ge=0, le=600, description="how long running calls may go on after SIGTERM")
    body_limit_bytes: Whole = Field(
        default=8 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest request body"
    )
    body_memory_bytes: Whole = Field(
        default=128 * 1024 * 1024,
        ge=1024,
        le=64 * 1024**3,
        description="request bodies held at one time, all together; beyond it 503 at once",
    )
    readings_per_minute: Whole = Field(
        default=1200,
        ge=120,
        le=1_000_000,
        description="what a key may read and poll a minute, beside its calls: jobs, batches, files, models, "
        "count_tokens; every 64 KiB of a body are one more",
    )
    max_vectors: Whole = Field(
        default=1_000_000,
        ge=0,
        le=10**12,
        description="vectors in a customer's collections, where it has no limit of its own",
    )
    max_collections: Whole = Field(default=1000, ge=0, le=1_000_000, description="collections of one customer")
    jobs: JobsSection = Field(default=JobsSection(), description="work that outlives its caller")
    database: DatabaseSection = Field(
        default=DatabaseSection(), description="connections to Postgres, in pools; read at start only"
    )
    max_messages: Whole = Field(default=2000, ge=1, le=100_000, description="the most messages of a chat call")
    allow_origins: list[str] = Field(
        default=[],
        max_length=200,
        description="foreign origins that browsers may call from, besides ALLOWED_ORIGINS",
    )
