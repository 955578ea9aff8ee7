"""`kaixu jobs …`: list, show and cancel jobs."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from kaixu.accounts.customers import find_customer
from kaixu.accounts.jobs import cancel_job
from kaixu.reports.jobs import STATUSES, JobRow, find_job, job_details_json, job_json, list_jobs

from .examples import example
from .failure import fail
from .report import print_json, print_rows, shown
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

jobs = typer.Typer(name="jobs", help="Jobs: list, show, cancel.", no_args_is_help=True)

JobId = Annotated[UUID, typer.Argument(help="The job's id.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(jobs)


@jobs.command("list", epilog=example("jobs list --status queued"))
def list_queue(
    customer: Annotated[str | None, typer.Option(help="Only this customer's: id or email.")] = None,
    status: Annotated[str | None, typer.Option(help=f"{', '.join(STATUSES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The maximum number of jobs.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest jobs, without their texts."""

    if status is not None and status not in STATUSES:
        raise fail(f"`--status` must be one of {', '.join(STATUSES)}")

    async def work(session: CommandSession) -> list[JobRow]:
        customer_id = None if customer is None else (await find_customer(session.pool, customer)).id
        return await list_jobs(session.pool, customer_id=customer_id, status=status, limit=limit)

    print_rows([job_json(one) for one in with_database(work)], as_json=as_json, title="jobs")


@jobs.command(epilog=example("jobs show 7c0e6c9a-3f0e-4d0f-9a4e-0d9f0f6d1a2b"))
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show a job, without its texts."""

    async def work(session: CommandSession) -> JobRow:
        return await find_job(session.pool, job_id)

    details = job_details_json(with_database(work))
    if as_json:
        print_json(details)
        return
    for name, value in details.items():
        typer.echo(f"{name:<12} {'' if value is None else shown(value)}")


@jobs.command(epilog=example("jobs cancel 7c0e6c9a-3f0e-4d0f-9a4e-0d9f0f6d1a2b"))
def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job: a queued one at once, a running one when its worker next renews its lease."""

    async def work(session: CommandSession) -> str:
        return await cancel_job(session.pool, job_id, actor=ACTOR, request_id=REQUEST_ID)

    status = with_database(work)
    if as_json:
        print_json({"id": str(job_id), "status": status})
        return
    typer.echo({"cancelled": "cancelled", "running": "its worker will stop it"}.get(status, f"it has {status} already"))
