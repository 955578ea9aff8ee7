"""A job and its result as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.api.native.chat import tool_calls_and_reasoning
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.jobs.queue import JobRow
from kaixu.metering.event_codec import decode_events
from kaixu.plugin.types import ChatDelta
from kaixu.reports.values import instant


def job_usage_reply(row: JobRow) -> dict[str, Any]:
    """The job's usage and cost."""
    return {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
    }


def job_reply(services: Services, row: JobRow) -> dict[str, Any]:
    """A job for its customer. Usage appears twice, because clients read either place."""
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
        "last_error": row.error_code if row.is_unended else None,
        "webhook": webhook_state(row),
    }


def webhook_state(row: JobRow) -> dict[str, Any] | None:
    """Whether the job's webhook was delivered; None if it has none, or the job has not ended."""
    if not (row.webhook_attempts or row.webhook_waits or row.webhook_told_at):
        return None
    state = "told" if row.webhook_told_at else "waiting" if row.webhook_waits else "given up"
    return {"state": state, "attempts": row.webhook_attempts, "told_at": instant(row.webhook_told_at)}


def result_reply(services: Services, row: JobRow, request_id: str) -> Reply:
    """The result; 202 while there is none yet, 409 for a cancelled job, 500 for a failed one."""
    job = {"id": str(row.id), "status": row.status, "created_at": instant(row.created_at)}
    if row.is_unended:
        return json_reply({"status": row.status, "job": job | {"started_at": instant(row.started_at)}}, 202)
    if row.status != "succeeded":
        failed = {
            "error": row.error_message or "the job failed",
            "code": row.error_code or "INTERNAL",
            "request_id": request_id,
            "status": row.status,
            "job": job,
        }
        return json_reply(failed, 409 if row.status == "cancelled" else 500)
    body = {
        "status": row.status,
        "provider": services.catalog.shown(row.provider),
        "model": row.model,
        "requested_provider": row.requested_provider,
        "requested_model": row.requested_model,
        "usage": job_usage_reply(row),
        "job": job | {"started_at": instant(row.started_at), "completed_at": instant(row.completed_at)},
    }
    result = chat_result(services, row) if row.kind == "chat" else {"result": msgspec.Raw(services.queue.result(row))}
    return json_reply(body | result)


def chat_result(services: Services, row: JobRow) -> dict[str, Any]:
    """The answer of a chat."""
    outcome = services.queue.outcome(row)
    events = decode_events((outcome.events or "[]").encode())
    answer = {
        "output_text": "".join(event.text for event in events if isinstance(event, ChatDelta)),
        "finish_reason": "length" if outcome.end == "budget_cut" else outcome.finish_reason,
        "end": outcome.end,
        "routing": outcome.bill,
    }
    return answer | tool_calls_and_reasoning(events)
