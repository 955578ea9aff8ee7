"""The parts that a panel returned, as the pages' own components: checked, cut to a size, and as plain text.

Nothing that a plugin returns reaches a template: each text is copied as plain text (a text of another class could say
by itself that it is HTML), and each address is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from kaixu.config.price import usd
from kaixu.metering.without_secrets import without
from kaixu.plugin import panels as values
from kaixu.web import components as parts
from kaixu.web.api_calls import QueryValue

MOST_TEXT = 500
MOST_WORDS = 2000  # of a notice or a hint
MOST_PARTS = 30
MOST_COLUMNS = 20
MOST_ROWS = 2000
ROWS_OF_A_PAGE = 50
MOST_ACTIONS = 5
MOST_LABELS = 400
MOST_SERIES = 12
MOST_FIELDS = 40
MOST_CHOICES = 500
MOST_URL = 2000
#: The characters of an address (RFC 3986 §2).
ADDRESS = re.compile(r"https://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
MOST_NUMBER = 10**18

STATES: tuple[parts.State, ...] = get_args(parts.State)
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class WrongPanel(Exception):
    """A panel returned what cannot be shown; the message is for the plugin's author."""


#: What stands for an action, or None for whoever may not do it.
ShowAction = Callable[[values.Action], parts.Button | parts.Link | None]

AnyForm = values.Form | values.File

#: The form of an operation; None for whoever may not call it. The fields are those of the page.
ShowForm = Callable[[AnyForm, Sequence[parts.Field]], parts.Form | None]


class Drawer:
    """Turns the parts of one panel into components.

    `id` begins the ids of its parts. `page_of`: which page of the table with this id is shown; `page_href`: the address
    of another one. `secrets`: texts that nobody may see.
    """

    def __init__(
        self,
        id: str,
        *,
        show_action: ShowAction,
        show_form: ShowForm,
        page_of: Callable[[str], int],
        page_href: Callable[[str, QueryValue], str],
        secrets: Collection[str] = (),
    ) -> None:
        self.id = id
        self.show_action = show_action
        self.show_form = show_form
        self.page_of = page_of
        self.page_href = page_href
        self.secrets = secrets

    def parts_of(self, given: Sequence[Any]) -> list[parts.Part]:
        """The components. Raises `WrongPanel`."""
        shown: list[parts.Part] = []
        figures: list[parts.Stat] = []
        for at, one in enumerate(given[:MOST_PARTS]):
            if type(one) is values.Stat:
                figures.append(self.stat(one))
                continue
            if figures:
                shown.append(parts.Stats(figures))
                figures = []
            shown += self.part(one, f"{self.id}-{at}")
        if figures:
            shown.append(parts.Stats(figures))
        if len(given) > MOST_PARTS:
            shown.append(parts.Notice("info", f"{len(given) - MOST_PARTS} further parts are left out."))
        return shown

    def part(self, one: Any, id: str) -> Iterator[parts.Part]:
        """The components of a part; none for what is not offered. Raises `WrongPanel`."""
        match type(one):
            case values.Table:
                yield self.table(one, id)
            case values.Chart:
                yield self.chart(one, id)
            case values.Form | values.File:
                if (form := self.form(one)) is not None:
                    yield form
            case values.Action:
                if (action := self.show_action(one)) is not None:
                    yield action
            case values.Progress:
                yield parts.Progress(
                    self.text(one.label),
                    count(one.done),
                    None if one.total is None else count(one.total),
                    text=self.text(one.text),
                    state=state(one.state),
                    id=id,
                )
            case values.Notice:
                yield parts.Notice(state(one.state), self.text(one.text, MOST_WORDS), self.text(one.hint, MOST_WORDS))
            case other:
                raise WrongPanel(f"a panel consists of parts of kaixu.plugin.panels, not of {other.__name__}")

    def table(self, one: values.Table, id: str) -> parts.Table:
        """A page of a table."""
        columns = [self.column(column) for column in listed("columns", one.columns, MOST_COLUMNS, cut=False)]
        every = listed("rows", one.rows, MOST_ROWS)
        first = (max(1, self.page_of(id)) - 1) * ROWS_OF_A_PAGE
        if first >= len(every):
            first = 0
        rows = [self.row(row, len(columns), id) for row in every[first : first + ROWS_OF_A_PAGE]]
        is_last = first + ROWS_OF_A_PAGE >= len(every)
        page = first // ROWS_OF_A_PAGE + 1
        left_out = len(one.rows) - len(every)
        notes = [self.text(one.note, MOST_WORDS), f"{left_out} further rows are left out." if left_out else ""]
        return parts.Table(
            id=id,
            caption=self.text(one.title),
            columns=columns,
            rows=rows,
            next_href="" if is_last else self.page_href(id, page + 1),
            first_href="" if page == 1 else self.page_href(id, None),
            empty=parts.Empty(text=self.text(one.empty) or "Nothing here."),
            note=" ".join(filter(None, notes)),
        )

    def column(self, one: Any) -> parts.Column:
        """A column."""
        if type(one) is not values.Column:
            return parts.Column(title=self.text(one))
        return parts.Column(
            title=self.text(one.title),
            align="right" if one.align == "right" else "left",
            phone=bool(one.on_phones),
        )

    def row(self, one: Any, columns: int, id: str) -> parts.Row:
        """A row."""
        cells, actions = (one.cells, one.actions) if type(one) is values.Row else (one, ())
        shown = [self.cell(cell) for cell in listed("a row", cells, MOST_COLUMNS, cut=False)]
        if len(shown) != columns:
            raise WrongPanel(f"a table with {columns} columns has a row with {len(shown)} cells")
        offered = (self.action(action) for action in listed("actions", actions, MOST_ACTIONS, cut=False))
        return parts.Row(cells=shown, actions=[action for action in offered if action is not None])

    def action(self, one: Any) -> parts.Button | parts.Link | None:
        """What stands for an action."""
        if type(one) is not values.Action:
            raise WrongPanel(f"`actions` are of the type Action, not {type(one).__name__}")
        return self.show_action(one)

    def cell(self, one: Any) -> parts.Cell:
        """A cell."""
        match one:
            case None:
                return None
            case bool():
                return "yes" if one else "no"
            case int():
                return parts.Number(number(one))
            case float():
                return parts.Number(number(one), digits=0 if one == int(one) else 2)
            case str():
                return self.text(one)
        match type(one):
            case values.Link:
                text = self.text(one.text) or "–"
                href = https_url(one.url)
                if href is None or without(href, self.secrets) != href:
                    return text
                return parts.Link(text, href, external=True)
            case values.Money:
                return parts.Money(usd(count(one.nusd, signed=True)))
            case values.Bytes:
                return parts.Number(*bytes_of(count(one.count)))
            case values.Time:
                return parts.Time(None if one.at is None else moment(one.at))
            case values.Badge:
                return parts.Badge(state(one.state), self.text(one.text))
            case values.Code:
                return parts.Code(self.text(one.text), copy=True)
            case other:
                raise WrongPanel(f"a cell cannot be of the type {other.__name__}")

    def stat(self, one: values.Stat) -> parts.Stat:
        """A figure."""
        return parts.Stat(
            self.text(one.label),
            self.cell(one.value),
            note=self.text(one.note),
            state=None if one.state is None else state(one.state),
        )

    def chart(self, one: values.Chart, id: str) -> parts.Chart:
        """A chart."""
        labels = [self.text(label, 40) for label in listed("labels", one.labels, MOST_LABELS)]
        series = listed("series", one.series, MOST_SERIES, cut=False)
        shown = []
        for line in series:
            if type(line) is not values.Series or len(line.values) != len(one.labels):
                raise WrongPanel("a series of a chart is of the type Series, with a value for each label")
            numbers = [None if value is None else float(number(value)) for value in line.values[: len(labels)]]
            shown.append(parts.Series(name=self.text(line.name, 80), values=numbers))
        if one.form not in ("bars", "lines") or one.unit not in ("usd", "count", "ms", "tokens", "percent"):
            raise WrongPanel(f"a chart has bars or lines and a known unit, not {one.form!r:.40}, {one.unit!r:.40}")
        return parts.Chart(
            id=id,
            title=self.text(one.title),
            labels=labels,
            series=shown,
            form=one.form,
            unit=one.unit,
            note=self.text(one.note, MOST_WORDS),
            zone="",
        )

    def form(self, one: AnyForm) -> parts.Form | None:
        """A form."""
        fields = [self.field(field) for field in listed("fields", one.fields, MOST_FIELDS, cut=False)]
        shown = self.show_form(one, fields)
        if shown is None or not one.title:
            return shown
        heading = parts.Field(name="", label=self.text(one.title), type="heading")
        return replace(shown, fields=[heading, *shown.fields])

    def field(self, one: Any) -> parts.Field:
        """A field; its name is marked as one of the operation's input."""
        if type(one) is not values.Field:
            raise WrongPanel(f"`fields` are of the type Field, not {type(one).__name__}")
        kind: parts.FieldKind = KINDS.get(one.type, "text")
        if one.type not in KINDS:
            raise WrongPanel(f"there is no type of fields {one.type!r:.40}")
        choices = []
        for choice in listed("choices", one.choices, MOST_CHOICES):
            if type(choice) is not values.Choice:
                raise WrongPanel(f"`choices` are of the type Choice, not {type(choice).__name__}")
            choices.append(parts.Option(self.text(choice.value), self.text(choice.text)))
        return parts.Field(
            name=field_name(plain(one.name)),
            label=self.text(one.label),
            type=kind,
            value="" if one.type in ("password", "checkbox") else self.value_text(one.value),
            checked=one.type == "checkbox" and one.value is True,
            options=choices,
            hint=self.text(one.hint, MOST_WORDS),
            unit=self.text(one.unit),
            placeholder=self.text(one.placeholder),
            required=bool(one.required),
            wide=one.type in ("textarea", "list"),
            autocomplete="new-password" if one.type == "password" else "off",
        )

    def value_text(self, value: Any) -> str:
        """The value of a field, as a form has it."""
        if isinstance(value, list | tuple):
            return "\n".join(self.text(one, MOST_WORDS) for one in value[:MOST_CHOICES])
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(number(value))
        return self.text(value, 20_000)

    def text(self, value: Any, most: int = MOST_TEXT) -> str:
        """A text without secrets."""
        return without(plain(value, most), self.secrets) if self.secrets else plain(value, most)


#: The field of a page for each type of a panel's field. A list has a value on each line.
KINDS: Mapping[str, parts.FieldKind] = {
    "text": "text",
    "textarea": "textarea",
    "list": "textarea",
    "number": "number",
    "checkbox": "checkbox",
    "select": "select",
    "password": "password",
    "month": "month",
    "url": "url",
}

#: What the names of an operation's input begin with in forms: other fields are the page's own.
MARK = "v."


def field_name(name: str) -> str:
    """The name of an operation's field in a form."""
    return f"{MARK}{name}"


def plain(value: Any, most: int = MOST_TEXT) -> str:
    """A text as plain text, cut at `most` characters. Raises `WrongPanel`."""
    if not isinstance(value, str):
        raise WrongPanel(f"a text is needed, not {type(value).__name__}")
    text = str.__str__(value)  # not what a text of another class says of itself
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def listed(what: str, given: Any, most: int, *, cut: bool = True) -> list[Any]:
    """The first `most` of a list, or all of one that may not be longer. Raises `WrongPanel`."""
    if not isinstance(given, list | tuple):
        raise WrongPanel(f"`{what}` must be a list, not {type(given).__name__}")
    if not cut and len(given) > most:
        raise WrongPanel(f"`{what}` has more than {most}")
    return list(given[:most])


def number(value: Any) -> int | float:
    """A number. Raises `WrongPanel`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST_NUMBER:
        raise WrongPanel(f"a number up to {MOST_NUMBER:.0e} is needed, not {value!r:.40}")
    return float(value) if isinstance(value, float) else int(value)


def count(value: Any, *, signed: bool = False) -> int:
    """A whole number, not below zero unless `signed`. Raises `WrongPanel`."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MOST_NUMBER or (value < 0 and not signed):
        raise WrongPanel(f"a whole number is needed, not {value!r:.40}")
    return int(value)


def state(value: Any) -> parts.State:
    """A state. Raises `WrongPanel`."""
    for one in STATES:
        if one == value:
            return one
    raise WrongPanel(f"there is no state {value!r:.40}; there are {', '.join(STATES)}")


def moment(value: Any) -> str:
    """A moment with its zone. Raises `WrongPanel`."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise WrongPanel("a time is a datetime with its zone")
    return value.isoformat()


def bytes_of(size: int) -> tuple[int | float, str, int]:
    """A number of bytes in a readable unit: the value, the unit, and the digits after the point."""
    value, at = float(size), 0
    while value >= 999.5 and at < len(UNITS) - 1:
        value, at = value / 1000, at + 1
    return (size, UNITS[0], 0) if at == 0 else (value, UNITS[at], 1)


def https_url(value: Any) -> str | None:
    """An address of https with a host and without a password; None for any other text. Raises `WrongPanel`."""
    if not isinstance(value, str):
        raise WrongPanel(f"an address is a text, not {type(value).__name__}")
    text = str.__str__(value)
    if len(text) > MOST_URL or not ADDRESS.fullmatch(text):
        return None
    try:
        split = urlsplit(text)
        is_whole = bool(split.hostname) and split.username is None
        _ = split.port
    except ValueError:
        return None
    return text if is_whole else None
