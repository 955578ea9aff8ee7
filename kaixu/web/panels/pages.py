"""The pages of panels: the tabs of integrations, a panel alone, and the pages that ask about an action and run it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from kaixu.catalog.panels import is_own_tab, slug_of
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin import panels as values
from kaixu.plugin.errors import KaixuError, NotFound, Unprocessable
from kaixu.web.admin.choose_customer import choose_customer
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Notice, Page, Part, Prose
from kaixu.web.failures import failure_notice
from kaixu.web.form_data import shown_again
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .cards import (
    DONE,
    action_name,
    card_of,
    cards_of,
    drawer,
    drawer_text,
    form_name,
    loaded,
    reader_of,
    shown_form,
)
from .found import BASES, ShownPanel, kept_query, panels_of, place_of, tab_of
from .operations import body_text, call_operation, operation_for, upload_to, values_sent
from .values import MARK, AnyForm, WrongPanel

#: What an action of a panel is found again as: the action, or the form.
Found = values.Action | AnyForm

#: What is still read of a file that is refused: a longer one is broken off, and the browser may not show why.
MOST_DISCARDED = 256 * 2**20


def panel_pages(site: Site) -> list[Route]:
    """The routes of both places."""
    pages: tuple[tuple[str, Callable[[Visit], Awaitable[Page | Reply]], bool, bool], ...] = (
        ("/<integration>/<tab>", tab_page, False, False),
        ("/<integration>/panel/<panel>", panel_page, False, False),
        ("/<integration>/action/<panel>", action_page, True, False),
        ("/<integration>/upload/<panel>", upload_page, True, True),
    )
    return [
        route
        for below, build, posts, is_upload in pages
        for routes in (
            site.operator_page(BASES["admin"] + below, build, posts=posts, is_upload=is_upload),
            site.customer_page(BASES["dashboard"] + below, build, posts=posts, is_upload=is_upload),
        )
        for route in routes
    ]


async def tab_page(visit: Visit) -> Page | Reply:
    """The panels of a tab."""
    name, slug = visit.request.parameters["integration"], visit.request.parameters["tab"]
    found = [
        one
        for one in panels_of(visit.services.catalog, place_of(visit))
        if one.state.name == name and is_own_tab(one.panel) and slug_of(one.panel.tab) == slug
    ]
    if not found:
        raise NotFound("there is no such tab", hint="Integrations that are switched on have their tabs at the side.")
    visit.tab = tab_of(found[0].state, found[0].panel)
    parts: list[Part] = []
    if place_of(visit) == "admin" and visit.customer is None and any(one.panel.needs_customer for one in found):
        parts.append(await choose_customer(visit, "Some of this is about one customer.", also_off=True))
    return Page(title=found[0].panel.tab, parts=[*parts, *await cards_of(visit, found)])


def panel_of(visit: Visit) -> ShownPanel:
    """The panel in the address. Raises `NotFound`."""
    parameters = visit.request.parameters
    for one in panels_of(visit.services.catalog, place_of(visit)):
        if (one.state.name, one.name) == (parameters["integration"], parameters["panel"]):
            if is_own_tab(one.panel):
                visit.tab = tab_of(one.state, one.panel)
            return one
    raise NotFound("there is no such panel", hint="Its integration may have been switched off.")


async def panel_page(visit: Visit) -> Page | Reply:
    """One panel alone: what is read again while a page is open."""
    one = panel_of(visit)
    card = await card_of(visit, await reader_of(visit), one)
    return Page(title=one.panel.title, parts=[card, home_link(visit, one)])


def home_link(visit: Visit, one: ShownPanel) -> Link:
    """The way back to where the panel stands."""
    return Link("Back", visit.url(one.home, **kept_query(visit, one)))


async def action_page(visit: Visit) -> Page | Reply:
    """Ask about an action, or run it."""
    one = panel_of(visit)
    return await run(visit, one) if visit.is_post else await ask(visit, one, visit.query.get("a", ""))


async def upload_page(visit: Visit) -> Page | Reply:
    """Pass the file of a form on to its operation; opened again, it leads back to the panel."""
    one = panel_of(visit)
    return await run(visit, one) if visit.file is not None else visit.redirect(one.home, **kept_query(visit, one))


async def find(visit: Visit, one: ShownPanel, name: str) -> Found:
    """The action or form of this name, in the panel as it is now. Raises `NotFound`, `KaixuError`."""
    given, _ = await loaded(visit, await reader_of(visit), one)
    for each in offered(given):
        own = action_name(each) if isinstance(each, values.Action) else form_name(each)
        if own == name:
            return each
    raise NotFound("this is not offered any more", hint="Go back and look at the panel as it is now.")


def offered(given: Sequence[Any]) -> list[Found]:
    """All actions and forms of a panel."""
    found: list[Found] = []
    for part in given:
        if type(part) is values.Table:
            found += [action for row in part.rows if type(row) is values.Row for action in row.actions]
        else:
            found.append(part)
    return [one for one in found if type(one) in (values.Action, values.Form, values.File)]


async def ask(visit: Visit, one: ShownPanel, name: str) -> Page | Reply:
    """What will be done, and the button or the form that does it."""
    if not name:
        return visit.redirect(one.home, **kept_query(visit, one))
    return operation_page(visit, one, await find(visit, one, name))


def operation_page(
    visit: Visit, one: ShownPanel, found: Found, failure: ApiFailure | Unprocessable | None = None
) -> Page | Reply:
    """The page of an action or form; `failure`: of what was sent, which is shown again. Raises `NotFound`."""
    try:
        form, confirm, title = own_form(visit, one, found)
    except WrongPanel as error:
        raise NotFound("this cannot be shown", hint=str(error) if place_of(visit) == "admin" else None) from None
    if form is None:
        raise NotFound("this is not offered to you")
    if failure is not None:
        form = shown_again(form, visit.form, marked(failure, form))
    parts: list[Part] = [*([Prose(paragraphs=[confirm])] if confirm else []), form]
    status = 200 if failure is None else failure.status
    return Page(title=title, parts=[Card(one.panel.title, parts, width=6)], status=status)


def own_form(visit: Visit, one: ShownPanel, found: Found) -> tuple[Form | None, str, str]:
    """The form of an action or of itself, what is asked, and the title of the page. Raises `WrongPanel`."""
    back = home_link(visit, one)
    draw = drawer(visit, one, frozenset())
    if isinstance(found, values.Form | values.File):
        fields: list[Field] = [draw.field(field) for field in found.fields]
        title = drawer_text(found.title or found.submit, "submit")
        return shown_form(visit, one, found, fields, cancel=Link("Back", back.href)), "", title
    assert isinstance(found, values.Action)
    form: AnyForm = found.form or values.Form(found.operation, [], submit=found.label)
    fields = [draw.field(field) for field in form.fields]
    shown = shown_form(
        visit,
        one,
        form,
        fields,
        name=action_name(found),
        body=body_text({**found.body, **form.body}),
        is_danger=found.is_danger,
        cancel=Link("Back", back.href),
    )
    return shown, draw.text(found.confirm, 2000), drawer_text(found.label, "label")


def marked(failure: ApiFailure | Unprocessable, form: Form) -> ApiFailure:
    """The failure with the name that the field at fault has in the form."""
    names = {field.name for field in form.fields}
    field = next((name for name in (f"{MARK}{failure.field}", failure.field) if name in names), "")
    body = {"error": failure.message, "code": failure.code, "hint": failure.hint or "", "field": field}
    return ApiFailure(failure.status, body, {})


async def run(visit: Visit, one: ShownPanel) -> Page | Reply:
    """Run the operation that a form names, as whoever has sent it, and go back to the panel."""
    name = visit.form.get("operation")
    try:
        operation = operation_for(visit, one.state, name)
    except WrongPanel:
        operation = None
    if operation is None:
        raise NotFound("there is no such operation here")
    call = call_operation if visit.file is None else upload_to
    try:
        reply = await call(visit, one.state, operation, values_sent(visit.form))
    except (ApiFailure, Unprocessable) as failure:
        if visit.file is not None:
            await visit.file.discard(MOST_DISCARDED)
        if isinstance(failure, ApiFailure) and failure.status == 401 and failure.code == "UNAUTHORIZED":
            raise
        return await refused(visit, one, failure)
    return answered(visit, one, reply)


async def refused(visit: Visit, one: ShownPanel, failure: ApiFailure | Unprocessable) -> Page | Reply:
    """What was refused: in the form that was sent, or as a notice where it is not there any more."""
    try:
        found = await find(visit, one, visit.form.get("a"))
    except KaixuError:
        found = None
    if found is not None and has_fields(found):
        return operation_page(visit, one, found, failure)
    parts: list[Part] = [failure_notice(failure), home_link(visit, one)]
    return Page(title=one.panel.title, parts=parts, status=failure.status)


def has_fields(found: Found) -> bool:
    """Whether something was filled in."""
    form = found.form if isinstance(found, values.Action) else found
    return form is not None and (bool(form.fields) or type(form) is values.File)


def answered(visit: Visit, one: ShownPanel, reply: Reply) -> Page | Reply:
    """What the operation answered: a file, a page, a text or an address is shown, everything else is done."""
    kind = reply.headers.get("content-type", "")
    if 300 <= reply.status < 400 and (address := reply.headers.get("location")):
        if address.startswith("/"):
            return Reply(303, {"location": address, "cache-control": "no-store"}, b"")
        # The policy of these pages does not let a form lead to another host, so the visitor goes there.
        host = urlsplit(address).hostname or address
        links = [Link(f"Go on to {host}", address), Link("Back", home_link(visit, one).href)]
        return Page(
            title=one.panel.title,
            parts=[Card(f"Go on to {host}", [Prose(paragraphs=["The next step is at another address."], links=links)])],
        )
    if kind.startswith("text/plain") and isinstance(reply.body, bytes):
        notice = Notice("good", reply.body.decode("utf-8", "replace")[:2000] or "Done.")
        return Page(title=one.panel.title, parts=[notice, home_link(visit, one)])
    if not reply.body or "json" in kind:
        return visit.redirect(one.home, **kept_query(visit, one), done=f"{DONE}{one.name}")
    return reply
