"""`kaixu jobs`: what is in the queue, one job, and cancelling it."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from kaixu.config.price import usd
from kaixu.store.job_rows import JobRow, cancel_job, find_job, list_jobs

from .examples import example
from .failure import fail
from .report import print_json, print_rows
from .session import AsJson, CommandSession, with_database

jobs = typer.Typer(name="jobs", help="Jobs: list, show, cancel.", no_args_is_help=True)

JobId = Annotated[UUID, typer.Argument(help="The job's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(jobs)


@jobs.command("list", epilog=example("jobs list --status queued"))
def list_them(
    customer: Annotated[int | None, typer.Option(help="Of this customer only.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The newest jobs; never their texts."""

    async def work(session: CommandSession) -> list[JobRow]:
        return await list_jobs(session.pool, customer_id=customer, status=status, limit=limit)

    print_rows([row_of(one) for one in with_database(work)], as_json=as_json, title="jobs")


@jobs.command(epilog=example("jobs show 7c0e6c9a-3f0e-4d0f-9a4e-0d9f0f6d1a2b"))
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """One job; never its texts."""

    async def work(session: CommandSession) -> JobRow | None:
        return await find_job(session.pool, job_id, customer_id=None)

    found = with_database(work)
    if found is None:
        raise fail(f"there is no job {job_id}")
    row = row_of(found) | {"attempts": found.attempts, "losses": found.losses, "message": found.error_message}
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        typer.echo(f"{name:<12} {'' if value is None else value}")


@jobs.command(epilog=example("jobs cancel 7c0e6c9a-3f0e-4d0f-9a4e-0d9f0f6d1a2b"))
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job: one that waits at once, one that runs as soon as its worker hears of it."""

    async def work(session: CommandSession) -> str | None:
        return await cancel_job(session.pool, job_id, customer_id=None)

    status = with_database(work)
    if status is None:
        raise fail(f"there is no job {job_id}")
    if as_json:
        print_json({"id": str(job_id), "status": status})
        return
    said = {"cancelled": "cancelled", "running": "its worker will be told"}.get(status, f"it has {status} already")
    typer.echo(said)


def row_of(job: JobRow) -> dict[str, Any]:
    """A job as a row."""
    return {
        "id": str(job.id),
        "kind": job.kind,
        "customer": job.customer_id,
        "status": job.status,
        "model": job.model,
        "created_at": job.created_at.isoformat(timespec="seconds"),
        "completed_at": None if job.completed_at is None else job.completed_at.isoformat(timespec="seconds"),
        "cost_usd": usd(job.cost_nusd),
        "error": job.error_code,
        "request_id": job.request_id,
    }
