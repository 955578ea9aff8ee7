"""Every door says how often somebody may come; a new one that does not is found here."""

from __future__ import annotations

from typing import get_args

import pytest

from kaixu.api.operations import operation_door
from kaixu.edge.exchange import Door, Rate
from kaixu.edge.services import Services
from kaixu.gateway.app import Application
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture

#: Who needs no key and no login, and why that is bounded all the same.
OPEN = {"/api/health", "/.netlify/functions/health"}


def doors_of(app: Application, services: Services) -> dict[str, Door]:
    """All doors, also those that are found by what their paths begin with."""
    batches = app.doors.otherwise("/v1/batches")
    assert batches is not None
    return {**app.doors.by_path, "/v1/batches": batches, "/v1/<integration>": operation_door(services)}


def test_every_door_has_a_rate(app: Application, services: Services) -> None:
    doors = doors_of(app, services)
    assert len(doors) > 20
    assert {path: door.rate for path, door in doors.items() if door.rate not in get_args(Rate)} == {}
    for path, door in doors.items():
        assert door.public == (door.rate in ("open", "address")), path


def test_every_view_has_a_rate_and_asks_for_what_it_needs(app: Application) -> None:
    for rule in app.url_map.iter_rules():
        path, variable, _ = rule.rule.partition("<")
        guard = app.guard_at(path + "x" if variable else path)
        assert guard is not None, rule.rule
        assert guard.rate in get_args(Rate), rule.rule
        assert (guard.credential is None) == (guard.rate in ("open", "address")), rule.rule
        assert (guard.rate == "open") == (rule.rule in OPEN), rule.rule


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a/b", "/api/session-token"])
def test_views_that_only_read_have_the_rate_of_readings(app: Application, path: str) -> None:
    guard = app.guard_at(path)
    assert guard is not None
    assert guard.rate == "reading"
