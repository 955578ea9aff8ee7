"""No body and no query makes an admin route answer 500."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.size import examples

from .conftest import Operator

FIELDS = st.sampled_from(
    [
        "password", "customer_id", "key_id", "api_key_id", "install_id", "revoked", "email", "plan_name", "monthly_cap_cents",
        "is_active", "max_devices_per_key", "require_install_id", "allowed_providers", "allowed_models",
        "stripe_customer_id", "auto_topup_enabled", "auto_topup_threshold_cents", "label", "role", "rpm_limit", "rpd_limit",
        "max_devices", "amount_cents", "month", "idempotency_key", "ttl_seconds", "alert_thresholds", "alert_mail", "url", "type",
        "before_id",
    ]
)  # fmt: skip
LIKELY = st.sampled_from(
    [
        "1",
        1,
        True,
        "a@example.com",
        "2026-05",
        "owner",
        "\x00",
        "\ud800",
        -1,
        2**70,
        1e308,
        "{}",
        {"*": ["*"]},
        ["a"],
        "'",
    ]
)
VALUES = LIKELY | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
BODIES = (
    st.dictionaries(FIELDS | st.text(), VALUES, max_size=8).map(lambda body: json.dumps(body).encode()) | st.binary()
)
ROUTES = st.sampled_from(
    [
        ("POST", "admin-login"),
        ("POST", "admin-customers"),
        ("PATCH", "admin-customers?customer_id=1"),
        ("POST", "admin-keys"),
        ("PATCH", "admin-keys?key_id=1"),
        ("POST", "admin-topup"),
        ("PATCH", "admin-devices"),
        ("POST", "session-token"),
    ]
)
HARD = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
async def inhabited(operator: Operator) -> Operator:
    """An operator, with customer 1 and key 1 to change."""
    await operator.send("POST", "admin-customers", {"email": "first@example.com"})
    await operator.send("POST", "admin-keys", {"customer_id": 1})
    return operator


@settings(max_examples=examples(300), deadline=None, suppress_health_check=HARD)
@given(route=ROUTES, body=BODIES)
async def test_no_body_breaks_a_route(inhabited: Operator, route: tuple[str, str], body: bytes) -> None:
    status, reply = await inhabited.ask(*route, raw=body)
    assert status < 500, reply
    assert status == 200 or {"error", "code", "request_id"} <= set(reply)


@settings(max_examples=examples(150), deadline=None, suppress_health_check=HARD)
@given(
    route=st.sampled_from(["admin-customers", "admin-keys", "admin-usage", "admin-devices"]),
    method=st.sampled_from(["GET", "PATCH", "PUT", "DELETE"]),
    name=st.sampled_from(
        ["customer_id", "key_id", "rotate_key_id", "reveal_key_id", "api_key_id", "limit", "month", "before_id"]
    ),
    value=st.text() | st.integers().map(str),
)
async def test_no_query_breaks_a_route(inhabited: Operator, route: str, method: str, name: str, value: str) -> None:
    query = urlencode({"customer_id": "1", name: value.encode("utf-8", "surrogatepass")})
    status, reply = await inhabited.ask(method, f"{route}?{query}", raw=b'{"revoked": true, "is_active": true}')
    assert status < 500, reply
