"""`gateway-job-status`, `-result`, `-cancel` and `-run-background`: for chats and for jobs of integrations."""

from __future__ import annotations

from kaixu.api.jobs.replies import job_reply, result_reply
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import json_object
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.jobs.queue import no_job
from kaixu.jobs.result_role import result_role
from kaixu.plugin.errors import Invalid


def job_routes(services: Services) -> list[Route]:
    """The routes, bound to the services of one gateway."""

    async def status(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        row = await services.queue.find(caller, read_id(request.args.get("id")))
        if request.args.get("kick") == "1" and row.is_unended:
            services.queue.nudge()
        return json_reply({"status": row.status, "job": job_reply(services, row)})

    async def result(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        row = await services.queue.find(caller, read_id(request.args.get("id")))
        if row.kind == "embed":
            raise no_job(str(row.id))  # it belongs to a batch, whose output file has its vectors
        await services.queue.require_role(caller, result_role(services.catalog, row))
        return result_reply(services, row, request.request_id)

    async def cancel(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        job_id = json_object(request.body).get("id") if request.body else None
        row = await services.queue.find(caller, read_id(job_id or request.args.get("id")))
        await services.queue.require_role(caller, result_role(services.catalog, row))
        row = await services.queue.cancel(caller, str(row.id))
        return json_reply({"status": row.status, "job": job_reply(services, row)})

    async def run_background(request: IncomingRequest) -> Reply:
        services.queue.nudge()  # safe to call at any time: it only wakes the worker
        return Reply(202, {}, b"")

    return [
        Route("GET", function_paths("gateway-job-status"), status, auth="key", rate="reading"),
        Route("GET", function_paths("gateway-job-result"), result, auth="key", rate="reading"),
        Route("POST", function_paths("gateway-job-cancel"), cancel, auth="key", rate="reading"),
        Route("POST", function_paths("gateway-job-run-background"), run_background, auth="key", rate="reading"),
    ]


def read_id(value: object) -> str:
    """Validate the id. Raises `Invalid`."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid("`id` is missing", hint="Send the job's id: ?id=…", field="id")
    return value.strip()
