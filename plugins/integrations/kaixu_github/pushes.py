"""Pushes, as clients make them: begin one, send the parts of a ZIP, complete it, look how it goes."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec

from kaixu.plugin import (
    Call,
    Clamped,
    Database,
    Failure,
    Free,
    Invalid,
    Key,
    NotFound,
    Operation,
    Operator,
    Path,
    Query,
    Rate,
    Reply,
)  # fmt: skip

from .account import TOKEN
from .commits import Mode
from .push_input import InitBody, PushWish, checked_wish, number_of
from .push_job import Expiry, PushJob, queue_key
from .push_rows import PushRow, note_event, push_named, pushes_of, received_parts, row_of, state_of
from .refusals import no_token
from .times import stamp

HOUR_S = 3600.0

#: How long money and parts are kept beyond an upload's own time: a push may wait for GitHub's limits.
SPARE_S = 3 * 24 * HOUR_S

MOST_PARTS = 10_000


class Upload(msgspec.Struct):
    chunk: str
    complete: str


class Begun(msgspec.Struct):
    ok: bool
    jobId: str
    upload: Upload


class PartInput(msgspec.Struct):
    job_id: Annotated[str, Path("job_id", "jobId")] = ""
    part: Annotated[str | None, Query("part")] = None
    parts: Annotated[str | None, Query("parts")] = None


class PartStored(msgspec.Struct):
    ok: bool
    jobId: str
    part: int
    parts: int
    bytes: int


class WhichPush(msgspec.Struct):
    job_id: Annotated[str, Path("job_id", "jobId")] = ""


class Completed(msgspec.Struct):
    ok: bool
    queued: bool
    jobId: str


class Limit(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 100, default=25)]


class AdminLimit(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 200, default=50)]


class OneJob(msgspec.Struct):
    jobId: str
    status: str
    owner: str
    repo: str
    branch: str
    commit_message: str
    parts: int | None
    received_parts: list[int]
    bytes_staged: int
    attempts: int
    next_attempt_at: str | None
    last_error: str | None
    error_code: str | None
    result_commit_sha: str | None
    result_url: str | None
    pull_request_url: str | None
    unchanged: bool
    created_at: str | None
    updated_at: str | None


class OneStatus(msgspec.Struct):
    ok: bool
    job: OneJob


class OwnJob(msgspec.Struct):
    job_id: str
    owner: str
    repo: str
    branch: str
    status: str
    attempts: int
    next_attempt_at: str | None
    last_error: str | None
    result_commit_sha: str | None
    result_url: str | None
    created_at: str | None
    updated_at: str | None


class OwnJobs(msgspec.Struct):
    ok: bool
    jobs: list[OwnJob]


class AdminJob(msgspec.Struct):
    job_id: str
    owner: str
    repo: str
    branch: str
    commit_message: str
    parts: int | None
    bytes_staged: int
    status: str
    attempts: int
    next_attempt_at: str | None
    last_error: str | None
    last_error_at: str | None
    result_commit_sha: str | None
    result_url: str | None
    created_at: str | None
    updated_at: str | None


class AdminJobs(msgspec.Struct):
    ok: bool
    jobs: list[AdminJob]


class ZipInput(msgspec.Struct):
    """A push in one request: the fields of `gh-push-init` in the query, and the ZIP as the body."""

    owner: Annotated[str, Query()] = ""
    repo: Annotated[str, Query()] = ""
    branch: Annotated[str, Query()] = ""
    message: Annotated[str, Query()] = ""
    mode: Annotated[Mode, Query()] = "merge"
    allow_secrets: Annotated[bool, Query()] = False
    pull_request: Annotated[bool, Query()] = False


async def init(call: Call[InitBody]) -> Begun:
    """Begin a push. Its price is reserved."""
    wish = checked_wish(call.body)
    job_id = await begin(call, wish)
    below = "/.netlify/functions/"
    return Begun(True, job_id, Upload(f"{below}gh-push-upload-chunk", f"{below}gh-push-upload-complete"))


async def begin(call: Call[Any], wish: PushWish) -> str:
    """Make the row of a push. Raises `Failure` without a token, or where forcing is not allowed."""
    if await call.secrets.info(TOKEN) is None:
        raise no_token(409)
    if wish.force and not (await call.settings()).may_force:
        raise Failure(403, "FORCE_NOT_ALLOWED", "This account may not force pushes", hint="Ask your operator.")
    job_id = f"gh_{secrets.token_hex(12)}"
    retention_s = call.options.retention_hours * HOUR_S
    async with call.db() as db:
        row = await insert(db, call, job_id, wish)
        await note_event(db, row, "init")
        await db.hold("push", key=job_id, for_s=retention_s + SPARE_S)
        await db.enqueue("github.expire", Expiry(job_id), key=job_id, delay_s=retention_s)
    return job_id


async def insert(db: Database, call: Call[Any], job_id: str, wish: PushWish) -> PushRow:
    """The row of a new push."""
    values = {"customer_id": call.customer_id, "key_id": call.key_id, "job_id": job_id, **msgspec.structs.asdict(wish)}
    places = ", ".join(f"${at}" for at in range(1, len(values) + 1))
    row = await db.fetchrow(
        f"insert into push ({', '.join(values)}) values ({places}) returning *",  # noqa: S608 - names of fields
        *values.values(),
    )
    assert row is not None
    return row_of({name: value for name, value in row.items() if name != "key_id"})


async def part(call: Call[PartInput]) -> PartStored:
    """Store a part of the ZIP. A part that is sent again replaces the one before."""
    number, count = numbers_of(call.body)
    size_left = call.options.most_zip_bytes
    async with call.db() as db:
        row = await push_named(db, call.customer_id, job_id_of(call.body.job_id))
        require_uploading(row, count)
        others = await db.fetchval(
            "select coalesce(sum(bytes), 0)::bigint from push_part where push_id = $1 and part <> $2", row.id, number
        )
    require_room(call, others + call.upload.announced_bytes)
    blob = await call.upload.store(most_bytes=max(1, size_left - others))
    async with call.db() as db:
        row = await push_named(db, call.customer_id, row.job_id, lock=True)
        require_uploading(row, count)
        await db.execute(
            "insert into push_part (push_id, part, bytes) values ($1, $2, $3)"
            " on conflict (push_id, part) do update set bytes = excluded.bytes",
            row.id,
            number,
            blob.size,
        )
        staged = await db.fetchval(
            "update push set parts = $2, updated_at = now(), bytes_staged ="
            " (select sum(bytes) from push_part where push_id = $1) where id = $1 returning bytes_staged",
            row.id,
            count,
        )
        require_room(call, staged)
        kept_s = call.options.retention_hours * HOUR_S + SPARE_S
        await db.hold("gib", key=row.job_id, units=staged, for_s=kept_s)
        await db.keep(blob, f"{row.prefix}{number:05}", for_s=kept_s)
        await note_event(db, row, "chunk", blob.size, part=number)
    return PartStored(True, row.job_id, number, count, blob.size)


async def complete(call: Call[WhichPush]) -> Reply:
    """All parts are there: push them, in the background."""
    async with call.db() as db:
        row = await push_named(db, call.customer_id, job_id_of(call.body.job_id), lock=True)
        if row.status == "error":
            raise Failure(409, "JOB_ENDED", f"This push has failed: {row.error}", hint="Begin another one.")
        queued = await queue(db, row, call)
    return Reply(Completed(True, queued, row.job_id), status=202)


async def queue(db: Database, row: PushRow, call: Call[Any]) -> bool:
    """Enqueue a push whose parts have all arrived; whether it waits or runs now. Raises `Failure`."""
    if row.status == "done":
        return False
    if row.status == "uploading":
        there = await received_parts(db, row)
        if row.parts is None or not there:
            raise Failure(409, "NO_CHUNKS", "No chunks were uploaded yet", hint="Send the parts of the ZIP first.")
        absent = next((one for one in range(row.parts) if one >= len(there) or there[one] != one), None)
        if absent is not None:
            raise Failure(409, "PARTS_INCOMPLETE", f"Missing part {absent}", fields={"missing": absent})
        await db.hold(
            "gib", key=row.job_id, units=row.bytes_staged, for_s=call.options.retention_hours * HOUR_S + SPARE_S
        )
        await note_event(db, row, "queue", row.bytes_staged)
    else:
        await db.wake("github.push", key=queue_key(row.job_id, row.losses))
    queue_id = await db.enqueue(
        "github.push", PushJob(row.job_id), key=queue_key(row.job_id, row.losses), serial=serial_of(row)
    )
    await db.execute(
        "update push set status = 'queued', queue_id = $2, queued_at = coalesce(queued_at, now()), updated_at = now()"
        " where id = $1",
        row.id,
        queue_id,
    )
    return True


async def status(call: Call[WhichPush]) -> OneStatus:
    """How a push goes."""
    async with call.db() as db:
        row = await push_named(db, call.customer_id, job_id_of(call.body.job_id))
        state, there = await state_of(db, row), await received_parts(db, row)
    return OneStatus(
        True,
        OneJob(
            row.job_id, state.status, row.owner, row.repo, row.branch, row.message, row.parts, there,
            row.bytes_staged, state.attempts, state.next_attempt_at, row.error, row.error_code, row.commit,
            row.url, row.pull_request_url, row.is_unchanged, stamp(row.created_at), stamp(row.updated_at),
        ),
    )  # fmt: skip


async def own_jobs(call: Call[Limit]) -> OwnJobs:
    """The customer's pushes, the newest first."""
    async with call.db() as db:
        rows = await pushes_of(db, call.customer_id, call.body.limit)
        jobs = [(row, await state_of(db, row)) for row in rows]
    return OwnJobs(
        True,
        [
            OwnJob(
                row.job_id, row.owner, row.repo, row.branch, state.status, state.attempts, state.next_attempt_at,
                row.error, row.commit, row.url, stamp(row.created_at), stamp(row.updated_at),
            )
            for row, state in jobs
        ],
    )  # fmt: skip


async def admin_jobs(call: Call[AdminLimit]) -> AdminJobs:
    """A customer's pushes for operators, the latest change first."""
    async with call.db() as db:
        rows = await pushes_of(db, call.customer_id, call.body.limit, latest_change=True)
        jobs = [(row, await state_of(db, row)) for row in rows]
    return AdminJobs(
        True,
        [
            AdminJob(
                row.job_id, row.owner, row.repo, row.branch, row.message, row.parts, row.bytes_staged,
                state.status, state.attempts, state.next_attempt_at, row.error, stamp(row.error_at), row.commit,
                row.url, stamp(row.created_at), stamp(row.updated_at),
            )
            for row, state in jobs
        ],
    )  # fmt: skip


async def whole_zip(call: Call[ZipInput]) -> Reply:
    """A push in one request."""
    given = call.body
    wish = checked_wish(
        InitBody(
            given.owner, given.repo, given.branch, given.message, given.mode, allow_secrets=given.allow_secrets,
            pull_request=given.pull_request,
        )
    )  # fmt: skip
    require_room(call, call.upload.announced_bytes)
    if await call.secrets.info(TOKEN) is None:
        raise no_token(409)
    blob = await call.upload.store(most_bytes=call.options.most_zip_bytes)
    job_id = await begin(call, wish)
    async with call.db() as db:
        row = await push_named(db, call.customer_id, job_id, lock=True)
        await db.execute("insert into push_part (push_id, part, bytes) values ($1, 0, $2)", row.id, blob.size)
        await db.execute("update push set parts = 1, bytes_staged = $2 where id = $1", row.id, blob.size)
        await db.keep(blob, f"{row.prefix}00000", for_s=call.options.retention_hours * HOUR_S + SPARE_S)
        await note_event(db, row, "chunk", blob.size, part=0)
        row = msgspec.structs.replace(row, parts=1, bytes_staged=blob.size)
        await queue(db, row, call)
    return Reply(Completed(True, True, job_id), status=202)


def numbers_of(body: PartInput) -> tuple[int, int]:
    """`part` and `parts`. Raises `Invalid`."""
    job_id_of(body.job_id)
    number, count = number_of(body.part), number_of(body.parts)
    if number is None:
        raise Invalid("Invalid part", field="part")
    if not count or count > MOST_PARTS:
        raise Invalid("Invalid parts", field="parts")
    if number >= count:
        raise Invalid("part must be < parts", field="part")
    return number, count


def job_id_of(text: str) -> str:
    """The id that a client names. Raises `Invalid` without one."""
    name = text.strip()
    if not name:
        raise Invalid("Missing jobId", field="jobId")
    if len(name) > 100:
        raise NotFound("Job not found", field="jobId")
    return name


def require_uploading(row: PushRow, count: int) -> None:
    """Raises `Failure` where no parts are taken any more, or `parts` is another number than before."""
    if row.status != "uploading":
        raise Failure(409, "JOB_STARTED", "This push has started or ended; it takes no more parts")
    if row.parts is not None and row.parts != count:
        raise Failure(
            409, "PARTS_CHANGED", f"This upload has {row.parts} parts, not {count}", fields={"parts": row.parts}
        )


def require_room(call: Call[Any], size: int) -> None:
    """Raises `Failure` for a ZIP that is too large."""
    most = call.options.most_zip_bytes
    if size > most:
        raise Failure(413, "TOO_LARGE", f"A ZIP may have {most} bytes", fields={"most_bytes": most})


def serial_of(row: PushRow) -> str:
    """Pushes to one branch run one after another; other customers' do not wait for them."""
    return f"{row.customer_id}:{row.owner}/{row.repo}#{row.branch}".lower()


FREE = Free("billed when the commit is on the branch")
READS = Free("reads one's own pushes")

OPERATIONS = [
    Operation(
        "github.init", init, InitBody, FREE, path="/pushes", aliases=["gh-push-init"], auth=Key("deployer"),
        holds=["push"], rate=Rate(120, per_s=60),
    ),
    Operation(
        "github.part", part, PartInput, FREE, method="PUT", path="/pushes/{job_id}/part",
        aliases=["gh-push-upload-chunk"], auth=Key("deployer"), upload=True, holds=["gib"], timeout_s=120,
        key_rates=False,
    ),
    Operation(
        "github.complete", complete, WhichPush, FREE, path="/pushes/{job_id}/complete",
        aliases=["gh-push-upload-complete"], auth=Key("deployer"), holds=["gib"],
    ),
    Operation(
        "github.status", status, WhichPush, READS, method="GET", path="/pushes/{job_id}", aliases=["gh-push-status"],
        admission="key",
    ),
    Operation(
        "github.pushes", own_jobs, Limit, READS, method="GET", path="/pushes", aliases=["gh-my-jobs"], admission="key",
    ),
    Operation(
        "github.zip", whole_zip, ZipInput, FREE, path="/zip", auth=Key("deployer"), upload=True,
        holds=["push", "gib"], rate=Rate(120, per_s=60), timeout_s=120,
    ),
    Operation(
        "github.admin-pushes", admin_jobs, AdminLimit, READS, method="GET", path="/admin/pushes",
        aliases=["admin-gh-jobs"], auth=Operator(),
    ),
]  # fmt: skip
