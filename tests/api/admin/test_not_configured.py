"""The endpoints of integrations that are not there yet: 501, for those who may use the real ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from quart import Quart

from kaixu.api.not_configured import OPERATORS
from kaixu.edge.services import Services
from kaixu.edge.tokens import make_session_token
from kaixu.ops.events import MonitorEvent

from .conftest import Operator

ROUTES = [route for ones in OPERATORS.values() for route in ones]


@pytest.mark.parametrize(("method", "name"), ROUTES)
async def test_operators_learn_that_it_is_not_configured(
    operator: Operator, stranger: Operator, method: str, name: str
) -> None:
    status, body = await operator.ask(method, name)
    assert (status, body["code"]) == (501, "NOT_CONFIGURED")
    assert body.keys() == {"error", "code", "hint", "request_id"}
    status, body = await stranger.ask(method, name)
    assert (status, body["code"]) == (401, "UNAUTHENTICATED")


async def test_a_top_up_needs_a_key(operator: Operator, app: Quart, services: Services) -> None:
    customer = await operator.send("POST", "admin-customers", {"email": "a@example.com"})
    made = await operator.send("POST", "admin-keys", {"customer_id": customer["customer"]["id"]})
    secret = services.secrets.jwt_secret
    session = make_session_token(
        secret, key_id=made["api_key"]["id"], customer_id=customer["customer"]["id"], key_last4="abcd", ttl_s=60
    )
    body = {"amount_cents": 100}
    for credential, expected in (
        (made["api_key"]["key"], (501, "NOT_CONFIGURED")),
        (session, (501, "NOT_CONFIGURED")),
        ("kx_live_" + "a" * 48, (401, "UNAUTHENTICATED")),
        ("nonsense", (401, "UNAUTHENTICATED")),
    ):
        client = Operator(app, authorization=f"Bearer {credential}")
        status, reply = await client.ask("POST", "user-topup-checkout", body)
        assert (status, reply["code"]) == expected
    assert (await Operator(app).ask("POST", "user-topup-checkout", body))[0] == 401


async def test_the_webhook_of_stripe_is_public_bounded_and_not_recorded(
    stranger: Operator, seen: Sequence[MonitorEvent]
) -> None:
    statuses = [(await stranger.ask("POST", "stripe-webhook", raw=b"{}"))[0] for _ in range(125)]
    assert statuses == [501] * 120 + [429] * 5
    assert [event.http_status for event in seen if event.http_status == 501] == []
    assert (await stranger.ask("POST", "stripe-webhook", raw=b"x" * 1_100_000))[0] == 413


async def test_a_look_is_no_failure_in_the_monitor(operator: Operator, seen: Sequence[MonitorEvent]) -> None:
    for method, name in ROUTES:
        if method == "GET":
            assert (await operator.ask(method, name))[0] == 501
    assert not seen
