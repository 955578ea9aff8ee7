"""`/v1/files`: what batches are made of, and what comes of them. OpenAI's shapes."""

from __future__ import annotations

import io
from typing import Any

from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from kaixu.http.authenticate import caller_of
from kaixu.http.core import Core
from kaixu.http.incoming import Incoming
from kaixu.http.reply import Reply, json_reply
from kaixu.jobs.batches import FileRow
from kaixu.plugin.errors import Invalid, MethodNotAllowed, NotFound, Unprocessable

from .batch_lines import error_lines, output_lines

JSONL = "application/jsonl; charset=utf-8"
OUTPUT, ERRORS = "file-output-", "file-errors-"


async def files(core: Core, asked: Incoming, rest: list[str]) -> Reply:
    """Whatever is asked below `/v1/files`; `rest` is the path behind it."""
    caller = caller_of(asked, core.secrets)
    if not rest:
        if asked.method != "POST":
            raise MethodNotAllowed(f"{asked.method} is not for this path")
        purpose, filename, content = uploaded(asked)
        return json_reply(file_reply(await core.batches.keep(caller, purpose, filename, content)))
    name, *what = rest
    if name.startswith((OUTPUT, ERRORS)):
        return await made_file(core, asked, name, what)
    file_id = name.removeprefix("file-")
    if asked.method == "DELETE" and not what:
        await core.batches.forget(caller, file_id)
        return json_reply({"id": name, "object": "file", "deleted": True})
    if asked.method != "GET" or what not in ([], ["content"]):
        raise NotFound("there is nothing at this path")
    row = await core.batches.file(caller, file_id)
    if not what:
        return json_reply(file_reply(row))
    return Reply(200, {"content-type": JSONL}, core.batches.content(row))


async def made_file(core: Core, asked: Incoming, name: str, what: list[str]) -> Reply:
    """What came of a batch: put together when it is asked for, out of its lines."""
    if asked.method != "GET" or what not in ([], ["content"]):
        raise NotFound("there is nothing at this path")
    caller = caller_of(asked, core.secrets)
    well = name.startswith(OUTPUT)
    batch = await core.batches.look(caller, name.removeprefix(OUTPUT).removeprefix(ERRORS))
    made = output_lines(core, batch) if well else error_lines(core, batch)
    content = b"".join([line async for line in made])
    if what:
        return Reply(200, {"content-type": JSONL}, content)
    return json_reply(
        {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": int((batch.ended_at or batch.created_at).timestamp()),
            "filename": f"{name}.jsonl",
            "purpose": "batch_output",
            "status": "processed",
        }
    )


def uploaded(asked: Incoming) -> tuple[str, str, bytes]:
    """Purpose, name and content out of a form. Raises `Invalid`, `Unprocessable`."""
    kind, options = parse_options_header(asked.headers.get("content-type"))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or not boundary.isascii():
        raise Invalid("the body must be a form (multipart/form-data)", hint="Send `purpose` and `file`.")
    try:
        parser = MultiPartParser(max_form_memory_size=64 * 1024 * 1024, max_form_parts=20)
        form, sent = parser.parse(io.BytesIO(asked.body), boundary.encode(), len(asked.body))
    except (ValueError, HTTPException):
        raise Invalid("the form cannot be read") from None
    return purpose_in(form), *file_in(sent)


def purpose_in(form: MultiDict[str, str]) -> str:
    """What it is for."""
    purpose = form.get("purpose")
    if purpose != "batch":
        raise Unprocessable("`purpose` must be batch", field="purpose")
    return purpose


def file_in(sent: MultiDict[str, FileStorage]) -> tuple[str, bytes]:
    """The file."""
    file = sent.get("file")
    if file is None:
        raise Invalid("`file` is missing", field="file")
    name = "".join(one for one in (file.filename or "") if one.isprintable())[:200]
    return name or "batch.jsonl", file.read()


def file_reply(row: FileRow) -> dict[str, Any]:
    """A file as OpenAI's clients know it."""
    return {
        "id": f"file-{row.id}",
        "object": "file",
        "bytes": row.size,
        "created_at": int(row.created_at.timestamp()),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
    }
