"""`gateway-job-status`, `-result`, `-cancel` and `-run-background`."""

from __future__ import annotations

from typing import Any

from kaixu.api.native.chat import extras
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import json_object
from kaixu.edge.function_paths import paths_of
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.jobs.queue import JobRow, unknown
from kaixu.metering.cache import events_in
from kaixu.plugin.errors import Invalid
from kaixu.plugin.types import ChatDelta
from kaixu.reports.values import instant


def look_doors(services: Services) -> list[Door]:
    """The doors, bound to one gateway."""

    async def status(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        row = await services.queue.look(caller, id_in(asked.args.get("id")))
        if asked.args.get("kick") == "1" and row.status in ("queued", "running"):
            services.queue.nudge()
        return json_reply({"status": row.status, "job": job_reply(services, row)})

    async def result(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        row = await services.queue.look(caller, id_in(asked.args.get("id")))
        if row.kind != "chat":
            raise unknown(str(row.id))
        return result_reply(services, row, asked.request_id)

    async def cancel(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        wanted = json_object(asked.body).get("id") if asked.body else None
        row = await services.queue.cancel(caller, id_in(wanted or asked.args.get("id")))
        return json_reply({"status": row.status, "job": job_reply(services, row)})

    async def run_background(asked: IncomingRequest) -> Reply:
        services.queue.nudge()  # the queue knows what there is to do; nobody can make it run anything twice
        return Reply(202, {}, b"")

    return [
        Door(status, paths_of("gateway-job-status"), methods=("GET",), rate="reading"),
        Door(result, paths_of("gateway-job-result"), methods=("GET",), rate="reading"),
        Door(cancel, paths_of("gateway-job-cancel"), rate="reading"),
        Door(run_background, paths_of("gateway-job-run-background"), rate="reading"),
    ]


def id_in(value: object) -> str:
    """The id that was sent. Raises `Invalid`."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid("`id` is missing", hint="Send the job's id: ?id=…", field="id")
    return value.strip()


def job_usage_reply(row: JobRow) -> dict[str, Any]:
    """What the job used and cost."""
    return {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
    }


def job_reply(services: Services, row: JobRow) -> dict[str, Any]:
    """A job as its customer sees it. Clients look for its figures in both places."""
    return {
        "id": str(row.id),
        "kind": row.kind,
        "customer_id": row.customer_id,
        "api_key_id": row.key_id,
        "status": row.status,
        "provider": services.catalog.shown(row.provider),
        "model": row.model,
        "requested_provider": row.requested_provider,
        "requested_model": row.requested_model,
        "request_id": row.request_id,
        "created_at": instant(row.created_at),
        "started_at": instant(row.started_at),
        "completed_at": instant(row.completed_at),
        "heartbeat_at": instant(row.heartbeat_at),
        "attempts": row.attempts,
        "cancelling": row.cancel_asked and row.status == "running",
        "progress": None if row.total is None else {"done": row.done, "of": row.total},
        "output_len": row.output_len,
        "usage": job_usage_reply(row),
        **job_usage_reply(row),
        "error": row.error_message if row.status in ("failed", "cancelled") else None,
        "code": row.error_code if row.status in ("failed", "cancelled") else None,
        "last_error": None if row.status not in ("queued", "running") else row.error_code,
        "webhook": webhook_state(row),
    }


def webhook_state(row: JobRow) -> dict[str, Any] | None:
    """Whether the end was told; None where nobody asked for that, or it has not ended."""
    if not (row.webhook_attempts or row.webhook_waits or row.webhook_told_at):
        return None
    state = "told" if row.webhook_told_at else "waiting" if row.webhook_waits else "given up"
    return {"state": state, "attempts": row.webhook_attempts, "told_at": instant(row.webhook_told_at)}


def result_reply(services: Services, row: JobRow, request_id: str) -> Reply:
    """What came of it: the answer, not yet, or why there is none."""
    short = {"id": str(row.id), "status": row.status, "created_at": instant(row.created_at)}
    if row.status in ("queued", "running"):
        return json_reply({"status": row.status, "job": short | {"started_at": instant(row.started_at)}}, 202)
    if row.status != "succeeded":
        failed = {
            "error": row.error_message or "the job failed",
            "code": row.error_code or "INTERNAL",
            "request_id": request_id,
            "status": row.status,
            "job": short,
        }
        return json_reply(failed, 409 if row.status == "cancelled" else 500)
    outcome = services.queue.outcome(row)
    events = events_in((outcome.events or "[]").encode())
    body = {
        "status": row.status,
        "provider": services.catalog.shown(row.provider),
        "model": row.model,
        "requested_provider": row.requested_provider,
        "requested_model": row.requested_model,
        "output_text": "".join(event.text for event in events if isinstance(event, ChatDelta)),
        "finish_reason": "length" if outcome.end == "budget_cut" else outcome.finish_reason,
        "end": outcome.end,
        "usage": job_usage_reply(row),
        "routing": outcome.bill,
        "job": short | {"started_at": instant(row.started_at), "completed_at": instant(row.completed_at)},
    }
    return json_reply(body | extras(events))
