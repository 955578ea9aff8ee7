"""Options of commands and the wire fields that they set: values, and names in errors."""

from __future__ import annotations

import re
from typing import Any

NONE = "none"

#: Wire field → the option that sets it.
OPTIONS = {
    "alert_mail": "--alert-mail",
    "alert_thresholds": "--alert-thresholds",
    "allowed_collections": "--collections",
    "allowed_models": "--models",
    "allowed_providers": "--providers",
    "day_cap_cents": "--day-cap-cents",
    "end_user_cap_cents": "--end-user-cap-cents",
    "expires_at": "--expires",
    "group_id": "--group",
    "label": "--label",
    "limits": "--limits",
    "max_devices": "--seats",
    "max_devices_per_key": "--seats",
    "max_vectors": "--max-vectors",
    "month": "--month",
    "monthly_cap_cents": "--cap-cents",
    "plan_name": "--plan",
    "role": "--role",
    "rpd_limit": "--rpd",
    "rpm_limit": "--rpm",
    "tpm_limit": "--tpm",
}
FIELD = re.compile("`(" + "|".join(OPTIONS) + ")`")


def with_option_names(text: str) -> str:
    """An error of the admin API for the command line: it names options instead of fields."""
    return FIELD.sub(lambda found: f"`{OPTIONS[found[1]]}`", text)


def read_options(options: dict[str, Any], *, clearable: frozenset[str]) -> dict[str, Any]:
    """The wire fields of the options that were given; `none` becomes null where the field is `clearable`."""
    return {
        name: None if name in clearable and isinstance(value, str) and value.strip().lower() == NONE else value
        for name, value in options.items()
        if value is not None
    }
