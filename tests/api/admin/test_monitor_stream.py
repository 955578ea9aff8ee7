"""The live tail of monitor events: who may go on watching."""

from __future__ import annotations

import pytest

from kaixu.accounts.operator_identity import Identity
from kaixu.api.admin import monitor_stream
from kaixu.config.operators_section import OperatorsSection
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services


async def test_a_live_tail_that_a_password_opened_ends_with_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_stream, "CHECK_S", 0.0)
    owner = Identity(actor="admin", role="owner", method="admin_password")
    request = IncomingRequest("GET", "/", {}, b"", "r", "192.0.2.1", operator=owner)
    may_watch = monitor_stream.permission(services, request)
    assert await may_watch()
    services.current.operators = OperatorsSection(admin_password=False)
    assert not await may_watch()
