"""Bulk import and export of a collection's documents."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.config.price import usd
from kaixu.config.spreadsheet import FORMULA_STARTS
from kaixu.edge.response import SSE, Reply
from kaixu.edge.routes import Route
from kaixu.edge.sse import EventStream, frame
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure, json_of
from kaixu.web.components import (
    Card,
    Cell,
    Code,
    Facts,
    Field,
    Form,
    Link,
    Markup,
    Money,
    Notice,
    Number,
    Option,
    Page,
    Part,
    Prose,
    Snippet,
)
from kaixu.web.csv_twin import cell
from kaixu.web.form_data import FormData, shown_again
from kaixu.web.site import Site
from kaixu.web.visits import NO_STORE, Visit

from .collection_paths import COLLECTION, DOCUMENTS, EXPORT, FUNCTION, IMPORT, TAB, where, who_pays
from .document_lines import portions_of
from .embedding_forms import embedding_models, model_options

MOST_FILE = 8 * 1024 * 1024
NANO = 10**9
EXAMPLE = """{"doc_id": "rome", "text": "Rome is the capital of Italy.", "metadata": {"category": "docs"}}
{"doc_id": "fruit", "text": "Bananas are yellow fruit."}
"""


def collection_file_pages(site: Site) -> list[Route]:
    """The routes of import and export."""
    return [
        *site.operator_page(
            IMPORT, import_file, tab=TAB, access=COLLECTIONS, posts=True, max_body_bytes=MOST_FILE + 64 * 1024
        ),
        *site.operator_page(EXPORT, export, tab=TAB),
    ]


class Imported(msgspec.Struct):
    """How far an import is."""

    total: int
    done: int = 0
    stored: int = 0
    replaced: int = 0
    cost_usd: Decimal = Decimal(0)
    name: str = ""


async def import_file(visit: Visit) -> Page | Reply:
    """The form, and the import of what it sent: as a page, or as a stream of its progress for the script."""
    where(visit)
    form = import_form(visit, model_options(await embedding_models(visit)))
    if not visit.is_post:
        return import_page(form, [])
    is_stream = (visit.request.headers.get("accept") or "").startswith("text/event-stream")
    try:
        portions = portions_of_form(visit.form)
    except Unprocessable as error:
        if is_stream:
            return failure_stream(error)
        return import_page(shown_again(form, visit.form, error), [], status=error.status)
    imported = Imported(sum(map(len, portions)), name=visit.form.get("collection"))
    if is_stream:
        return progress_stream(visit, portions, imported)

    async def ignore(_: Imported) -> None:
        """A page shows the end only."""

    try:
        await run_import(visit, portions, imported, ignore)
    except ApiFailure as failure:
        parts: list[Part] = [Notice(state="warn", text=f"{imported.stored:,} vectors are stored; the rest is not.")]
        shown = shown_again(form, visit.form, failure)
        return import_page(shown, parts if imported.done else [], status=failure.status)
    return import_page(form, [imported_card(visit, imported)])


def portions_of_form(form: FormData) -> list[list[bytes]]:
    """The documents that were uploaded or pasted. Raises `Unprocessable`."""
    if not form.get("collection"):
        raise Unprocessable("name a collection", field="collection")
    upload = form.files.get("file")
    if upload is not None and upload.content:
        return portions_of(upload.name, upload.content)
    if pasted := form.raw("lines").strip():
        return portions_of("pasted.jsonl", pasted.encode())
    raise Unprocessable("choose a file, or paste lines", field="file")


async def run_import(
    visit: Visit, portions: list[list[bytes]], imported: Imported, tell: Callable[[Imported], Awaitable[None]]
) -> None:
    """Import portion by portion; each is stored as a whole or not at all. Raises `ApiFailure`."""
    query = {
        "customer_id": visit.customer_id,
        "import": True,
        "name": visit.form.get("collection"),
        "model": visit.form.get("model") or None,
    }
    for portion in portions:
        reply = json_of(await visit.api.reply("POST", FUNCTION, query=query, raw_body=b"\n".join(portion)))
        imported.name = reply["collection"]
        imported.done += len(portion)
        imported.stored += reply["stored"]
        imported.replaced += reply["replaced"]
        imported.cost_usd += Decimal(reply["usage"]["cost_usd"])
        await tell(imported)


def progress_stream(visit: Visit, portions: list[list[bytes]], imported: Imported) -> Reply:
    """The import as server-sent events: `progress`, then `done` or `error`."""

    async def write(out: EventStream) -> None:
        out.started = True

        async def tell(now: Imported) -> None:
            await out.put(frame("progress", {"done": now.done, "total": now.total}))

        await tell(imported)
        try:
            await run_import(visit, portions, imported, tell)
        except ApiFailure as failure:
            body = {"error": failure.message, "code": failure.code, "hint": failure.hint, "stored": imported.stored}
            await out.put(frame("error", body))
            return
        done = {"stored": imported.stored, "replaced": imported.replaced, "cost_usd": cost_text(imported)}
        href = visit.url(COLLECTION, customer_id=visit.customer_id, name=imported.name)
        await out.put(frame("done", {**done, "collection": imported.name, "href": href}))

    async def abandon() -> None:
        """Nothing was begun."""

    return Reply(200, {"content-type": SSE, **NO_STORE}, EventStream(write, abandon))


def failure_stream(error: Unprocessable) -> Reply:
    """What is wrong with the form, for the script."""
    body = {"error": error.message, "code": error.code, "hint": error.hint, "stored": 0}
    return Reply(200, {"content-type": SSE, **NO_STORE}, frame("error", body))


def cost_text(imported: Imported) -> str:
    """What it cost, exact."""
    return usd(int(imported.cost_usd * NANO))


def imported_card(visit: Visit, imported: Imported) -> Card:
    """What an import did."""
    at = {"customer_id": visit.customer_id, "name": imported.name}
    items: list[tuple[str, Cell]] = [
        ("Stored", Number(imported.stored, "vectors")),
        ("Replaced", Number(imported.replaced)),
        ("Cost", Money(cost_text(imported))),
        ("Exactly", Code(f"{cost_text(imported)} USD")),
    ]
    links = [Link("Documents", visit.url(DOCUMENTS, **at)), Link("Collection", visit.url(COLLECTION, **at))]
    return Card(f"Imported into {imported.name}", [Facts(items)], links=links)


def import_form(visit: Visit, options: list[Option]) -> Form:
    """A file or pasted lines, and where they go."""
    return Form(
        id="import",
        action=visit.url(IMPORT, customer_id=visit.customer_id),
        submit="Import",
        upload=True,
        fields=[
            Field(name="collection", label="Collection", required=True, maxlength=120,
                  value=visit.query.get("name", ""), hint="A new name makes a collection."),
            Field(name="model", label="Model", type="select",
                  options=[Option("", "the collection's, or the file's"), *options],
                  hint="Needed for a new collection, unless the first line of the file names one."),
            Field(name="file", label="File", type="file", accept=".jsonl,.ndjson,.csv,.txt",
                  hint="JSON lines or CSV in UTF-8, up to 8 MiB."),
            Field(name="lines", label="Or paste JSON lines", type="textarea", rows=4, maxlength=1_000_000,
                  placeholder=EXAMPLE.strip()),
        ],
    )  # fmt: skip


def import_page(form: Form, results: list[Part], *, status: int = 200) -> Page:
    """The page with the form."""
    about = Prose(
        tip=True,
        paragraphs=[
            "One document is one line of JSON with doc_id, text and, if you like, metadata. In CSV the columns doc_id "
            "and text are needed; metadata may hold JSON, and every other column becomes a field of the metadata.",
            "Lines that have an embedding, as in an export, are stored as they are and cost nothing. Others are "
            "embedded with the model of the collection. Each portion of 500 lines is stored as a whole or not at "
            "all, and importing the same ids again replaces them, so after a failure start the file again.",
        ],
    )
    return Page(
        title="Import documents",
        subtitle=who_pays(),
        parts=[
            *results,
            Card("Documents", [form, Markup("import.html")]),
            Snippet(EXAMPLE, title="Example", language="JSON lines"),
            about,
        ],
        scripts=["import.js"],
        status=status,
    )


async def export(visit: Visit) -> Page | Reply:
    """All documents as a file: JSON lines with vectors, or CSV without."""
    reply = await visit.api.reply("GET", FUNCTION, query=where(visit, export=True))
    if visit.query.get("format") != "csv" or not isinstance(reply.body, EventStream):
        return reply
    headers = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": f'attachment; filename="{safe_name(visit.query.get("name", ""))}.csv"',
        **NO_STORE,
    }
    return Reply(200, headers, csv_stream(reply.body))


def safe_name(name: str) -> str:
    """A file's name from a collection's."""
    return "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "-" for one in name) or "collection"


def csv_stream(lines: EventStream) -> EventStream:
    """An export as CSV, row by row, without vectors; the last line says that it is complete."""

    async def write(out: EventStream) -> None:
        out.started = True
        waiting = b""
        await out.put(csv_row(["doc_id", "chunk", "text", "metadata"]))
        try:
            async for piece in lines:
                *whole, waiting = (waiting + piece).split(b"\n")
                for line in whole:
                    if row := row_of_line(line):
                        await out.put(row)
        finally:
            await lines.aclose()

    return EventStream(write, lines.aclose, ping=lambda: b"")


def row_of_line(line: bytes) -> bytes:
    """One line of an export as a row; nothing for its first line and for empty ones."""
    if not line.strip():
        return b""
    value = json.loads(line)
    if "exported" in value:
        return f"# rows: {value['exported']}\r\n".encode()
    if "doc_id" not in value:
        return b""
    values = [value["doc_id"], value["chunk"], value["text"], value["metadata"]]
    return csv_row([cell(one, FORMULA_STARTS) for one in values])


def csv_row(values: list[str]) -> bytes:
    """One row."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue().encode("utf-8", "replace")
