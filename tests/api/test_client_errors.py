"""`client-error-report`: stored in the monitor, cut to size, rate limited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr
from quart import Quart

from kaixu.edge.services import Services
from kaixu.gateway.app import create_app
from kaixu.ops.events import MonitorEvent
from tests.api.admin.conftest import Operator, app, seen, services, stranger

__all__ = ["app", "seen", "services", "stranger"]


async def test_a_report_becomes_a_monitor_event(stranger: Operator, seen: Sequence[MonitorEvent]) -> None:
    report: dict[str, Any] = {
        "client": {"url": "https://app.test/", "lineno": 3},
        "error": {"name": "TypeError", "message": "x is undefined", "stack": "at main"},
        "context": {"big": "y" * 30_000},
    }
    body = await stranger.send("POST", "client-error-report", report)
    assert body["ok"] is True
    [event] = seen
    assert (event.kind, event.level, event.http_status) == ("client_error", "error", 200)
    assert (event.error_code, event.error_message, event.request_id) == (
        "TypeError",
        "x is undefined",
        body["request_id"],
    )
    assert event.extra["client"] == {"url": "https://app.test/", "lineno": 3}
    assert event.extra["stack"] == "at main"
    assert event.extra["context"]["truncated"] is True
    assert len(event.extra["context"]["preview"]) == 20_000


async def test_without_client_the_body_is_the_client_and_an_empty_body_is_one(
    stranger: Operator, seen: Sequence[MonitorEvent]
) -> None:
    await stranger.send("POST", "client-error-report", {"message": "odd"})
    assert (await stranger.ask("POST", "client-error-report", raw=b""))[0] == 200
    assert [event.extra for event in seen] == [{"client": {"message": "odd"}}, {"client": {}}]


async def test_what_is_no_report_is_refused(stranger: Operator) -> None:
    assert (await stranger.ask("POST", "client-error-report", raw=b"{"))[0] == 400
    assert (await stranger.ask("POST", "client-error-report", raw=b"[]"))[0] == 400
    assert (await stranger.ask("POST", "client-error-report", {"raw": "z" * 250_001}))[0] == 413


async def test_one_address_sends_only_so_many(stranger: Operator) -> None:
    answers = [(await stranger.ask("POST", "client-error-report", {}))[0] for _ in range(31)]
    assert answers == [200] * 30 + [429]


async def test_a_token_is_required_if_the_operator_set_one(services: Services) -> None:
    services.settings = services.settings.model_copy(update={"client_error_token": SecretStr("t0ken")})
    app: Quart = create_app(services)
    assert (await Operator(app).ask("POST", "client-error-report", {}))[0] == 403
    assert (await Operator(app, **{"x-kaixu-error-token": "t0ken"}).ask("POST", "client-error-report", {}))[0] == 200
