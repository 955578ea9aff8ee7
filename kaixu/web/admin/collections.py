"""One collection: its statistics, and the pages that create, re-embed and purge collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Button,
    Card,
    Cell,
    Facts,
    Field,
    Form,
    Link,
    Notice,
    Number,
    Option,
    Page,
    Part,
    Progress,
    Prose,
    State,
    Time,
)
from kaixu.web.form_data import shown_again
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .collection_paths import (
    COLLECTION,
    CREATE,
    DOCUMENTS,
    EXPORT,
    FUNCTION,
    IMPORT,
    PURGE,
    REEMBED,
    TAB,
    query_of,
    where,
)
from .embedding_forms import embedding_models, model_options

STATES: dict[str, State] = {"running": "info", "done": "good", "failed": "bad", "cancelled": "off"}
#: The languages that words can be searched in; the API knows more.
LANGUAGES = ("english", "simple", "german", "french", "spanish", "italian", "portuguese", "dutch")


def collection_pages(site: Site) -> list[Route]:
    """The routes of one collection."""
    return [
        *site.operator_page(COLLECTION, show, tab=TAB),
        *site.operator_page(CREATE, create, tab=TAB, access=COLLECTIONS, posts=True),
        *site.operator_page(REEMBED, reembed, tab=TAB, access=COLLECTIONS, posts=True),
        *site.operator_page(PURGE, purge, tab=TAB, access=COLLECTIONS, posts=True),
    ]


async def show(visit: Visit) -> Page | Reply:
    """Statistics; opens beside the list."""
    at = where(visit)
    one = (await visit.api.get(FUNCTION, **at))["collection"]
    items: list[tuple[str, Cell]] = [
        ("Vectors", Number(one["vectors"])),
        ("Documents", Number(one["documents"])),
        ("Text", size_text(one["text_bytes"])),
        ("Model", f"{one['provider']}/{one['model']}"),
        ("Dimensions", Number(one["dimensions"])),
        ("Language of word search", one["language"]),
        ("Search", "exact: every vector is compared" if one["search"] == "exact" else "by index"),
        ("Created", Time(one["created_at"])),
        ("Last updated", Time(one["updated_at"])),
    ]
    parts: list[Part] = [Facts(items)]
    if (progress := one.get("reembedding")) is not None:
        parts.append(reembedding_card(visit, one["name"], progress))
    return Page(title=one["name"], subtitle="Collection", parts=parts, actions=collection_actions(visit, one["name"]))


def collection_actions(visit: Visit, name: str) -> list[Link | Button | Form]:
    """What can be done with a collection."""
    at = where(visit, name=name)
    links: list[Link | Button | Form] = [
        Link("Documents", visit.url(DOCUMENTS, **at), icon="list"),
        Link("Export", visit.url(EXPORT, **at), icon="download", download=True),
        Link("Export as CSV", visit.url(EXPORT, **at, format="csv"), icon="table", download=True),
    ]
    if visit.may(COLLECTIONS):
        links += [
            Link("Import", visit.url(IMPORT, **at), icon="upload"),
            Link("Re-embed", visit.url(REEMBED, **at), icon="refresh-cw"),
            Link("Purge", visit.url(PURGE, **at), icon="trash-2"),
        ]
    return links


def reembedding_card(visit: Visit, name: str, progress: Mapping[str, Any]) -> Card:
    """How far a change of the model is."""
    is_running = progress["state"] == "running"
    bar = Progress(
        f"Into {progress['provider']}/{progress['model']}: {progress['state']}",
        progress["done"],
        progress["total"],
        text=f"{progress['done']:,} of {progress['total']:,}",
        state=STATES.get(progress["state"], "info"),
        refresh=visit.url(COLLECTION, **where(visit, name=name)) if is_running else "",
        id="reembedding",
    )
    parts: list[Part] = [bar]
    if progress.get("error"):
        parts.append(Notice(state="bad", text=str(progress["error"]), hint=f"Error {progress['code']}."))
    if is_running and visit.may(COLLECTIONS):
        hidden = query_of(where(visit, name=name, cancel="true"))
        parts.append(Button("Cancel", visit.url(REEMBED, **where(visit, name=name)), hidden=hidden))
    return Card("Re-embedding", parts)


def size_text(size: int) -> str:
    """Bytes to read."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


async def create(visit: Visit) -> Page | Reply:
    """An empty collection."""
    where(visit)
    models = await embedding_models(visit)
    form = Form(
        action=visit.url(CREATE, customer_id=visit.customer_id),
        submit="Create",
        fields=[
            Field(name="name", label="Name", required=True, maxlength=120, placeholder="support-docs",
                  hint="Letters, digits, dot, dash and underscore."),
            *model_fields(models),
            Field(name="language", label="Language", type="select", value="english",
                  options=[Option(one, one) for one in LANGUAGES], hint="For searches by words as well as by meaning."),
        ],
    )  # fmt: skip
    if not visit.is_post:
        return create_page(form)
    try:
        body = {"customer_id": visit.customer_id} | {
            name: visit.form.get(name) for name in ("name", "model", "language")
        }
        await visit.api.send("POST", FUNCTION, body | dimensions_of(visit))
    except (ApiFailure, Unprocessable) as error:
        return create_page(shown_again(form, visit.form, error), status=error.status)
    return visit.redirect(TAB.path, customer_id=visit.customer_id, done="created")


def create_page(form: Form, *, status: int = 200) -> Page:
    """The page with the form."""
    about = Prose(
        tip=True,
        paragraphs=[
            "You need not create a collection first: the first text that is stored under a new name makes one. "
            "Create it here to fix its model, its length and its language before clients write to it."
        ],
    )
    return Page(title="New collection", parts=[Card("Collection", [form]), about], status=status)


def model_fields(models: Sequence[Mapping[str, Any]]) -> list[Field]:
    """A model and a length."""
    return [
        Field(name="model", label="Model", type="select", options=model_options(models), required=True),
        Field(name="dimensions", label="Dimensions", type="number", min="1", step="1",
              hint="Empty: the model's own length."),
    ]  # fmt: skip


def dimensions_of(visit: Visit) -> dict[str, int]:
    """The length of the vectors, where one was given."""
    dimensions = visit.form.number("dimensions")
    return {} if dimensions is None else {"dimensions": dimensions}


async def reembed(visit: Visit) -> Page | Reply:
    """Start or cancel a change of the model; says first what it costs."""
    at = where(visit)
    back = visit.url(COLLECTION, **at)
    if visit.is_post and visit.form.has("cancel"):
        await visit.api.reply("DELETE", FUNCTION, query={**at, "reembed": True})
        return visit.redirect(COLLECTION, **at)
    one = (await visit.api.get(FUNCTION, **at))["collection"]
    form = Form(
        action=visit.url(REEMBED, **at),
        submit=f"Re-embed {one['vectors']:,} vectors",
        fields=model_fields(await embedding_models(visit)),
        cancel=Link("Back", back),
    )
    status = 200
    if visit.is_post:
        try:
            options = {"model": visit.form.get("model")} | dimensions_of(visit)
            await visit.api.send("POST", FUNCTION, {**at, "reembed": options})
            return visit.redirect(COLLECTION, **at)
        except (ApiFailure, Unprocessable) as error:
            form, status = shown_again(form, visit.form, error), error.status
    text = (
        f"All texts of {one['name']} ({size_text(one['text_bytes'])}) are embedded anew in the background, and the "
        "customer pays for it. Searches use the old vectors until it is done; meanwhile nothing can be stored."
    )
    return Page(
        title=f"Re-embed {one['name']}", parts=[Notice(state="warn", text=text), Card("Into", [form])], status=status
    )


async def purge(visit: Visit) -> Page | Reply:
    """Says what will be gone, and removes the collection."""
    at = where(visit)
    if visit.is_post:
        await visit.api.reply("DELETE", FUNCTION, query=at)
        return visit.redirect(TAB.path, customer_id=visit.customer_id, done="purged")
    one = (await visit.api.get(FUNCTION, **at))["collection"]
    text = f"{one['vectors']:,} vectors of {one['documents']:,} documents will be deleted. This cannot be undone."
    parts: list[Part] = [
        Notice(
            state="warn",
            text=text,
            hint="Searches and chats that use the collection fail from then on. Export it first if you may need it.",
            actions=[Link("Export", visit.url(EXPORT, **at), download=True)],
        ),
        Form(
            action=visit.url(PURGE, **at),
            fields=[],
            submit=f"Purge {one['name']}",
            style="danger",
            cancel=Link("Keep it", visit.url(COLLECTION, **at)),
        ),
    ]
    return Page(title=f"Purge {one['name']}?", parts=parts)
