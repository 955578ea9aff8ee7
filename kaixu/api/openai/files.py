"""`/v1/files`: OpenAI's Files API for the input, output and error files of batches."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import query_fields
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route, no_such_endpoint
from kaixu.edge.services import Services
from kaixu.edge.sse import EventStream
from kaixu.edge.threads import run_in_thread
from kaixu.jobs.batches import FileRow
from kaixu.plugin.errors import Invalid, NotFound, Unprocessable

from .batch_lines import error_lines, output_lines

JSONL = "application/jsonl; charset=utf-8"
MAX_LISTED = 10_000
PURPOSE = "batch"
OUTPUT, ERRORS = "file-output-", "file-errors-"


def file_routes(services: Services) -> list[Route]:
    """The routes of files."""

    async def list_all(request: IncomingRequest) -> Reply:
        return await list_files(services, request)

    async def upload(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        purpose, filename, content = await run_in_thread(len(request.body), lambda: parse_upload(request))
        return json_reply(file_reply(await services.batches.store_file(caller, purpose, filename, content)))

    async def show(request: IncomingRequest) -> Reply:
        if is_batch_output(request):
            return await batch_output(services, request, with_content=False)
        return json_reply(file_reply(await find_upload(services, request)))

    async def content(request: IncomingRequest) -> Reply:
        if is_batch_output(request):
            return await batch_output(services, request, with_content=True)
        row = await find_upload(services, request)
        return Reply(200, {"content-type": JSONL}, await services.batches.content(row))

    async def delete(request: IncomingRequest) -> Reply:
        if is_batch_output(request):
            raise no_such_endpoint(request)
        caller, name = read_caller(request, services.secrets), request.parameters["file_id"]
        await services.batches.delete_file(caller, name.removeprefix("file-"))
        return json_reply({"id": name, "object": "file", "deleted": True})

    route = partial(Route, auth="key", rate="reading", error_shape=openai_error)
    return [
        route("GET", ("/v1/files",), list_all),
        route("POST", ("/v1/files",), upload),
        route("GET", ("/v1/files/<file_id>",), show),
        route("DELETE", ("/v1/files/<file_id>",), delete),
        route("GET", ("/v1/files/<file_id>/content",), content),
    ]


def is_batch_output(request: IncomingRequest) -> bool:
    """Whether the file in a request's path is the output of a batch."""
    return request.parameters["file_id"].startswith((OUTPUT, ERRORS))


async def find_upload(services: Services, request: IncomingRequest) -> FileRow:
    """The uploaded file in a request's path. Raises `NotFound`."""
    file_id = request.parameters["file_id"].removeprefix("file-")
    return await services.batches.find_file(read_caller(request, services.secrets), file_id)


async def list_files(services: Services, request: IncomingRequest) -> Reply:
    """A page of the uploaded files; output and error files are listed only by their batches."""
    fields = query_fields(request.args, {"limit"})
    limit = fields.integer("limit", 1, MAX_LISTED) or MAX_LISTED
    order = fields.one_of("order", ("asc", "desc")) or "desc"
    after = fields.text("after", most=100)
    purpose = fields.text("purpose", most=100)
    rows = await services.batches.list_files(
        read_caller(request, services.secrets),
        after=None if after is None else after.removeprefix("file-"),
        newest_first=order == "desc",
        limit=limit + 1,
    )
    if purpose not in (None, PURPOSE):
        rows = []  # there are no files for other purposes
    data = [file_reply(row) for row in rows[:limit]]
    ids = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return json_reply({"object": "list", "data": data, "has_more": len(rows) > limit, **ids})


async def batch_output(services: Services, request: IncomingRequest, *, with_content: bool) -> Reply:
    """A batch's output or error file: written for each request from the batch's lines."""
    name = request.parameters["file_id"]
    caller = read_caller(request, services.secrets)
    succeeded = name.startswith(OUTPUT)
    batch = await services.batches.find(caller, name.removeprefix(OUTPUT).removeprefix(ERRORS))
    if batch.waiting or not (batch.succeeded if succeeded else batch.failed):
        raise NotFound(
            f"there is no file `{name[:80]}`", hint="Output files exist after the end of a batch.", field="id"
        )
    lines = output_lines if succeeded else error_lines
    if with_content:
        return Reply(200, {"content-type": JSONL}, stream_pieces(lines(services, batch)))
    return json_reply(
        {
            "id": name,
            "object": "file",
            "bytes": await services.batches.file_size(
                batch, succeeded=succeeded, pieces=lambda: lines(services, batch)
            ),
            "created_at": int((batch.ended_at or batch.created_at).timestamp()),
            "filename": f"{name}.jsonl",
            "purpose": "batch_output",
            "status": "processed",
        }
    )


def stream_pieces(pieces: AsyncGenerator[bytes, None]) -> EventStream:
    """A reply body that is written while it is read."""

    async def write(out: EventStream) -> None:
        out.started = True
        async with aclosing(pieces):
            async for piece in pieces:
                await out.put(piece)

    async def abandon() -> None:
        await pieces.aclose()

    return EventStream(write, abandon, ping=lambda: b"")


def parse_upload(request: IncomingRequest) -> tuple[str, str, bytes]:
    """Purpose, name and content of an uploaded file. Raises `Invalid`, `Unprocessable`."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or not boundary.isascii():
        raise Invalid("the body must be a form (multipart/form-data)", hint="Send `purpose` and `file`.")
    try:
        # The body is in memory already, so its parts need no temporary files.
        parser = MultiPartParser(
            stream_factory=lambda *_, **__: io.BytesIO(), max_form_memory_size=64 * 1024 * 1024, max_form_parts=20
        )
        form, files = parser.parse(io.BytesIO(request.body), boundary.encode(), len(request.body))
    except (ValueError, HTTPException):
        raise Invalid("the form cannot be read") from None
    return read_purpose(form), *read_file(files)


def read_purpose(form: MultiDict[str, str]) -> str:
    """The field `purpose`."""
    purpose = form.get("purpose")
    if purpose != PURPOSE:
        raise Unprocessable("`purpose` must be batch", field="purpose")
    return purpose


def read_file(files: MultiDict[str, FileStorage]) -> tuple[str, bytes]:
    """The name and the content of the field `file`."""
    file = files.get("file")
    if file is None:
        raise Invalid("`file` is missing", field="file")
    name = "".join(one for one in (file.filename or "") if one.isprintable())[:200]
    return name or "batch.jsonl", file.read()


def file_reply(row: FileRow) -> dict[str, Any]:
    """A file in OpenAI's format."""
    return {
        "id": f"file-{row.id}",
        "object": "file",
        "bytes": row.size,
        "created_at": int(row.created_at.timestamp()),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
    }
