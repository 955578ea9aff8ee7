"""The rows of pushes, and their state as clients see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from kaixu.plugin import Database, JobView, NotFound, ReadDatabase

from .commits import Mode
from .times import stamp

COLUMNS = """
    id, customer_id, job_id, owner, repo, branch, message, mode, author_name, author_email, allow_secrets, force,
    expected_head, pull_request, pull_title, pull_body, parts, bytes_staged, queue_id, queued_at, status, attempts,
    limits, losses, error_code, error, error_at, planned_commit, "commit", url, pull_request_url, is_unchanged, files,
    created_at, updated_at
"""


class PushRow(msgspec.Struct, frozen=True):
    """A push."""

    id: int
    customer_id: int
    job_id: str
    owner: str
    repo: str
    branch: str
    message: str
    mode: Mode
    author_name: str | None
    author_email: str | None
    allow_secrets: bool
    force: bool
    expected_head: str | None
    pull_request: bool
    pull_title: str | None
    pull_body: str | None
    parts: int | None
    bytes_staged: int
    queue_id: UUID | None
    queued_at: datetime | None
    status: str
    attempts: int
    limits: int
    losses: int
    error_code: str | None
    error: str | None
    error_at: datetime | None
    planned_commit: str | None
    commit: str | None
    url: str | None
    pull_request_url: str | None
    is_unchanged: bool
    files: int | None
    created_at: datetime
    updated_at: datetime

    @property
    def prefix(self) -> str:
        """What the names of its kept parts begin with."""
        return f"push/{self.job_id}/"


class Asks(Protocol):
    """Asks the queue: a call's transaction, or a panel's view."""

    async def job(self, job_id: UUID) -> JobView: ...


class PushState(msgspec.Struct, frozen=True):
    """Where a push is: what the queue says, until it has ended."""

    status: str
    attempts: int
    next_attempt_at: str | None


def row_of(row: Mapping[str, Any]) -> PushRow:
    """A row as a Struct."""
    return PushRow(**dict(row))


async def push_named(
    db: Database | ReadDatabase, customer_id: int | None, job_id: str, *, lock: bool = False
) -> PushRow:
    """A customer's push. Raises `NotFound` for one that is not there, or another customer's."""
    where = f"select {COLUMNS} from push where customer_id = $1 and job_id = $2"  # noqa: S608 - a constant
    row = await db.fetchrow(f"{where} for update" if lock else where, customer_id, job_id)
    if row is None:
        raise NotFound("Job not found", field="jobId")
    return row_of(row)


async def pushes_of(
    db: Database | ReadDatabase, customer_id: int | None, limit: int, *, latest_change: bool = False
) -> list[PushRow]:
    """A customer's pushes, the newest first, or those that changed last."""
    order = "updated_at desc, id desc" if latest_change else "id desc"
    rows = await db.fetch(
        f"select {COLUMNS} from push where customer_id = $1 order by {order} limit $2",  # noqa: S608 - constants
        customer_id,
        limit,
    )
    return [row_of(row) for row in rows]


async def state_of(asks: Asks, row: PushRow) -> PushState:
    """The state of a push."""
    if row.status != "queued" or row.queue_id is None:
        return PushState(row.status, row.attempts, None)
    try:
        view = await asks.job(row.queue_id)
    except NotFound:  # the queue has forgotten it; `on_failed` is about to say so here
        return PushState("error", row.attempts, None)
    return state_from(view, row)


def state_from(view: JobView, row: PushRow) -> PushState:
    """What the queue's state means."""
    attempts = max(view.attempts, row.attempts)
    match view.status:
        case "queued" if view.attempts == 0 and (view.next_at is None or view.next_at <= datetime.now(UTC)):
            return PushState("queued", attempts, None)
        case "queued" | "waiting" | "blocked":
            return PushState("retry_wait", attempts, stamp(view.next_at))
        case _:  # of one that has ended, the row is about to say how
            return PushState("running", max(attempts, 1), None)


async def received_parts(db: Database, row: PushRow) -> list[int]:
    """The numbers of the parts that have arrived."""
    rows = await db.fetch("select part from push_part where push_id = $1 order by part", row.id)
    return [one["part"] for one in rows]


#: The kinds of events that are in the audit log. Parts are too many.
AUDITED = frozenset({"init", "queue", "done"})


async def note_event(db: Database, row: PushRow, kind: str, size: int = 0, **meta: Any) -> None:
    """Note what happened; what the audit log of the older edition had of it is there, too."""
    if kind in AUDITED:
        await db.audit(f"GITHUB_PUSH_{kind.upper()}", row.job_id, after=meta or None)
    await db.execute(
        "insert into push_event (push_id, type, bytes, meta) values ($1, $2, $3, $4::text::jsonb)",
        row.id,
        kind,
        size,
        msgspec.json.encode(meta).decode(),
    )
