"""docs/operators/alerts.md names every type of alert, and shows the JSON as it is."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import get_args

import pytest

from kaixu.config.alerts_section import AlertType
from kaixu.reports.alert_messages import CUSTOMER_TYPES, WORDS, alert_json
from kaixu.store.alerts import RaisedAlert

from .pages import same_shape, text_of

PAGE = text_of("docs/operators/alerts.md")


def test_every_type_is_in_the_table_and_has_words() -> None:
    table = PAGE.split("## What is told\n")[1].split("\nEvery alert has")[0]
    told = [name for line in table.splitlines() for name in re.findall(r"`([A-Z_]+)`", line.split("|")[1] if "|" in line else "")]  # fmt: skip
    assert sorted(told) == sorted(get_args(AlertType))
    assert {*WORDS} == {*get_args(AlertType)}
    assert {*get_args(AlertType)} >= CUSTOMER_TYPES


def test_the_json_is_as_shown() -> None:
    shown = next(json.loads(one) for one in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    body = {"month": "2026-11", "pct": 86, "threshold_pct": 85, "cap_nusd": 2 * 10**9, "spent_nusd": 172 * 10**7}
    alert = RaisedAlert(
        7, "CAP_WARN_KEY", 2, 3, None, body, datetime.now(UTC), "ada@example.com", True, None, False, "3WjC", "laptop"
    )
    real = alert_json(alert)
    same_shape(shown, real)
    assert {**real, "created_at": None} == {**shown, "created_at": None}


@pytest.mark.parametrize("name", ["x-kaixu-signature", "webhook-id", "webhook-timestamp", "webhook-signature"])
def test_the_headers_are_told(name: str) -> None:
    assert f"`{name}`" in PAGE
