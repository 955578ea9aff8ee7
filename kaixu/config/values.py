"""Value types of kaixu.yaml, and the base class of its sections."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from .processes import MOST_PROCESSES, processes_or_auto


def is_number(value: object) -> object:
    """Refuse booleans, which Python treats as numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def in_seconds(value: object) -> object:
    """Seconds as a number, or a number with a unit."""
    if isinstance(value, str) and (match := DURATION.fullmatch(value.strip())):
        return float(match[1]) * SECONDS[match[2]]
    if isinstance(value, str):
        raise ValueError("must be seconds, or a number with s, m, h or d")
    return is_number(value)


def zone_name(value: str) -> str:
    """Refuse names that are no time zone of the IANA database."""
    if ("/" not in value and value != "UTC") or value not in available_timezones():
        raise ValueError("must be UTC, or an IANA time zone such as Europe/Berlin")
    return value


#: A duration with a unit.
DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Number = BeforeValidator(is_number)
Whole = Annotated[int, Number]
Seconds = Annotated[float, Number, Field(gt=0, le=7200)]
Dollars = Annotated[Decimal, Number]
Duration = Annotated[
    float,
    BeforeValidator(in_seconds),
    Field(gt=0, le=30 * 86_400),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{DURATION.pattern}$"}]}),
]
Processes = Annotated[
    int | Literal["auto"],
    BeforeValidator(processes_or_auto),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MOST_PROCESSES}]}),
]
TimeZone = Annotated[str, AfterValidator(zone_name), Field(max_length=100)]
FieldName = Annotated[str, Field(min_length=1, max_length=200)]
#: A provider's name in replies, without a slash: `provider/model` is split at the first one.
PublicName = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x20\x7f/][^\x00-\x1f\x7f/]*$")]
PluginName = Annotated[str, Field(min_length=1, max_length=400)]


class Section(BaseModel):
    """A part of kaixu.yaml. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
