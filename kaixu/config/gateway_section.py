"""The section `gateway:` of kaixu.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)

from .database import DatabaseSection
from .values import (
    Processes,
    Seconds,
    Section,
    TimeZone,
    Whole,
)


class JobsSection(Section):
    """Background jobs."""

    workers: Whole = Field(default=4, ge=0, le=1000, description="jobs that one process runs at the same time; 0: none")
    lease_s: Seconds = Field(
        default=60, ge=1, description="after how long without a heartbeat of its worker another worker takes a job over"
    )
    attempts: Whole = Field(default=3, ge=1, le=20, description="how often a failing job is tried")
    most_waiting: Whole = Field(
        default=10_000, ge=1, le=10_000_000, description="waiting jobs of one customer; more are refused with 429"
    )
    webhook_http: bool = Field(default=False, description="true: webhooks may go to http:// addresses, too")
    webhook_private: bool = Field(
        default=False, description="true: webhooks may go to private and loopback addresses, too"
    )


class BlobsSection(Section):
    """Where files are stored that do not belong into the database: archives, and files that customers upload."""

    url: str | None = Field(
        default=None,
        max_length=500,
        pattern=r"^(s3|gs|az|abfs|https?)://[^\s@]+$",
        description="an object store, as s3://bucket/prefix; its credentials come from the environment "
        "(AWS_ACCESS_KEY_ID, …); default: the folder `blobs` below KAIXU_HOME; read at start only",
    )
    endpoint: str | None = Field(
        default=None,
        max_length=500,
        pattern=r"^https?://[^\s@]+$",
        description="the endpoint of an S3-like store that is not Amazon's",
    )
    region: str | None = Field(default=None, max_length=60, description="the store's region")


class MonitorSection(Section):
    """Monitor events."""

    archive: bool = Field(
        default=True, description="write the events of a day into an archive before they are removed from the database"
    )


class GatewaySection(Section):
    """The gateway itself."""

    slow_ms: Whole = Field(
        default=15_000, ge=1, le=3_600_000, description="a request that takes this long is recorded as slow"
    )
    monitor: MonitorSection = Field(default=MonitorSection(), description="monitor events")
    blobs: BlobsSection = Field(default=BlobsSection(), description="storage of files; read at start only")

    on_lost: Literal["release", "charge"] = Field(
        default="release",
        description="the cost of a call whose gateway died: nothing (`release`), or its whole hold (`charge`)",
    )
    reservation_s: Whole = Field(default=120, ge=2, le=3600, description="how long a hold stays after its gateway died")
    max_in_flight: Whole = Field(
        default=1000, ge=1, le=100_000, description="calls in flight in one process; more are refused with 503"
    )
    max_in_flight_per_key: Whole | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="calls in flight of one key; more are refused with 429; default: a quarter of `max_in_flight`",
    )
    stall_s: Whole = Field(
        default=60,
        ge=1,
        le=3600,
        description="a client that reads nothing of its answer for this long counts as gone; one that sends less than "
        "64 KiB of an upload in this time is refused with 408",
    )
    server: Literal["hypercorn", "granian"] = Field(
        default="hypercorn",
        description="the HTTP server; granian is faster and needs `pip install 'kaixu[granian]'`; read at start only",
    )
    processes: Processes = Field(
        default=1,
        description="worker processes behind one port; `auto`: one for each core, if the database has connections for "
        "them; from 2 on a supervisor starts them; read at start, and at `kaixu restart`",
    )
    drain_s: Whole = Field(
        default=0,
        ge=0,
        le=600,
        description="how long, after SIGTERM, calls are still taken while `/api/health` answers 503, so that balancers "
        "find another gateway first; then `grace_s` begins",
    )
    grace_s: Whole = Field(
        default=25, ge=0, le=600, description="how long running calls may continue after SIGTERM and the drain"
    )
    body_limit_bytes: Whole = Field(
        default=8 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest request body"
    )
    body_memory_bytes: Whole = Field(
        default=128 * 1024 * 1024,
        ge=1024,
        le=64 * 1024**3,
        description="memory for all request bodies together; beyond it requests are refused with 503",
    )
    blob_bytes_per_customer: Whole = Field(
        default=10 * 1024**3,
        ge=0,
        le=2**50,
        description="the bytes of all files that integrations store for one customer; more are refused with 413",
    )
    readings_per_minute: Whole = Field(
        default=1200,
        ge=120,
        le=1_000_000,
        description="requests per minute of a key that cost no money: jobs, batches, files, models, "
        "count_tokens; each 64 KiB of a body count as one more",
    )
    max_vectors: Whole = Field(
        default=1_000_000,
        ge=0,
        le=10**12,
        description="vectors in all collections of a customer without its own limit",
    )
    max_collections: Whole = Field(default=1000, ge=0, le=1_000_000, description="collections of one customer")
    jobs: JobsSection = Field(default=JobsSection(), description="background jobs")
    database: DatabaseSection = Field(
        default=DatabaseSection(), description="connections to Postgres, in pools; read at start only"
    )
    max_messages: Whole = Field(default=2000, ge=1, le=100_000, description="maximum number of messages of a chat call")
    allow_origins: list[str] = Field(
        default=[],
        max_length=200,
        description="origins of browser clients (CORS), in addition to ALLOWED_ORIGINS",
    )
    public_prices: bool = Field(
        default=False,
        description="true: the page /models and the endpoint `public-models` show models and prices to everybody",
    )
    rollover: bool = Field(
        default=False,
        description="true: unused prepaid credit is carried into the next month; false: it ends with its month",
    )
    reporting_zone: TimeZone = Field(
        default="UTC",
        description="the time zone of days and charts in reports, by its IANA name; months are UTC",
    )
