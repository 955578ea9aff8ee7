"""`/v1/batches`: OpenAI's Batch API; each line of a batch is a job."""

from __future__ import annotations

from functools import partial
from typing import Any

from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import json_object
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route, no_such_endpoint
from kaixu.edge.services import Services
from kaixu.edge.threads import run_in_thread
from kaixu.jobs.batches import BatchRow
from kaixu.plugin.errors import Invalid, Unprocessable

from .batch_lines import CHAT, EMBEDDINGS, parse_lines
from .files import ERRORS, OUTPUT, file_routes

MAX_LISTED = 100
MAX_METADATA = 16
METHODS = ("GET", "POST", "DELETE")


def batch_routes(services: Services) -> list[Route]:
    """The routes of batches and their files."""

    async def make(request: IncomingRequest) -> Reply:
        return await create(services, request)

    async def list_all(request: IncomingRequest) -> Reply:
        limit = request.args.get("limit", "20")
        most = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 4 else 20
        caller = read_caller(request, services.secrets)
        rows = await services.batches.list_newest(caller, max(1, min(most, MAX_LISTED)))
        data = [batch_reply(row) for row in rows]
        ids = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return json_reply({"object": "list", "data": data, "has_more": False, **ids})

    async def show(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        return json_reply(batch_reply(await services.batches.find(caller, read_batch_id(request))))

    async def cancel(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        return json_reply(batch_reply(await services.batches.cancel(caller, read_batch_id(request))))

    async def refuse(request: IncomingRequest) -> Reply:
        raise no_such_endpoint(request)

    route = partial(Route, auth="key", rate="reading", error_shape=openai_error)
    return [
        route("GET", ("/v1/batches",), list_all),
        route("POST", ("/v1/batches",), make),
        route("GET", ("/v1/batches/<batch_id>",), show),
        route("POST", ("/v1/batches/<batch_id>/cancel",), cancel),
        *file_routes(services),
        # Other paths below these are 404, but only for callers with a key.
        *(route(method, ("/v1/batches/<path:rest>", "/v1/files/<path:rest>"), refuse) for method in METHODS),
    ]


def read_batch_id(request: IncomingRequest) -> str:
    """The id of the batch in a request's path."""
    return request.parameters["batch_id"].removeprefix("batch_")


async def create(services: Services, request: IncomingRequest) -> Reply:
    """Create a batch: validate its lines and queue them."""
    caller = read_caller(request, services.secrets)
    body = json_object(request.body)
    file_id, endpoint = body.get("input_file_id"), body.get("endpoint")
    if not isinstance(file_id, str) or not file_id:
        raise Invalid("`input_file_id` is missing", field="input_file_id")
    if endpoint not in (CHAT, EMBEDDINGS):
        raise Unprocessable(f"`endpoint` must be {CHAT} or {EMBEDDINGS}", field="endpoint")
    if body.get("completion_window", "24h") != "24h":
        raise Unprocessable("`completion_window` must be 24h", field="completion_window")
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or len(metadata) > MAX_METADATA or not all(map(is_short, metadata.items())):
        raise Unprocessable(f"`metadata` must be up to {MAX_METADATA} short texts", field="metadata")
    file = await services.batches.find_file(caller, file_id.removeprefix("file-"))
    content = await services.batches.content(file)
    row = await services.batches.create(
        caller,
        endpoint=endpoint,
        file=file,
        metadata=metadata,
        lines=await run_in_thread(len(content), lambda: parse_lines(services, content, endpoint)),
        attempts=services.gateway.jobs.attempts,
        most_waiting=services.gateway.jobs.most_waiting,
    )
    return json_reply(batch_reply(row))


def is_short(item: tuple[Any, Any]) -> bool:
    """Whether a name and a value of metadata are short texts."""
    name, value = item
    return isinstance(name, str) and len(name) <= 64 and isinstance(value, str) and len(value) <= 512


def batch_status(row: BatchRow) -> str:
    """The status in OpenAI's format."""
    if row.cancelled_at is not None:
        return "cancelling" if row.waiting else "cancelled"
    return "in_progress" if row.waiting else "completed"


def batch_reply(row: BatchRow) -> dict[str, Any]:
    """A batch in OpenAI's format."""
    status = batch_status(row)
    ended = None if row.waiting or row.ended_at is None else int(row.ended_at.timestamp())
    return {
        "id": f"batch_{row.id}",
        "object": "batch",
        "endpoint": row.endpoint,
        "errors": None,
        "input_file_id": f"file-{row.input_file_id}",
        "completion_window": "24h",
        "status": status,
        "output_file_id": f"{OUTPUT}{row.id}" if row.succeeded and not row.waiting else None,
        "error_file_id": f"{ERRORS}{row.id}" if row.failed and not row.waiting else None,
        "created_at": int(row.created_at.timestamp()),
        "in_progress_at": None if row.started_at is None else int(row.started_at.timestamp()),
        "expires_at": int(row.expires_at.timestamp()),
        "finalizing_at": ended,
        "completed_at": ended if status == "completed" else None,
        "failed_at": None,
        "expired_at": None,
        "cancelling_at": None if row.cancelled_at is None else int(row.cancelled_at.timestamp()),
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {"total": row.total, "completed": row.succeeded, "failed": row.failed},
        "metadata": row.metadata,
    }
