"""`gateway-job-submit`: queues a chat. Admission checks it now, and again when it runs."""

from __future__ import annotations

import re
from typing import Any

from kaixu import __version__
from kaixu.api.calls import prepare_chat
from kaixu.api.health import system_hash
from kaixu.api.native.chat_request import FEATURE_FIELDS, parse_native_chat_request, read_model_names
from kaixu.catalog.catalog import Deployment
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import read_object
from kaixu.edge.own_url import own_url
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.jobs.payloads import ModelCall
from kaixu.jobs.queue import JobRequest, Submission
from kaixu.plugin.errors import Unprocessable

from .webhook import read_webhook, webhook_reply

#: `max_tokens` of a job without that field.
DEFAULT_TOKENS = 4096

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")


def submit_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def submit(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        provider, model = read_model_names(body)
        if body.get("retrieve") is not None:
            raise Unprocessable(
                "jobs do not support `retrieve`", hint="Search first, then send the passages.", field="retrieve"
            )
        webhook = read_webhook(body, services.gateway.jobs)
        key = idempotency_key(request)
        requested = services.catalog.resolve(provider, model, "chat")
        if body.get("max_tokens") is None:
            body["max_tokens"] = DEFAULT_TOKENS
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=parse_native_chat_request,
            feature_fields=FEATURE_FIELDS,
            operation="job-submit",
        )
        deployment = requested.deployment
        job = JobRequest(
            kind="chat",
            call=ModelCall(requested.provider, deployment.model, chat=prepared.call.request),
            provider=deployment.provider,
            model=deployment.model,
            requested_provider=provider,
            requested_model=model,
            idempotency_key=key,
            webhook=webhook,
        )
        async with prepared.admission as ticket:
            submission = services.queue.submit(
                ticket,
                job,
                attempts=services.gateway.jobs.attempts,
                most_waiting=services.gateway.jobs.most_waiting,
            )
        services.queue.nudge()
        reply = submission_reply(services, request, submission, deployment)
        if webhook is not None:
            reply["webhook"] = webhook_reply(services, ticket.verdict.customer_id or 0, webhook)
        return json_reply(reply, 202)

    return [Route("POST", function_paths("gateway-job-submit"), submit, auth="key", rate="call", error_shape=cap_error)]


def submission_reply(
    services: Services, request: IncomingRequest, submission: Submission, deployment: Deployment
) -> dict[str, Any]:
    """The reply to a submitted job."""
    job_id = str(submission.id)
    return {
        "job_id": job_id,
        "id": job_id,
        "status": "queued",
        "status_url": job_url(request, "gateway-job-status", job_id),
        "result_url": job_url(request, "gateway-job-result", job_id),
        "provider": deployment.shown_provider,
        "model": deployment.model,
        "requested_provider": submission.request.requested_provider,
        "requested_model": submission.request.requested_model,
        "build": {"id": __version__, "schema": "kaixu-1", "kaixu_system_hash": system_hash(services.catalog)},
        "note": "the job is in the queue; look at status_url until it has succeeded or failed"
        if submission.is_new
        else "a job with this idempotency key was submitted before; this is it",
        "request_id": request.request_id,
    }


def idempotency_key(request: IncomingRequest) -> str | None:
    """The header `idempotency-key`: a second submit with it returns the same job. Raises `Unprocessable`."""
    key = request.headers.get("idempotency-key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Unprocessable("`idempotency-key` must be 1 to 200 printable characters", field="idempotency-key")
    return key


def cap_error(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """The error format of this endpoint: after a reached cap, the cap's figures are flat fields."""
    month = body.get("month")
    if status != 402 or not isinstance(month, dict):
        return body, status
    if isinstance(end_user := body.get("end_user"), dict):
        figures = {name: end_user[name] for name in ("cap_cents", "spent_cents")}
        return body | {"month": month["month"]} | figures, status
    who = "key" if body.get("scope") == "key" else "customer"
    figures = {"cap_cents": month[f"{who}_cap_cents"], "spent_cents": month[f"{who}_spent_cents"]}
    return body | {"month": month["month"]} | figures, status


def job_url(request: IncomingRequest, function: str, job_id: str) -> str:
    """The URL of a job's endpoint, on the host of the request."""
    path = request.path.rstrip("/").rpartition("/")[0] + f"/{function}?id={job_id}"
    return own_url(request, path)
