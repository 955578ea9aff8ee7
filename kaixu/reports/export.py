"""What an export contains: type, customer, time, filters, columns; read from the parameters of a request.

Times and months are UTC, days are those of the reporting zone. A call belongs to the month and to the moment of its
admission, as in every report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Forbidden, Invalid, Unprocessable

from .export_columns import (
    ADMIN_EVENTS,
    ADMIN_SUMMARY,
    EVENT_COLUMNS,
    EVENT_COST_COLUMNS,
    INVOICE,
    INVOICE_COLUMNS,
    SUMMARY_COLUMNS,
    SUMMARY_COST_COLUMNS,
    USER_EVENTS,
    USER_SUMMARY,
    read_columns,
)
from .own_key import OwnKey, named_month, read_scope
from .time_range import Clock, read_moment
from .values import month_name

Kind = Literal["events", "summary", "invoice"]
Format = Literal["csv", "ndjson"]

#: The rows of an export without `limit`, and the most that a `limit` may say; `limit=all` has no limit.
ADMIN_ROWS = 20_000
USER_ROWS = 5_000
MAX_ROWS = 100_000_000

MAX_NAME = 300

#: What would end the name in a header, or lead out of a folder: keys that were not made here may end in anything.
UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9_-]")

#: What only exports of events can be narrowed down by.
EVENT_FILTERS = ("from", "to", "provider", "model", "app", "end_user")
PARAMETERS = ("customer_id", "type", "month", "api_key_id", "limit", "columns", "format", "count", *EVENT_FILTERS)
USER_PARAMETERS = ("scope", *(name for name in PARAMETERS if name != "customer_id"))


class Export(msgspec.Struct, frozen=True):
    """One export. `customer_id` None: all customers; `key_id` is one of `customer_id`'s, and stands for its chain.

    `since` and `until`: of the admission, `until` not included; None: the month. `zone`: of the days that they name.
    `limit` None: all rows. `has_count`: whether a last line has the number of rows. `for_operator`: with columns that
    customers do not see.
    """

    kind: Kind
    format: Format
    customer_id: int | None
    key_id: int | None
    month: date | None
    since: datetime | None
    until: datetime | None
    provider: str | None
    model: str | None
    app_id: str | None
    end_user: str | None
    columns: tuple[str, ...]
    limit: int | None
    has_count: bool
    zone: str | None
    for_operator: bool


def read_export(values: Mapping[str, Any], clock: Clock) -> Export:
    """An operator's export from its parameters; `customer_id=all` is all customers. Raises `Invalid`."""
    fields.require_known(values, PARAMETERS)
    kind = read_kind(values)
    customer = values.get("customer_id")
    everybody = isinstance(customer, str) and customer.strip().lower() == "all"
    customer_id = None if everybody else fields.identifier(customer, "customer_id")
    key_id = None if values.get("api_key_id") in (None, "") else fields.identifier(values["api_key_id"], "api_key_id")
    if everybody and (key_id is not None or kind == "invoice"):
        what = "`api_key_id`" if key_id is not None else "an invoice"
        raise Invalid(f"{what} needs one customer", hint="Send customer_id=<id>.", field="customer_id")
    known: tuple[str, ...]
    default: tuple[str, ...]
    if kind == "events":
        extra = ("customer_id",) if everybody else ()
        known, default = (*EVENT_COLUMNS, *EVENT_COST_COLUMNS), (*extra, *ADMIN_EVENTS)
    elif kind == "summary":
        known, default = (*SUMMARY_COLUMNS, *SUMMARY_COST_COLUMNS), ADMIN_SUMMARY
    else:
        known, default = INVOICE_COLUMNS, INVOICE
    columns = read_columns(values.get("columns"), known, default)
    return make_export(values, kind, customer_id, key_id, columns, ADMIN_ROWS, for_operator=True, clock=clock)


def read_user_export(values: Mapping[str, Any], own: OwnKey, clock: Clock) -> Export:
    """A customer's export from its parameters, as far as the key's role reaches. Raises `Invalid`, `RoleTooLow`.

    A key exports its own chain. Keys with the role admin or owner may export their customer's with
    `scope=customer`; for invoices that is their default. `api_key_id`: another key, for the same roles.
    """
    fields.require_known(values, USER_PARAMETERS)
    kind = read_kind(values)
    default_scope = "customer" if kind == "invoice" and own.may_see_customer else "key"
    scope = read_scope({"scope": values.get("scope") or default_scope}, own)
    key_id = None if scope == "customer" else own.key_id
    if values.get("api_key_id") not in (None, ""):
        key_id = fields.identifier(values["api_key_id"], "api_key_id")
        if key_id != own.key_id and not own.may_see_customer:
            raise Forbidden("another key needs a key with the role admin or owner", hint="Leave `api_key_id` out.")
    known: tuple[str, ...]
    default: tuple[str, ...]
    if kind == "events":
        known, default = tuple(EVENT_COLUMNS), USER_EVENTS
    elif kind == "summary":
        known, default = tuple(SUMMARY_COLUMNS), USER_SUMMARY
    else:
        known, default = INVOICE_COLUMNS, INVOICE
    columns = read_columns(values.get("columns"), known, default)
    return make_export(values, kind, own.customer_id, key_id, columns, USER_ROWS, for_operator=False, clock=clock)


def make_export(
    values: Mapping[str, Any],
    kind: Kind,
    customer_id: int | None,
    key_id: int | None,
    columns: tuple[str, ...],
    default_limit: int | None,
    *,
    for_operator: bool,
    clock: Clock,
) -> Export:
    """The rest of the parameters, which operators and customers have in common."""
    if kind != "events":
        for name in EVENT_FILTERS:
            if values.get(name) not in (None, ""):
                raise Invalid(f"`{name}` is for type=events only", hint=f"Leave `{name}` out.", field=name)
    since, until = read_bound(values, "from", clock), read_bound(values, "to", clock)
    month = fields.month(values.get("month"), "month") if for_operator else named_month(values)
    if since is not None or until is not None:
        if month is not None:
            raise Invalid("`month` and `from`, `to` exclude each other", hint="Send one or the other.", field="month")
        if since is None:
            raise Invalid("`to` needs `from`", hint="Send both: from=2026-11-01&to=2026-11-15.", field="from")
        if until is not None and until <= since:
            raise Unprocessable("`to` must be later than `from`", field="to")
    return Export(
        kind=kind,
        format=read_format(values.get("format")),
        customer_id=customer_id,
        key_id=key_id,
        month=month,
        since=since,
        until=until,
        provider=fields.text(values.get("provider"), "provider", MAX_NAME),
        model=fields.text(values.get("model"), "model", MAX_NAME),
        app_id=fields.text(values.get("app"), "app", MAX_NAME),
        end_user=fields.text(values.get("end_user"), "end_user", MAX_NAME),
        columns=columns,
        limit=read_limit(values.get("limit"), default_limit),
        has_count=read_count(values.get("count")),
        zone=None if since is None else clock.zone,
        for_operator=for_operator,
    )


def read_kind(values: Mapping[str, Any]) -> Kind:
    """`type`; events by default. Raises `Invalid`."""
    kind = values.get("type") or "events"
    if kind not in ("events", "summary", "invoice"):
        raise Invalid("`type` must be events, summary or invoice", field="type")
    return cast(Kind, kind)


def read_format(value: object) -> Format:
    """`format`; csv by default. Raises `Invalid`."""
    if value in (None, "", "csv"):
        return "csv"
    if value == "ndjson":
        return "ndjson"
    raise Invalid("`format` must be csv or ndjson", field="format")


def read_count(value: object) -> bool:
    """`count`; 1 by default. Raises `Invalid`."""
    if value in (None, "", "1", 1):
        return True
    if value in ("0", 0):
        return False
    raise Invalid("`count` must be 0 or 1", field="count")


def read_limit(value: object, default: int | None) -> int | None:
    """`limit`; None: all rows. Raises `Unprocessable`."""
    if isinstance(value, str) and value.strip().lower() == "all":
        return None
    limit = fields.bounded(value, "limit", MAX_ROWS, 1)
    return default if limit is None else limit


def read_bound(values: Mapping[str, Any], name: str, clock: Clock) -> datetime | None:
    """`from` or `to`, as every report reads them: a date in `to` is the last day. Raises `Unprocessable`."""
    if values.get(name) in (None, ""):
        return None
    return read_moment(values[name], name, clock, ZoneInfo(clock.zone), is_end=name == "to")


def export_name(export: Export, month: date, key_last4: str | None) -> str:
    """The name of the file; `key_last4`: of the customer's key that exports."""
    period = month_name(month)
    if export.since is not None:
        zone = ZoneInfo(export.zone or "UTC")
        period = f"{export.since.astimezone(zone):%Y-%m-%d}"
        last = None if export.until is None else (export.until - timedelta(microseconds=1)).astimezone(zone)
        period += "-on" if last is None else f"-to-{last:%Y-%m-%d}"
    if export.for_operator:
        whose = "all" if export.customer_id is None else f"customer{export.customer_id}"
        key = "" if export.key_id is None else f"-key{export.key_id}"
        return f"kaixu-admin-{export.kind}-{period}-{whose}{key}.{export.format}"
    last4 = UNSAFE_IN_NAME.sub("_", key_last4 or "")
    whose = f"customer{export.customer_id}" if export.kind == "invoice" or export.key_id is None else f"key{last4}"
    return f"kaixu-{export.kind}-{period}-{whose}.{export.format}"
