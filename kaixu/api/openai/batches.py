"""`/v1/batches`: OpenAI's Batch API; each line of a batch is a job."""

from __future__ import annotations

from typing import Any

from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import json_object
from kaixu.edge.off_loop import off_loop
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.jobs.batches import BatchRow
from kaixu.plugin.errors import Invalid, NotFound, Unprocessable

from .batch_lines import CHAT, EMBEDDINGS, parse_lines
from .files import ERRORS, OUTPUT, files

FILES, BATCHES = "/v1/files", "/v1/batches"
MOST_LISTED = 100
MOST_METADATA = 16


def batch_door(services: Services) -> Door:
    """The door of everything below `/v1/files` and `/v1/batches`; see `serves`."""

    async def serve(asked: IncomingRequest) -> Reply:
        _, _, room, *rest = asked.path.rstrip("/").split("/")
        return await (files if room == "files" else batches)(services, asked, rest)

    return Door(serve, (), methods=("GET", "POST", "DELETE"), shape=openai_error, rate="reading")


def serves(path: str) -> bool:
    """Whether a path belongs to it."""
    return any(path == one or path.startswith(f"{one}/") for one in (FILES, BATCHES))


async def batches(services: Services, asked: IncomingRequest, rest: list[str]) -> Reply:
    """Whatever is asked below `/v1/batches`; `rest` is the path behind it."""
    caller = caller_of(asked, services.secrets)
    match asked.method, rest:
        case "POST", []:
            return await create(services, asked)
        case "GET", []:
            limit = asked.args.get("limit", "20")
            most = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 4 else 20
            rows = await services.batches.listed(caller, max(1, min(most, MOST_LISTED)))
            data = [batch_reply(row) for row in rows]
            ids = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
            return json_reply({"object": "list", "data": data, "has_more": False, **ids})
        case "GET", [batch_id]:
            return json_reply(batch_reply(await services.batches.look(caller, batch_id.removeprefix("batch_"))))
        case "POST", [batch_id, "cancel"]:
            return json_reply(batch_reply(await services.batches.cancel(caller, batch_id.removeprefix("batch_"))))
    raise NotFound("there is nothing at this path")


async def create(services: Services, request: IncomingRequest) -> Reply:
    """Create a batch: its lines are checked at once and put into the queue."""
    caller = caller_of(request, services.secrets)
    body = json_object(request.body)
    file_id, endpoint = body.get("input_file_id"), body.get("endpoint")
    if not isinstance(file_id, str) or not file_id:
        raise Invalid("`input_file_id` is missing", field="input_file_id")
    if endpoint not in (CHAT, EMBEDDINGS):
        raise Unprocessable(f"`endpoint` must be {CHAT} or {EMBEDDINGS}", field="endpoint")
    if body.get("completion_window", "24h") != "24h":
        raise Unprocessable("`completion_window` must be 24h", field="completion_window")
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or len(metadata) > MOST_METADATA or not all(map(is_short, metadata.items())):
        raise Unprocessable(f"`metadata` must be up to {MOST_METADATA} short texts", field="metadata")
    file = await services.batches.file(caller, file_id.removeprefix("file-"))
    content = await services.batches.content(file)
    row = await services.batches.create(
        caller,
        endpoint=endpoint,
        file=file,
        metadata=metadata,
        lines=await off_loop(len(content), lambda: parse_lines(services, content, endpoint)),
        attempts=services.gateway.jobs.attempts,
        most_waiting=services.gateway.jobs.most_waiting,
    )
    return json_reply(batch_reply(row))


def is_short(item: tuple[Any, Any]) -> bool:
    """Whether a name and its value of metadata are texts, and not too long."""
    name, value = item
    return isinstance(name, str) and len(name) <= 64 and isinstance(value, str) and len(value) <= 512


def status_of(row: BatchRow) -> str:
    """The status in OpenAI's form."""
    if row.cancelled_at is not None:
        return "cancelling" if row.waiting else "cancelled"
    return "in_progress" if row.waiting else "completed"


def batch_reply(row: BatchRow) -> dict[str, Any]:
    """A batch in OpenAI's form."""
    status = status_of(row)
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
