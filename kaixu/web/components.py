"""The parts that pages are made of, as data. `templates/components` draws them; plugins' panels are to fill them, too.

A page builds these from replies of the API. Everything in them is plain text: the templates escape it. Addresses in
them are paths of this gateway, which the page that makes them has quoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

#: The colour of a state; it is always shown with words.
State = Literal["good", "warn", "bad", "info", "off"]


class Component(msgspec.Struct, frozen=True):
    """The base of all parts: templates choose by `kind`, the name of the class in lower case."""

    @property
    def kind(self) -> str:
        """The name of the macro that draws it."""
        return type(self).__name__.lower()


# Cells: the values of tables, facts and statistics.


class Money(Component, frozen=True):
    """An amount in USD: `usd` is the exact decimal as the API says it. Shown rounded, exact on hover."""

    usd: str | None
    digits: int = 2  # shown after the point; amounts below one cent show up to six
    is_signed: bool = False


class Number(Component, frozen=True):
    """A number with thousands separated; `unit` follows it."""

    value: int | float | None
    unit: str = ""
    digits: int = 0


class Time(Component, frozen=True):
    """A moment (ISO 8601 with its zone). Shown in the viewer's zone, with UTC on hover.

    "exact" and "short" have seconds, "short" no year: for rows that are mostly of today.
    """

    at: str | None
    form: Literal["moment", "short", "exact", "date", "time", "ago"] = "moment"
    none: str = "–"


class Badge(Component, frozen=True):
    """A state in colour and words."""

    state: State
    text: str
    hint: str = ""


class Link(Component, frozen=True):
    """A link. `drawer`: opens beside the page where scripts run."""

    text: str
    href: str
    drawer: bool = False
    icon: str = ""
    external: bool = False
    download: bool = False


class Code(Component, frozen=True):
    """Text in a fixed font: ids, the end of a key. `copy`: with a button that copies it (`text` unless `value`)."""

    text: str
    copy: bool = False
    value: str = ""


class Meter(Component, frozen=True):
    """A part of a whole, as a bar with words: `text` says both."""

    value: float
    most: float
    text: str
    state: State = "info"


class Sparkline(Component, frozen=True):
    """A small line, for a row. `label` says in words what it shows."""

    values: Sequence[float]
    label: str


class Stack(Component, frozen=True):
    """Several cells in one: side by side, or `lines`."""

    cells: Sequence[Cell]
    lines: bool = False


class Muted(Component, frozen=True):
    """Less important text."""

    text: str


Cell: TypeAlias = (
    "str | int | Money | Number | Time | Badge | Link | Code | Meter | Sparkline | Stack | Muted | Button | None"
)


# Forms.


class Option(msgspec.Struct, frozen=True):
    """A choice of a field."""

    value: str
    text: str
    group: str = ""


FieldKind = Literal[
    "text", "email", "password", "number", "search", "select", "checkbox", "checkboxes", "textarea", "month", "date",
    "url", "file", "hidden", "heading",
]  # fmt: skip


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a form. `problem`: what is wrong with its value. `unit` stands behind it ("USD", "per minute").

    `checkboxes`: `values` are those ticked, each is sent under the same name. `heading`: no field, but the title of
    those that follow, with a hint.
    """

    name: str
    label: str = ""
    type: FieldKind = "text"
    value: str = ""
    values: Sequence[str] = ()
    options: Sequence[Option] = ()
    hint: str = ""
    problem: str = ""
    unit: str = ""
    placeholder: str = ""
    autocomplete: str = "off"
    required: bool = False
    checked: bool = False
    min: str = ""
    max: str = ""
    step: str = ""
    maxlength: int | None = None
    rows: int = 4
    wide: bool = False
    suggestions: Sequence[str] = ()
    accept: str = ""


class Form(Component, frozen=True):
    """A form. Changes are `post`, with the session's form token; filters are `get`, and apply at once with scripts.

    `hidden`: further values. `problem`: what was wrong as a whole. `inline`: fields in one row, for filters.
    `upload`: it has a file. `shows_progress`: scripts take a file that is dropped, send the form, and show how far it
    is; `most_bytes`: of the file, which they check before.
    """

    action: str
    fields: Sequence[Field]
    submit: str
    method: Literal["get", "post"] = "post"
    hidden: Mapping[str, str] = {}
    problem: str = ""
    hint: str = ""
    inline: bool = False
    id: str = ""
    style: Literal["primary", "plain", "danger"] = "primary"
    cancel: Link | None = None
    upload: bool = False
    shows_progress: bool = False
    most_bytes: int | None = None
    target: str = ""  # the id of the part of the page that a filter replaces
    more: Sequence[Field] = ()  # folded below the fields, under `more_title`
    more_title: str = "More settings"


class Button(Component, frozen=True):
    """A change by one press: a form of its own, `post` with the session's form token. What destroys links to a page
    that asks first instead (`Link`).
    """

    label: str
    action: str
    hidden: Mapping[str, str] = {}
    style: Literal["plain", "primary", "danger"] = "plain"
    icon: str = ""
    title: str = ""


# Tables, charts, statistics.


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column. `sort`: the address of the page sorted by it; `sorted`: how it is sorted now."""

    title: str
    align: Literal["left", "right"] = "left"
    sort: str = ""
    sorted: Literal["", "ascending", "descending"] = ""
    hint: str = ""
    wide: bool = False  # takes what is left
    phone: bool = True  # also shown on a phone


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row: a cell for each column. `href`: where a click or Enter leads; `drawer`: beside the page."""

    cells: Sequence[Cell]
    href: str = ""
    drawer: bool = True
    id: str = ""
    actions: Sequence[Button | Link] = ()
    state: State | None = None
    selected: bool = False


class Empty(msgspec.Struct, frozen=True, kw_only=True):
    """What an empty table shows: why it is empty, and the next step."""

    text: str
    link: Link | None = None


class Table(Component, frozen=True):
    """A table, with cards instead of rows on a phone. `id` is unique on its page.

    `next_href`: the next page by cursor. `links`: its CSV and JSON, "copy as curl". `note`: below it. `target`: the id
    of the part that its links replace, where that is more than the table.
    """

    id: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    next_href: str = ""
    first_href: str = ""
    empty: Empty = Empty(text="Nothing here.")
    note: str = ""
    target: str = ""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One series of a chart: a value for each label; None where there is none."""

    name: str
    values: Sequence[float | None]
    href: str = ""


class Chart(Component, frozen=True):
    """A chart over time, drawn by the server, with its table hidden beside it.

    `unit`: "usd", "count", "ms", "tokens", "percent". `labels`: of the x axis, as text.
    """

    id: str
    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    form: Literal["bars", "lines"] = "bars"
    unit: Literal["usd", "count", "ms", "tokens", "percent"] = "count"
    note: str = ""
    zone: str = "UTC"


class Stat(Component, frozen=True):
    """One figure, with its name. `trend`: a comparison in words, coloured by `state`."""

    label: str
    value: Cell
    note: str = ""
    trend: str = ""
    state: State | None = None
    sparkline: Sparkline | None = None
    href: str = ""


class Stats(Component, frozen=True):
    """Figures in a row."""

    stats: Sequence[Stat]


class Progress(Component, frozen=True):
    """How far something long is. `refresh`: the address that the part is read from again, each two seconds."""

    label: str
    done: int
    total: int | None
    text: str = ""
    state: State = "info"
    refresh: str = ""
    id: str = ""


# Everything else.


class Facts(Component, frozen=True):
    """Names and values."""

    items: Sequence[tuple[str, Cell]]


class Notice(Component, frozen=True):
    """Something to be told: a result, a problem, an explanation. `actions`: what can be done about it."""

    state: State
    text: str
    hint: str = ""
    actions: Sequence[Button | Link] = ()
    ends_after_s: int | None = None  # with scripts, the actions go away then ("Undo")


class Prose(Component, frozen=True):
    """Paragraphs and lists of explanation. A tip is drawn quieter."""

    paragraphs: Sequence[str]
    tip: bool = False
    items: Sequence[str] = ()
    links: Sequence[Link] = ()


class Snippet(Component, frozen=True):
    """Text to copy: code, a command, a key, JSON."""

    text: str
    language: str = ""
    title: str = ""
    secret: bool = False  # shown once: with the warning, and "I have stored it"
    hint: str = ""


class Picture(Component, frozen=True):
    """An image: `source` is a path of this gateway, or a `data:` address. `text` says what it shows."""

    source: str
    text: str
    width: int = 240


class Markup(Component, frozen=True):
    """A template of the pages' own, for what the other parts cannot say (the playground, the tail)."""

    template: str
    values: Mapping[str, object] = {}


class Card(Component, frozen=True):
    """A panel with a title. `links`: at its right ("CSV", "All"). `width`: of twelve columns.

    `refresh`: the address that a panel with an `id` is read from again, each `refresh_s` seconds.
    """

    title: str
    parts: Sequence[Part]
    subtitle: str = ""
    links: Sequence[Link | Button] = ()
    width: int = 12
    id: str = ""
    open: bool | None = None  # not None: it can be folded
    refresh: str = ""
    refresh_s: int = 30


Part: TypeAlias = (
    "Table | Chart | Form | Stats | Progress | Facts | Notice | Prose | Snippet | Picture | Markup | Card"
    " | Button | Link"
)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page: what stands below its title. `actions`: beside the title. `twins`: the same as JSON and CSV, as curl.

    `form`: the page's own filter, above its parts. `scripts`: further modules, by name.
    """

    title: str
    parts: Sequence[Part]
    subtitle: str = ""
    actions: Sequence[Link | Button | Form] = ()
    twins: Sequence[Link] = ()
    curl: str = ""
    scripts: Sequence[str] = ()
    status: int = 200
