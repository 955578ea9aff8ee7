"""Runs an operation for a page, by the same way as every client: its route, its credential, its limits, its bill.

Which operations a visitor may call is decided there; here only what they may not is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from kaixu.accounts.operator_identity import CHANGE, MONEY, READ
from kaixu.catalog.catalog import IntegrationState
from kaixu.catalog.input_plan import FieldPlan, input_plan
from kaixu.edge.response import Reply
from kaixu.plugin.access import Key, Operator, Rank
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.plugin.operation import Operation
from kaixu.web.api_calls import QueryValue
from kaixu.web.form_data import FormData
from kaixu.web.visits import Visit

from .found import place_of
from .values import MARK, WrongPanel

#: Values of an operation's input, by name: texts of a form's fields, and what a panel has put into the form.
Values = Mapping[str, Any]

RANKS: tuple[Rank, ...] = get_args(Rank)
PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
MOST_BODY = 32_768

#: The field of the page that has the file.
FILE = "file"


def operation_named(state: IntegrationState, name: str) -> Operation | None:
    """An operation of an integration."""
    if state.integration is None:
        return None
    return next((one for one in state.integration.operations if one.name == name), None)


def operation_for(visit: Visit, state: IntegrationState, name: str) -> Operation | None:
    """The operation that a panel names, or None if the visitor may not call it. Raises `WrongPanel`.

    Operators call operations for operators, customers those for keys: a panel that mixes them up cannot work.
    """
    operation = operation_named(state, name) if isinstance(name, str) else None
    if operation is None:
        raise WrongPanel(f"the integration has no operation {name!r:.80}")
    if place_of(visit) == "admin":
        if isinstance(operation.auth, Key):
            raise WrongPanel(f"operation `{name}` takes a key: in the admin page, panels call those for operators")
        change = MONEY if isinstance(operation.auth, Operator) and operation.auth.scope == "money" else CHANGE
        may = not isinstance(operation.auth, Operator) or visit.may(READ if operation.method == "GET" else change)
        return operation if may else None
    if isinstance(operation.auth, Operator):
        raise WrongPanel(f"operation `{name}` is for operators: in the dashboard, panels call those for keys")
    if operation.rank is None:
        return operation
    role = "" if visit.key is None else visit.key["role"]
    return operation if role in RANKS and RANKS.index(role) >= RANKS.index(operation.rank) else None


def body_text(body: Any) -> str:
    """What a panel puts into a form, as JSON for a hidden field. Raises `WrongPanel`."""
    if not isinstance(body, Mapping) or not all(isinstance(name, str) for name in body):
        raise WrongPanel("`body` is a mapping of names to values")
    try:
        data = msgspec.json.encode(dict(body))
    except (TypeError, ValueError, RecursionError):
        raise WrongPanel("`body` must consist of values that JSON can express") from None
    if len(data) > MOST_BODY:
        raise WrongPanel(f"`body` is longer than {MOST_BODY >> 10} KiB")
    return data.decode("utf-8", "replace")


def values_sent(form: FormData) -> dict[str, Any]:
    """The values of an operation's input that a form has sent. Raises `Unprocessable`."""
    try:
        values: dict[str, Any] = msgspec.json.decode(form.raw("body") or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise Unprocessable("the form cannot be read") from None
    boxes, lists = form.get("boxes").split(), form.get("lists").split()
    for name, _ in form.pairs:
        if name.startswith(MARK):
            text = form.raw(name)
            values[name.removeprefix(MARK)] = text.split("\n") if name in lists else text
    for name in boxes:
        if name.startswith(MARK):
            values[name.removeprefix(MARK)] = form.has(name)
    return {
        name: [line.strip() for line in value if line.strip()] if isinstance(value, list) else value
        for name, value in values.items()
    }


def takes_file(operation: Operation) -> bool:
    """Whether the body of an operation's requests is no JSON."""
    plan = input_plan(operation)
    return plan.is_upload or plan.has_raw_body


async def upload_to(visit: Visit, state: IntegrationState, operation: Operation, values: Values) -> Reply:
    """The reply of an operation that takes the file of the form. Raises `ApiFailure`, `Unprocessable`, `NotFound`."""
    file, plan = visit.file, input_plan(operation)
    if file is None or not plan.is_upload:
        raise NotFound(f"operation `{operation.name}` takes no file")
    if not file.file_name and not file.announced_bytes:
        raise Unprocessable("choose a file", field=FILE)
    remaining = dict(values)
    if name := visit.form.get("file_name"):
        remaining[name] = file.file_name
    path = path_of(operation, plan.fields or (), remaining)
    query: dict[str, QueryValue] = {}
    headers = {"content-type": file.content_type} if file.content_type.isascii() else {}
    for name, value in remaining.items():
        field = field_named(plan.fields or (), name)
        if field is not None and field.place == "header":
            headers[name.lower()] = header_text(name, value)
        else:
            query[name] = value if isinstance(value, bool) else text_of(value)
    if isinstance(operation.auth, Operator) and operation.auth.customer is not None:
        query.setdefault(operation.auth.customer, visit.customer_id)
    return await visit.api.reply(operation.method, f"/v1/{state.name}{path}", query=query, headers=headers, upload=file)


async def call_operation(visit: Visit, state: IntegrationState, operation: Operation, values: Values) -> Reply:
    """The operation's reply. Raises `ApiFailure`, `Unprocessable`, `NotFound`."""
    plan = input_plan(operation)
    if takes_file(operation):
        raise NotFound(f"operation `{operation.name}` takes a file, which this form does not send")
    remaining = dict(values)
    path = path_of(operation, plan.fields or (), remaining)
    query: dict[str, QueryValue] = {}
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    for name, value in remaining.items():
        field = field_named(plan.fields or (), name)
        place = ("query" if operation.method == "GET" else "body") if field is None else field.place
        kind = field.type if field is not None else whole_type(plan.body, name)
        if place == "body":
            if (typed := typed_value(value, kind)) is not msgspec.UNSET:
                body[name] = typed
        elif place == "header":
            headers[name.lower()] = header_text(name, value)
        else:
            query[name] = value if isinstance(value, bool) else text_of(value)
    if isinstance(operation.auth, Operator) and operation.auth.customer is not None:
        query.setdefault(operation.auth.customer, visit.customer_id)
    content = None if operation.method == "GET" else body
    if content is not None:
        headers["content-type"] = "application/json"
    return await visit.api.reply(
        operation.method, f"/v1/{state.name}{path}", query=query, body=content, headers=headers
    )


def path_of(operation: Operation, fields: tuple[FieldPlan, ...], remaining: dict[str, Any]) -> str:
    """The operation's path with the values of its parameters, which are taken out of `remaining`.

    Raises `Unprocessable`.
    """
    path = operation.path_below
    for parameter in PARAMETER.findall(path):
        field = next((one for one in fields if one.place == "path" and one.names[0] == parameter), None)
        names = (parameter, *(() if field is None else (*field.names, field.name)))
        given = next((remaining.pop(name) for name in names if name in remaining), "")
        text = text_of(given)
        if not text or "/" in text:
            raise Unprocessable(f"`{parameter}` is missing" if not text else "a slash cannot be in it", field=parameter)
        path = path.replace(f"{{{parameter}}}", text)
    return path


def field_named(fields: tuple[FieldPlan, ...], name: str) -> FieldPlan | None:
    """The field that takes a value of this name."""
    return next((one for one in fields if name in one.names or name == one.name), None)


def whole_type(kind: type[msgspec.Struct], name: str) -> Any:
    """The type of a field of the body."""
    return next((one.type for one in msgspec.structs.fields(kind) if one.encode_name == name), Any)


def typed_value(value: Any, kind: Any) -> Any:
    """A value for the JSON body: a text of a form as the field's type reads it; `UNSET` for an empty one of no meaning.

    What cannot be read is sent as it is: the operation says what is wrong with it.
    """
    if not isinstance(value, str):
        return value
    try:
        converted = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return msgspec.UNSET if not value.strip() else value
    return None if not value.strip() and not isinstance(converted, str) else msgspec.to_builtins(converted)


def text_of(value: Any) -> str:
    """A value of a path or a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def header_text(name: str, value: Any) -> str:
    """A value of a header. Raises `Unprocessable`."""
    text = text_of(value)
    if not text.isascii() or not text.isprintable():
        raise Unprocessable(f"`{name}` has characters that a header cannot have", field=name)
    return text
