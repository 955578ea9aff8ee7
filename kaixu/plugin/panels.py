"""What a panel shows: plain values. The core draws them with its own components, escapes them, and pages tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

#: The colour of a state; it is always shown with words.
State = Literal["good", "warn", "bad", "info", "off"]


# Cells: the values of tables and figures.


class Link(msgspec.Struct, frozen=True):
    """A link to another host, by https; any other address is shown as text. It opens in a new tab."""

    text: str
    url: str


class Money(msgspec.Struct, frozen=True):
    """An amount in whole nano-dollars."""

    nusd: int


class Bytes(msgspec.Struct, frozen=True):
    """A number of bytes, shown as kB, MB and so on."""

    count: int


class Time(msgspec.Struct, frozen=True):
    """A moment with its zone, shown in the reader's. None: never."""

    at: datetime | None


class Badge(msgspec.Struct, frozen=True):
    """A state in colour and words."""

    state: State
    text: str


class Code(msgspec.Struct, frozen=True):
    """Text in a fixed font, such as an id, with a button that copies it."""

    text: str


Cell = str | int | float | bool | Link | Money | Bytes | Time | Badge | Code | None

#: A value of an operation's input.
Value = str | int | float | bool | Sequence[str] | None


# Forms and actions: each runs an operation of the integration, as whoever reads the page.


class Choice(msgspec.Struct, frozen=True):
    """A value that can be chosen, and its text."""

    value: str
    text: str


class Field(msgspec.Struct, frozen=True):
    """A field of a form. `name`: of the operation's input. `value`: what it is filled with; a password never is.

    `choices` belong to "select". "list" is a text with one value on each line.
    """

    name: str
    label: str
    type: Literal["text", "textarea", "number", "checkbox", "select", "password", "month", "url", "list"] = "text"
    value: Value = None
    choices: Sequence[Choice] = ()
    hint: str = ""
    unit: str = ""
    placeholder: str = ""
    required: bool = False


class Form(msgspec.Struct, frozen=True):
    """A form whose fields are the input of an operation. `body`: further values of it, which nobody sees or fills."""

    operation: str
    fields: Sequence[Field]
    submit: str = "Save"
    body: Mapping[str, Value] = {}
    title: str = ""
    hint: str = ""


class File(msgspec.Struct, frozen=True):
    """A form with a file, which is streamed to `operation` (one with `upload=True`); `fields` are its further input.

    `file_name`: the field of the input that gets the file's name. `accept`: which files a browser offers, such as
    ".zip,.tar" or "image/*". A file of more than `most_bytes` is refused before it is sent. `body`: as in `Form`.
    """

    operation: str
    fields: Sequence[Field] = ()
    label: str = "File"
    submit: str = "Upload"
    body: Mapping[str, Value] = {}
    title: str = ""
    hint: str = ""
    file_name: str = ""
    accept: str = ""
    most_bytes: int | None = None


class Action(msgspec.Struct, frozen=True):
    """What can be done to a row: run `operation` with `body` as its input.

    `confirm`: what a page asks first. `form`: a page with this form, which the row has filled, comes first; it is of
    the same operation, and may be a `File`. `is_danger`: it is drawn as what destroys something. Whoever may not call
    the operation does not see it.
    """

    label: str
    operation: str
    body: Mapping[str, Value] = {}
    confirm: str = ""
    form: Form | File | None = None
    is_danger: bool = False


# Parts.


class Column(msgspec.Struct, frozen=True):
    """A column of a table. Numbers belong to the right. `on_phones`: whether a narrow screen shows it, too."""

    title: str
    align: Literal["left", "right"] = "left"
    on_phones: bool = True


class Row(msgspec.Struct, frozen=True):
    """A row: a cell for each column, and what can be done to it."""

    cells: Sequence[Cell]
    actions: Sequence[Action] = ()


class Table(msgspec.Struct, frozen=True):
    """A table; more than 50 rows are shown in pages. `empty`: what it says without rows. `note`: below it."""

    columns: Sequence[str | Column]
    rows: Sequence[Row | Sequence[Cell]]
    title: str = ""
    empty: str = "Nothing here."
    note: str = ""


class Series(msgspec.Struct, frozen=True):
    """One series of a chart: a value for each label; None where there is none."""

    name: str
    values: Sequence[float | None]


class Chart(msgspec.Struct, frozen=True):
    """A chart, with its table for whoever does not see it. `labels`: of the x axis."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    form: Literal["bars", "lines"] = "bars"
    unit: Literal["usd", "count", "ms", "tokens", "percent"] = "count"
    note: str = ""


class Stat(msgspec.Struct, frozen=True):
    """One figure with its name. Those that follow each other stand side by side."""

    label: str
    value: Cell
    note: str = ""
    state: State | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far something is. `total` None: nobody knows. `refresh_s` of the panel keeps it current."""

    label: str
    done: int
    total: int | None
    text: str = ""
    state: State = "info"


class Notice(msgspec.Struct, frozen=True):
    """Something to be told: a state, a problem, the next step."""

    state: State
    text: str
    hint: str = ""


Part = Table | Chart | Form | File | Stat | Progress | Notice | Action


class Filter(msgspec.Struct, frozen=True):
    """A filter above a panel. Its value is in the page's address and in `view.filters`; `default`: where there is none.

    A "month" is called `month`, and is `view.month`. `choices` belong to "select": another value counts as none.
    """

    name: str
    label: str
    type: Literal["text", "select", "number", "month"] = "text"
    choices: Sequence[Choice] = ()
    default: str = ""
