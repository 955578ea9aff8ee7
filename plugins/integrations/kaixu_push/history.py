"""What operators see and do: projects, deploys, files, and the two endpoints that once were cron jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import Annotated, Any

import msgspec

from kaixu.plugin import Body, Call, Clamped, Database, Operation, Operator, Query

from .assemble import file_key
from .billing import month_of
from .errors import bad
from .expire import expire_files
from .part import Part
from .paths import site_of, text_of
from .projects import upsert
from .shapes import AdminProject, admin_project_of, written, written_or_none
from .states import parts_prefix
from .tokens import OPERATORS, Done, Nothing

PROJECTS = """
    select id, project_id, name, netlify_site_id, created_at, updated_at from project
     where customer_id = $1 order by created_at desc, id desc
"""
CHANGE = """
    update project set name = coalesce($4, name), netlify_site_id = coalesce($5, netlify_site_id), updated_at = now()
     where customer_id = $1 and (id = $2 or project_id = $3)
    returning id, project_id, name, netlify_site_id, created_at, updated_at
"""
DEPLOYS = """
    select p.id as push_row_id, p.push_id, p.branch, p.title, p.deploy_id, p.state, p.url, p.error, p.required_count,
           p.uploaded_count, j.project_id, j.name as project_name, p.site_id as netlify_site_id, p.created_at,
           p.updated_at
      from push p left join project j on j.id = p.project
     where p.customer_id = $1 and p.created_at >= $2::date::timestamp at time zone 'UTC'
       and p.created_at < ($2::date + interval '1 month') at time zone 'UTC'
       and ($3::text is null or j.project_id = $3)
     order by p.created_at desc, p.id desc limit $4
"""
FILES = """
    select p.push_id, j.project_id, f.sha1, f.deploy_path, coalesce(f.parts, s.count) as parts, s.received, s.bytes,
           f.status, f.error, f.created_at, f.updated_at
      from push p
      join push_file f on f.push = p.id and f.mode = 'chunked'
      left join project j on j.id = p.project
     cross join lateral (
           select count(*)::integer as count,
                  case when f.status = 'done' then f.parts else count(t.received_at)::integer end as received,
                  coalesce(sum(t.bytes), 0)::bigint as bytes
             from push_part t where t.push = f.push and t.sha1 = f.sha1) s
     where p.customer_id = $1 and p.created_at >= $2::date::timestamp at time zone 'UTC'
       and p.created_at < ($2::date + interval '1 month') at time zone 'UTC'
       and ($3::text is null or p.push_id = $3)
     order by f.updated_at desc limit $4
"""
WAITING = """
    select p.customer_id, p.push_id, f.sha1 from push_file f join push p on p.id = f.push
     where f.status in ('retry_wait', 'error_transient') order by f.next_attempt_at nulls first limit $1
"""


RowNumber = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class NewProject(msgspec.Struct):
    project_id: Annotated[Any, Body("project_id", "projectId")] = None
    name: Annotated[Any, Body("name")] = None
    netlify_site_id: Annotated[Any, Body("netlify_site_id", "netlifySiteId")] = None
    most_files: Annotated[Annotated[int, msgspec.Meta(ge=1, le=54_000)] | None, Body("most_files", lax=True)] = None
    most_bytes: Annotated[Annotated[int, msgspec.Meta(ge=1, le=2**50)] | None, Body("most_bytes", lax=True)] = None


class ChangedProject(msgspec.Struct):
    id: Annotated[RowNumber | None, Body("id", lax=True)] = None
    project_id: Annotated[Any, Body("project_id", "projectId")] = None
    name: Annotated[Any, Body("name")] = None
    netlify_site_id: Annotated[Any, Body("netlify_site_id", "netlifySiteId")] = None


class GoneProject(msgspec.Struct):
    id: Annotated[RowNumber | None, Body("id", lax=True)] = None
    project_id: Annotated[Any, Body("project_id", "projectId")] = None


class Projects(msgspec.Struct):
    projects: list[AdminProject]


class OneProject(msgspec.Struct):
    project: AdminProject | None


class AskedDeploys(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 500, default=200)]
    month: Annotated[str | None, Query()] = None
    project_id: Annotated[str | None, Query()] = None


class AskedFiles(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 500, default=200)]
    month: Annotated[str | None, Query()] = None
    push_id: Annotated[str | None, Query()] = None


class DeployRow(msgspec.Struct):
    push_row_id: int
    push_id: str
    branch: str
    title: str
    deploy_id: str | None
    state: str
    url: str | None
    error: str | None
    required_count: int
    uploaded_count: int
    project_id: str | None
    project_name: str | None
    netlify_site_id: str
    created_at: str
    updated_at: str


class FileRow(msgspec.Struct):
    job_id: str
    push_id: str
    project_id: str | None
    sha1: str
    deploy_path: str | None
    parts: int
    received_count: int
    bytes_staged: int
    status: str
    error: str | None
    created_at: str | None
    updated_at: str | None


class Deploys(msgspec.Struct):
    month: str
    deploys: list[DeployRow]


class Files(msgspec.Struct):
    month: str
    jobs: list[FileRow]


class Limit(msgspec.Struct):
    limit: Annotated[int, Query(), Clamped(1, 25, default=15)]


class Retried(msgspec.Struct):
    ok: bool
    scanned: int
    claimed: int
    triggered: int


class CleanedUp(msgspec.Struct):
    ok: bool
    retention_hours: float
    cutoff: str
    jobs_examined: int
    expired_jobs: int
    deleted_chunks: int


class OneFile(msgspec.Struct):
    push_id: str
    sha1: str


async def projects(call: Call[Nothing]) -> Projects:
    """All projects of a customer."""
    async with call.db() as db:
        rows = await db.fetch(PROJECTS, call.customer_id)
    return Projects([admin_project_of(row) for row in rows])


async def put_project(call: Call[NewProject]) -> OneProject:
    """Make a project, or change it; the customer may use the operator's token for its site from now on."""
    project_id, name = text_of(call.body.project_id, 200), text_of(call.body.name, 120)
    site = text_of(call.body.netlify_site_id, 300)
    for value, text in ((project_id, "project_id"), (name, "name"), (site, "netlify_site_id")):
        if not value:
            raise bad(f"Missing {text}")

    async def put(db: Database) -> Any:
        row = await upsert(db, call.customer_id, project_id, name, site)
        if call.body.most_files is not None or call.body.most_bytes is not None:
            await db.execute(
                "update project set most_files = coalesce($3, most_files), most_bytes = coalesce($4, most_bytes) "
                "where customer_id = $1 and id = $2",
                call.customer_id, row["id"], call.body.most_files, call.body.most_bytes,
            )  # fmt: skip
        return row

    return OneProject(admin_project_of(await allowing(call, site, put)))


async def allowing(call: Call[Any], site: str, change: Callable[[Database], Awaitable[Any]]) -> Any:
    """What `change` returns, in one transaction that also puts a site on the customer's list. Raises `Failure`."""
    if site_of(site) is None:
        raise bad("Invalid netlify_site_id")
    async with call.db() as db:
        # One at a time for each customer: the list is read, and stored with one more.
        await db.fetchval("select pg_advisory_xact_lock(hashtextextended('sites', $1))", call.customer_id)
        allowed = (await db.settings()).allowed_sites
        if site not in allowed:
            await db.change_settings({"allowed_sites": [*allowed, site]})
        return await change(db)


async def change_project(call: Call[ChangedProject]) -> OneProject:
    """Change the name or the site of a project; null where there is none."""
    number, project_id = which(call.body.id, call.body.project_id)
    name, site = text_of(call.body.name, 120), text_of(call.body.netlify_site_id, 300)
    if not name and not site:
        raise bad("No fields to update")
    async with call.db() as db:
        row = await db.fetchrow(CHANGE, call.customer_id, number, project_id, name or None, None)
    if row is not None and site:
        found = row["id"]

        async def move(db: Database) -> Any:
            return await db.fetchrow(CHANGE, call.customer_id, found, None, None, site)

        row = await allowing(call, site, move)
    return OneProject(None if row is None else admin_project_of(row))


async def delete_project(call: Call[GoneProject]) -> Done:
    """Remove a project with its pushes; those that Netlify may still publish are followed to their end, and billed."""
    number, project_id = which(call.body.id, call.body.project_id)
    async with call.db() as db:
        found = await db.fetchval(
            "select id from project where customer_id = $1 and (id = $2 or project_id = $3) for update",
            call.customer_id, number, project_id,
        )  # fmt: skip
        if found is not None:
            for row in await db.fetch(
                "delete from push where customer_id = $1 and project = $2 and ended_at is not null returning push_id",
                call.customer_id, found,
            ):  # fmt: skip
                await db.drop(parts_prefix(row["push_id"]))
            await db.execute("delete from project where customer_id = $1 and id = $2", call.customer_id, found)
    return Done()


def which(number: int | None, project_id: Any) -> tuple[int | None, str | None]:
    """The project that is meant. Raises `Failure`."""
    text = text_of(project_id, 200)
    if number is None and not text:
        raise bad("Missing id or project_id")
    return (number, None) if number is not None else (None, text)


async def deploys(call: Call[AskedDeploys]) -> Deploys:
    """The pushes of a month, the newest first."""
    async with call.db() as db:
        month = await this_month(db, month_of(call.body.month))
        rows = await db.fetch(DEPLOYS, call.customer_id, month, call.body.project_id or None, call.body.limit)
    return Deploys(f"{month:%Y-%m}", [msgspec.convert(with_times(row), DeployRow) for row in rows])


async def files(call: Call[AskedFiles]) -> Files:
    """The files in parts of a month's pushes, the newest first."""
    async with call.db() as db:
        month = await this_month(db, month_of(call.body.month))
        rows = await db.fetch(FILES, call.customer_id, month, call.body.push_id or None, call.body.limit)
    return Files(f"{month:%Y-%m}", [file_row(row) for row in rows])


def file_row(row: Mapping[str, Any]) -> FileRow:
    """A file in parts."""
    return FileRow(
        job_id=file_key(row["push_id"], row["sha1"]),
        push_id=row["push_id"],
        project_id=row["project_id"],
        sha1=row["sha1"],
        deploy_path=row["deploy_path"],
        parts=row["parts"],
        received_count=row["received"],
        bytes_staged=row["bytes"],
        status=row["status"],
        error=row["error"],
        created_at=written_or_none(row["created_at"]),
        updated_at=written_or_none(row["updated_at"]),
    )


def with_times(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its times written out."""
    return {**row, "created_at": written(row["created_at"]), "updated_at": written(row["updated_at"])}


async def this_month(db: Database, month: date | None) -> date:
    """The month that is meant; by default the present one, as the database has it."""
    if month is not None:
        return month
    now: date = await db.fetchval("select date_trunc('month', now() at time zone 'UTC')::date")
    return now


async def retry(call: Call[Limit]) -> Retried:
    """Let files that wait for their next attempt be sent now. They would be without it, later."""
    async with call.db() as db:
        rows = await db.fetch(WAITING, call.body.limit)
        woken = 0
        for row in rows:
            key = file_key(row["push_id"], row["sha1"])
            woken += await db.wake("push.assemble", key=key, customer_id=row["customer_id"])
    return Retried(True, len(rows), woken, woken)


async def retry_file(call: Call[OneFile]) -> Done:
    """Let one file of a customer be sent now; whether it waits."""
    key = file_key(call.body.push_id, call.body.sha1)
    async with call.db() as db:
        is_woken = await db.wake("push.assemble", key=key, customer_id=call.customer_id)
    return Done(ok=is_woken)


async def clean_up(call: Call[Nothing]) -> CleanedUp:
    """Remove parts that nobody completes. A job of each push does it without being asked."""
    hours = call.options.retention_hours
    async with call.db() as db:
        cutoff = await db.fetchval("select now()") - timedelta(hours=hours)
        examined = await db.fetchval(
            "select count(*) from push_file where parts is not null and status not in ('done', 'expired')"
        )
        gone = await expire_files(db, None, cutoff, of_all=True)
    return CleanedUp(True, hours, written(cutoff), examined, gone.files, gone.parts)


PART = Part(
    operations=[
        Operation(
            "push.admin_projects", projects, Nothing, OPERATORS, method="GET", path="/admin/projects",
            aliases=["admin-push-projects"], auth=Operator(),
        ),
        Operation(
            "push.admin_project_put", put_project, NewProject, OPERATORS, path="/admin/projects",
            aliases=["admin-push-projects"], auth=Operator(),
        ),
        Operation(
            "push.admin_project_change", change_project, ChangedProject, OPERATORS, method="PATCH",
            path="/admin/projects", aliases=["admin-push-projects"], auth=Operator(),
        ),
        Operation(
            "push.admin_project_delete", delete_project, GoneProject, OPERATORS, method="DELETE",
            path="/admin/projects", aliases=["admin-push-projects"], auth=Operator(),
        ),
        Operation(
            "push.admin_deploys", deploys, AskedDeploys, OPERATORS, method="GET", path="/admin/deploys",
            aliases=["admin-push-deploys"], auth=Operator(),
        ),
        Operation(
            "push.admin_files", files, AskedFiles, OPERATORS, method="GET", path="/admin/files",
            aliases=["admin-push-jobs"], auth=Operator(),
        ),
        Operation("push.admin_retry_file", retry_file, OneFile, OPERATORS, path="/admin/files/retry", auth=Operator()),
        *(
            Operation(
                f"push.admin_retry_{method.lower()}", retry, Limit, OPERATORS, method=method, path="/admin/retry",
                aliases=["push-job-retry"], auth=Operator(None),
            )
            for method in ("GET", "POST")
        ),
        *(
            Operation(
                f"push.admin_cleanup_{method.lower()}", clean_up, Nothing, OPERATORS, method=method,
                path="/admin/cleanup", aliases=["push-chunk-cleanup"], auth=Operator(None), holds=["gib"],
            )
            for method in ("GET", "POST")
        ),
    ]
)  # fmt: skip
