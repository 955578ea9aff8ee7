"""Panels as cards of a page: each is loaded through the gate, and one that fails leaves its card with a sentence."""

from __future__ import annotations

import logging
from asyncio import gather
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from kaixu.accounts.operator_identity import Identity
from kaixu.metering.without_secrets import without
from kaixu.plugin import panels as values
from kaixu.plugin.access import Caller
from kaixu.plugin.errors import KaixuError
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import Button, Card, Field, FieldKind, Form, Link, Notice, Option, Part
from kaixu.web.formats import plain_text, sentence
from kaixu.web.months import month_field
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

from .found import ShownPanel, filters_of, kept_query, month_of, panels_in, parameter_of, place_of
from .operations import FILE, body_text, operation_for, takes_file
from .values import AnyForm, Drawer, WrongPanel, bytes_of, count, plain

log = logging.getLogger(__name__)

#: In the address: the panel in which something was just done.
DONE = "panel."


class Reader:
    """Who reads the panels of a page, and for which customer."""

    def __init__(self, customer_id: int | None, caller: Caller) -> None:
        self.customer_id = customer_id
        self.caller = caller


async def reader_of(visit: Visit) -> Reader:
    """An operator with the selected customer, or the customer whose key has signed in. Raises `ApiFailure`."""
    if place_of(visit) == "admin":
        identity = visit.operator
        assert isinstance(identity, Identity)
        return Reader(visit.customer_id, Caller("operator", identity.role, email=identity.email))
    own = await visit.api.get("push-whoami")
    return Reader(own["customer_id"], Caller("session", own["role"], own["key_last4"], own["customer_email"]))


async def core_tab_cards(visit: Visit, tab: str, *, needs_customer: bool | None = None) -> list[Part]:
    """The panels in a tab of the gateway's; nothing is asked where there are none."""
    found = panels_in(visit.services.catalog, place_of(visit), tab, needs_customer=needs_customer)
    return await cards_of(visit, found) if found else []


async def cards_of(visit: Visit, found: Sequence[ShownPanel]) -> list[Part]:
    """The cards of panels, which are loaded at the same time."""
    reader = await reader_of(visit)
    return list(await gather(*(card_of(visit, reader, one) for one in found)))


async def card_of(visit: Visit, reader: Reader, one: ShownPanel, *, before: Sequence[Part] = ()) -> Card:
    """The card of a panel."""
    panel = one.panel
    kept = kept_query(visit, one)
    parts: list[Part] = [*before]
    if visit.query.get("done") == f"{DONE}{one.name}":
        parts.append(Notice("good", "Done."))
    if panel.filters:
        parts.append(filter_form(visit, one))
    is_waiting = panel.needs_customer and reader.customer_id is None
    if is_waiting:
        way: Button | Link = Link("Choose a customer", TABS["customers"].path)
        parts.append(Notice("info", "This is about one customer.", actions=[way]))
    else:
        parts += await parts_of(visit, reader, one)
    return Card(
        panel.title,
        parts,
        subtitle="" if one.home not in CORE_PATHS else one.state.name,
        id=one.id,
        refresh="" if panel.refresh_s is None or is_waiting else visit.url(one.own_path, **kept),
        refresh_s=30 if panel.refresh_s is None else max(5, round(panel.refresh_s)),
    )


#: Pages of the gateway's on which panels of integrations stand: there a card says whose it is.
CORE_PATHS = ("/gateway/customer", TABS["customers"].path, TABS["billing"].path, "/gateway/dashboard.html")


async def loaded(visit: Visit, reader: Reader, one: ShownPanel) -> tuple[Sequence[Any], frozenset[str]]:
    """What a panel returns, and the secrets that were sent for it. Raises `KaixuError`."""
    return await visit.services.panel_loads.load(
        visit.services.gate,
        one.state,
        one.panel,
        customer_id=reader.customer_id,
        caller=reader.caller,
        month=month_of(visit),
        filters=filters_of(visit, one),
        request_id=visit.request.request_id,
    )


async def parts_of(visit: Visit, reader: Reader, one: ShownPanel) -> list[Part]:
    """The parts of a panel, or a notice why there are none."""
    try:
        given, secrets = await loaded(visit, reader, one)
    except KaixuError as error:
        hint = " ".join(filter(None, [plain_text(error.hint), f"(Error {error.code}, {visit.request.request_id})"]))
        return [Notice("warn", f"This could not be loaded. {sentence(error.message)}", hint)]
    try:
        return drawer(visit, one, secrets).parts_of(given)
    except Exception as error:  # noqa: BLE001 - what a plugin returned can be anything, and concerns this panel only
        detail = without(str(error), secrets)
        log.error("panel %s: %s cannot be shown: %s", one.state.name, one.panel.title, detail)
        is_told = isinstance(error, WrongPanel) and place_of(visit) == "admin"
        return [Notice("warn", "This cannot be shown.", detail[:500] if is_told else "Tell your operator.")]


def drawer(visit: Visit, one: ShownPanel, secrets: frozenset[str]) -> Drawer:
    """Draws the parts of a panel for this visitor."""

    def page_of(id: str) -> int:
        text = visit.query.get(f"{id}.page", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1

    def page_href(id: str, page: QueryValue) -> str:
        return here(visit, one, **{f"{id}.page": page})

    return Drawer(
        one.id,
        show_action=lambda action: shown_action(visit, one, action),
        show_form=lambda form, fields: shown_form(visit, one, form, fields),
        page_of=page_of,
        page_href=page_href,
        secrets=secrets,
    )


def here(visit: Visit, one: ShownPanel, **query: QueryValue) -> str:
    """The address of the page with some fields changed. What is read again alone belongs to the page it stands on."""
    if visit.path in (one.own_path, one.action_path):
        return visit.url(one.home, **(kept_query(visit, one) | query))
    return visit.changed(**query)


def filter_form(visit: Visit, one: ShownPanel) -> Form:
    """The filters of a panel; what the address says besides stays."""
    chosen = filters_of(visit, one)
    fields: list[Field] = []
    for each in one.panel.filters:
        name, value = parameter_of(one, each.name), chosen[each.name]
        if each.type == "month":
            fields.append(month_field(value))
        elif each.type == "select":
            options = [Option(str.__str__(choice.value), str.__str__(choice.text)) for choice in each.choices]
            if "" not in {option.value for option in options} and not each.default:
                options.insert(0, Option("", "all"))
            fields.append(Field(name=name, label=each.label, type="select", value=value, options=options))
        else:
            kind: FieldKind = "number" if each.type == "number" else "search"
            fields.append(Field(name=name, label=each.label, type=kind, value=value, maxlength=200))
    own = {field.name for field in fields}
    hidden = {name: value for name, value in visit.query.items() if name not in own and name != "done"}
    return Form(
        action=one.home if visit.path in (one.own_path, one.action_path) else visit.path,
        method="get",
        inline=True,
        submit="Show",
        fields=fields,
        hidden={name: value for name, value in hidden.items() if not name.startswith(f"{one.id}-")},
        target=one.id,
        id=f"{one.id}-filters",
    )


def fingerprint(*what: object) -> str:
    """A short name of an action or a form, to find it again when the panel has been loaded anew."""
    return sha256(repr(what).encode("utf-8", "replace")).hexdigest()[:16]


def action_name(action: values.Action) -> str:
    """The name of an action."""
    return fingerprint("action", str(action.label), str(action.operation), sorted(dict(action.body).items(), key=repr))


def form_name(form: AnyForm) -> str:
    """The name of a form."""
    return fingerprint("form", str(form.operation), str(form.submit), sorted(dict(form.body).items(), key=repr))


def shown_action(visit: Visit, one: ShownPanel, action: values.Action) -> Button | Link | None:
    """A button that runs an action, or a link to the page that asks first. Raises `WrongPanel`."""
    text = drawer_text(action.label, "label")
    operation = operation_for(visit, one.state, action.operation)
    if operation is None:
        return None
    body = body_text(action.body)
    form = action.form
    if form is None and takes_file(operation):
        raise WrongPanel(f"operation `{operation.name}` takes a file: an action needs a form of the type File for it")
    if form is not None and (type(form) not in (values.Form, values.File) or form.operation != action.operation):
        raise WrongPanel("the form of an action is of the type Form or File, and of the same operation")
    if action.confirm or form is not None:
        return Link(text, visit.url(one.action_path, **kept_query(visit, one), a=action_name(action)))
    hidden = {"operation": str.__str__(action.operation), "a": action_name(action), "body": body}
    return Button(
        text,
        visit.url(one.action_path, **kept_query(visit, one)),
        hidden=hidden,
        style="danger" if action.is_danger else "plain",
    )


def shown_form(
    visit: Visit,
    one: ShownPanel,
    form: AnyForm,
    fields: Sequence[Field],
    *,
    name: str = "",
    body: str = "",
    is_danger: bool = False,
    cancel: Link | None = None,
) -> Form | None:
    """A form that runs an operation; None for whoever may not call it. `name`: of the action that it belongs to."""
    operation = operation_for(visit, one.state, form.operation)
    if operation is None:
        return None
    is_upload = type(form) is values.File
    if takes_file(operation) != is_upload or operation.upload != is_upload:
        raise WrongPanel(f"operation `{form.operation}` takes {'a file: use File' if operation.upload else 'no file'}")
    kinds = {marked.name: given.type for marked, given in zip(fields, form.fields, strict=True)}
    hidden = {
        "operation": str.__str__(form.operation),
        "a": name or form_name(form),
        "body": body or body_text(form.body),
        "boxes": " ".join(field for field, kind in kinds.items() if kind == "checkbox"),
        "lists": " ".join(field for field, kind in kinds.items() if kind == "list"),
    }
    most_bytes = None
    if isinstance(form, values.File):
        most_bytes = None if form.most_bytes is None else count(form.most_bytes)
        hidden["file_name"] = plain(form.file_name)
        fields = [*fields, file_field(form, most_bytes)]  # the last one: see `kaixu/web/file_form.py`
    return Form(
        action=visit.url(one.upload_path if is_upload else one.action_path, **kept_query(visit, one)),
        fields=fields,
        upload=is_upload,
        shows_progress=is_upload,
        most_bytes=most_bytes,
        submit=drawer_text(form.submit, "submit"),
        hidden=hidden,
        hint=drawer_text(form.hint, "hint") if form.hint else "",
        style="danger" if is_danger else "primary",
        cancel=cancel,
        id=f"{one.id}-form-{hidden['a']}",
    )


def file_field(form: values.File, most_bytes: int | None) -> Field:
    """The field with the file. Raises `WrongPanel`."""
    hint = ""
    if most_bytes is not None:
        size, unit, digits = bytes_of(most_bytes)
        hint = f"Up to {size:.{digits}f} {unit}."
    label = drawer_text(form.label, "label")
    return Field(name=FILE, label=label, type="file", required=True, wide=True, accept=plain(form.accept), hint=hint)


def drawer_text(value: Any, what: str) -> str:
    """A text that must not be empty. Raises `WrongPanel`."""
    if not isinstance(value, str) or not value.strip():
        raise WrongPanel(f"`{what}` must be a text")
    text = str.__str__(value)
    return text if len(text) <= 300 else f"{text[:299]}…"
