"""A given field changes, null clears the field or leaves it, an absent field stays."""

from __future__ import annotations

import msgspec

from kaixu.accounts import fields
from kaixu.accounts.changes import Field, changed, read, settings_of

FIELDS = {
    "plan_name": Field("plan", lambda value, name: fields.text(value, name, 9), clears=False),
    "cap_cents": Field("cap", fields.cents),
}


class Settings(msgspec.Struct, frozen=True):
    """Two settings."""

    plan: str
    cap: int | None


class Row(Settings, frozen=True):
    """And what is not one."""

    id: int


def test_given_fields_are_read_by_column() -> None:
    assert read(FIELDS, {"plan_name": "pro", "cap_cents": None, "other": 1}) == {"plan": "pro", "cap": None}
    assert read(FIELDS, {"plan_name": None}) == {}


def test_the_settings_of_a_row_take_the_values() -> None:
    assert settings_of(Settings, Row("starter", 7, 1), {"cap": None}) == Settings("starter", None)


def test_what_differs_is_named_as_clients_name_it() -> None:
    assert changed(FIELDS, Row("starter", 7, 1), Row("starter", 8, 1)) == ["cap_cents"]
