"""Checks requests to the stand-in against the types of Stripe's own library: unknown names, wrong values, missing ones."""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired, Union, get_args, get_origin

import stripe.params
import stripe.params.checkout

#: The parameters of each request that the stand-in answers. What a library adds is not among them.
TYPES: dict[str, Any] = {
    "POST /v1/checkout/sessions": stripe.params.checkout.SessionCreateParams,
    "GET /v1/checkout/sessions/{id}": stripe.params.checkout.SessionRetrieveParams,
    "POST /v1/checkout/sessions/{id}/expire": stripe.params.checkout.SessionExpireParams,
    "POST /v1/customers": stripe.params.CustomerCreateParams,
    "GET /v1/customers/{id}": stripe.params.CustomerRetrieveParams,
    "POST /v1/payment_intents": stripe.params.PaymentIntentCreateParams,
    "GET /v1/payment_intents": stripe.params.PaymentIntentListParams,
    "GET /v1/payment_intents/{id}": stripe.params.PaymentIntentRetrieveParams,
    "POST /v1/payment_methods/{id}/detach": stripe.params.PaymentMethodDetachParams,
    "GET /v1/disputes": stripe.params.DisputeListParams,
    "GET /v1/events": stripe.params.EventListParams,
}

#: Options of a request in Python, which are sent as headers.
OPTIONS = frozenset(
    [
        "api_key",
        "stripe_version",
        "stripe_account",
        "stripe_context",
        "max_network_retries",
        "idempotency_key",
        "content_type",
        "headers",
    ]
)
NAMES = {"StripeContext": str, "UntypedStripeObject": dict, "Mapping": Mapping}


def nested(pairs: Iterable[tuple[str, str]]) -> Any:
    """Form fields such as `line_items[0][price_data][currency]` as nested values."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        keys = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        inside = found
        for key in keys[:-1]:
            inside = inside.setdefault(key, {})
        last = keys[-1] or str(len(inside))
        assert last not in inside, f"{name} is sent twice"
        inside[last] = value
    return lists(found)


def lists(value: Any) -> Any:
    """Mappings of 0, 1, 2, … as lists."""
    if not isinstance(value, dict):
        return value
    inner = {key: lists(one) for key, one in value.items()}
    if inner and list(inner) == [str(at) for at in range(len(inner))]:
        return list(inner.values())
    return inner


def problems(request: str, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the parameters of a request."""
    return list(of_type(values, TYPES[request], request))


def of_type(value: Any, kind: Any, where: str) -> Iterable[str]:
    """What is wrong with a value, which is text, a list or a mapping."""
    origin = get_origin(kind)
    if kind is Any:
        return
    if hasattr(kind, "__required_keys__"):
        yield from of_fields(value, kind, where)
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{where} cannot be {value!r}"
    elif origin in (Union, types.UnionType):
        choices = [one for one in get_args(kind) if one is not type(None)]
        known = [value for one in choices if get_origin(one) is Literal for value in get_args(one)]
        if any(known) and str in choices:
            choices.remove(str)  # the library allows every text beside the known ones
        wrong = [list(of_type(value, one, where)) for one in choices]
        if all(wrong):
            yield from min(wrong, key=len)
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where} must be a list"
            return
        for at, one in enumerate(value):
            yield from of_type(one, get_args(kind)[0], f"{where}[{at}]")
    elif origin is dict:
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            yield f"{where} must be texts by name"
        elif any(len(one) > 500 for one in value.values()) or len(value) > 50:
            yield f"{where} has too much in it"
    elif kind is bool:
        if value not in ("true", "false"):
            yield f"{where} must be true or false, not {value!r}"
    elif kind is int:
        if not isinstance(value, str) or not re.fullmatch(r"-?\d+", value):
            yield f"{where} must be a whole number, not {value!r}"
    elif kind is str and not isinstance(value, str):
        yield f"{where} must be a text"


def of_fields(value: Any, kind: Any, where: str) -> Iterable[str]:
    """What is wrong with a mapping."""
    if not isinstance(value, dict):
        yield f"{where} must be a mapping"
        return
    module = vars(sys.modules[kind.__module__])
    hints = typing.get_type_hints(kind, globalns=module | vars(typing) | NAMES, include_extras=True)
    for name, inner in value.items():
        if name not in hints or name in OPTIONS:
            yield f"{where} has no parameter {name!r}"
            continue
        hint = hints[name]
        yield from of_type(inner, get_args(hint)[0] if get_origin(hint) is NotRequired else hint, f"{where}.{name}")
    for name, hint in hints.items():
        if name not in value and name not in OPTIONS and get_origin(hint) is not NotRequired:
            yield f"{where} needs {name!r}"
