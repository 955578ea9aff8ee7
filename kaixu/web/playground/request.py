"""The body of a chat from the playground's form."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from kaixu.plugin.errors import Unprocessable
from kaixu.web.form_data import FormData

Kind = TypeVar("Kind")

#: How far the numbers of the form go; the API has the last word.
RANGES = {"temperature": (Decimal(0), Decimal(2)), "top_p": (Decimal(0), Decimal(1))}

#: The most lines that end an answer.
MOST_STOPS = 4


def chat_body(form: FormData, *, second: bool = False) -> dict[str, Any]:
    """What is sent to `gateway-chat`. `second`: to the model beside. Raises `Unprocessable`, naming a field."""
    body: dict[str, Any] = {"model": form.get("second_model" if second else "model"), "messages": messages_of(form)}
    if not body["model"]:
        raise Unprocessable("choose a model", field="model")
    for name in ("max_tokens", "seed"):
        if (whole := form.number(name)) is not None:
            body[name] = whole
    for name in RANGES:
        if (number := decimal_of(form, name)) is not None:
            body[name] = number
    if stops := [line for line in form.raw("stop").split("\n") if line]:
        if len(stops) > MOST_STOPS:
            raise Unprocessable(f"at most {MOST_STOPS} lines", field="stop")
        body["stop"] = stops
    if effort := form.get("reasoning_effort"):
        body["reasoning_effort"] = effort
    if (tools := json_of_field(form, "tools", list)) is not None:
        body["tools"] = tools
    if (answer := response_format(form)) is not None:
        body["response_format"] = answer
    if collection := form.get("retrieve"):
        body["retrieve"] = {"collection": collection}
    return body


def messages_of(form: FormData) -> list[dict[str, Any]]:
    """System text, earlier messages, and the question."""
    messages: list[dict[str, Any]] = []
    if system := form.raw("system").strip():
        messages.append({"role": "system", "content": system})
    messages += json_of_field(form, "earlier", list) or []
    if not (question := form.raw("message").strip()):
        raise Unprocessable("write a message", field="message")
    return [*messages, {"role": "user", "content": question}]


def response_format(form: FormData) -> dict[str, Any] | None:
    """The format of the answer; None: text."""
    chosen = form.get("response_format")
    if chosen == "json_object":
        return {"type": "json_object"}
    if chosen != "json_schema":
        return None
    schema = json_of_field(form, "schema", dict)
    if schema is None:
        raise Unprocessable("write the schema that the answer has to fit", field="schema")
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def decimal_of(form: FormData, name: str) -> float | None:
    """A number of the form; None for an empty field."""
    text = form.get(name)
    if not text:
        return None
    least, most = RANGES[name]
    try:
        number = Decimal(text) if len(text) <= 20 else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or not least <= number <= most:
        raise Unprocessable(f"this must be a number from {least} to {most}", field=name)
    return float(number)


def json_of_field(form: FormData, name: str, kind: type[Kind]) -> Kind | None:
    """The JSON in a field; None for an empty one."""
    text = form.raw(name).strip()
    if not text:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise Unprocessable("this is not JSON", field=name) from None
    if not isinstance(value, kind):
        raise Unprocessable(f"this must be a JSON {'list' if kind is list else 'object'}", field=name)
    return value
