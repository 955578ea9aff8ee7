"""`admin-integration-secrets`, `admin-integration-settings`, and what `admin-customers` shows of both."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
import msgspec
import pytest
from quart import Quart

from kaixu.accounts.shared_fields import take_customer_settings
from kaixu.catalog.catalog import Catalog, IntegrationState
from kaixu.config.sections import IntegrationSection
from kaixu.edge.services import Services
from kaixu.ops.sealing import about_secret, sealer_of
from kaixu.plugin.errors import NotFound, TicketClosed
from kaixu.plugin.operation import Free, Integration, Operation
from kaixu.plugin.secret import Secret
from tests.support.money import customer, virtual_key

from .conftest import Operator

TOKEN = "nfp_0123456789-token"


class StripeCustomer(msgspec.Struct):
    stripe_customer_id: str | None = None
    auto_topup_enabled: bool = False
    auto_topup_threshold_cents: Annotated[int, msgspec.Meta(ge=0)] | None = None


PUSH = Integration("push", [], secrets=[Secret("token", title="Netlify token", shown_as="has_netlify_token")])
STRIPE = Integration("stripe", [], customer=StripeCustomer, unique=("stripe_customer_id",))


def switch_on(services: Services, *integrations: Integration) -> None:
    """Make these the integrations of the catalog in force."""
    states = [IntegrationState(one.name, IntegrationSection(), "on", None, one, None, {}) for one in integrations]
    services.current.catalog = Catalog(
        integrations={state.name: state for state in states},
        operations={one.name: (state, one) for state in states for one in integrations_of(state).operations},
    )


def integrations_of(state: IntegrationState) -> Integration:
    """The integration of a state."""
    assert state.integration is not None
    return state.integration


@pytest.fixture
def on(services: Services) -> None:
    switch_on(services, PUSH, STRIPE)


async def actions(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    rows = await pool.fetch("select action, before, after, meta from kaixu.audit_event order by id")
    return [tuple(row) for row in rows]


@pytest.mark.usefixtures("on")
async def test_a_secret_is_set_shown_and_cleared_but_never_read(
    operator: Operator, services: Services, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool)
    path, named = "admin-integration-secrets", {"customer_id": customer_id, "integration": "push", "name": "token"}
    unset = {
        "integration": "push", "name": "token", "title": "Netlify token", "is_set": False, "meta": {}, "set_at": None,
        "set_by": None,
    }  # fmt: skip
    reply = await operator.get(f"{path}?customer_id={customer_id}")
    assert reply == {"ok": True, "customer_id": customer_id, "secrets": [unset]}
    reply = await operator.send("PUT", path, named | {"value": TOKEN, "meta": {"type": "pat"}})
    assert (reply["secret"]["is_set"], reply["secret"]["meta"]) == (True, {"type": "pat"})
    shown = await operator.get(f"{path}?customer_id={customer_id}")
    assert shown["secrets"] == [reply["secret"]]
    assert TOKEN not in f"{reply}{shown}"
    sealed = await pool.fetchval("select sealed from kaixu.integration_secret")
    assert sealer_of(services.secrets).open(sealed, about_secret("push", customer_id, "token")).decode() == TOKEN
    [listed] = (await operator.get("admin-customers"))["customers"]
    assert listed["has_netlify_token"] is True
    # An integration that is off keeps it: operators see it, and may remove it.
    switch_on(services)
    [kept] = (await operator.get(f"{path}?customer_id={customer_id}"))["secrets"]
    assert (kept["title"], kept["is_set"]) == (None, True)
    assert (await operator.ask("PUT", path, named | {"value": "another-token"}))[0] == 404
    assert (await operator.get("admin-customers"))["customers"][0]["has_netlify_token"] is True
    assert (await operator.send("DELETE", path, named))["cleared"] is True
    assert (await operator.get("admin-customers"))["customers"][0]["has_netlify_token"] is False
    assert (await operator.send("DELETE", path, named))["cleared"] is False
    meta = {"integration": "push", "name": "token"}
    assert await actions(pool) == [("SECRET_SET", None, None, meta), ("SECRET_CLEAR", None, None, meta)]


@pytest.mark.usefixtures("on")
async def test_settings_are_shown_changed_and_reset(operator: Operator, services: Services, pool: asyncpg.Pool) -> None:
    customer_id = await customer(pool)
    path = "admin-integration-settings"
    defaults = {"stripe_customer_id": None, "auto_topup_enabled": False, "auto_topup_threshold_cents": None}
    shown: dict[str, Any] = {"integration": "stripe", "settings": defaults, "own": [], "unused": {}, "problem": None}
    assert await operator.get(f"{path}?customer_id={customer_id}") == {
        "ok": True, "customer_id": customer_id, "integrations": [shown],
    }  # fmt: skip
    named = {"customer_id": str(customer_id), "integration": "stripe"}
    changes = {"stripe_customer_id": "cus_7", "auto_topup_enabled": True, "auto_topup_threshold_cents": 500}
    reply = await operator.send("PATCH", path, named | {"settings": changes})
    assert reply == {"ok": True, "customer_id": customer_id, **shown, "settings": changes, "own": sorted(changes)}
    [listed] = (await operator.get("admin-customers"))["customers"]
    assert {name: listed[name] for name in changes} == changes
    reply = await operator.send("PATCH", path, named | {"reset": ["auto_topup_enabled"]})
    assert (reply["settings"]["auto_topup_enabled"], reply["own"]) == (
        False, ["auto_topup_threshold_cents", "stripe_customer_id"],
    )  # fmt: skip
    assert await actions(pool) == [
        ("INTEGRATION_SETTINGS", defaults, changes, {"integration": "stripe"}),
        (
            "INTEGRATION_SETTINGS",
            {"auto_topup_enabled": True},
            {"auto_topup_enabled": False},
            {"integration": "stripe"},
        ),
    ]
    # Of an integration that is off they are kept.
    switch_on(services)
    [kept] = (await operator.get(f"{path}?customer_id={customer_id}"))["integrations"]
    assert kept["unused"] == {"stripe_customer_id": "cus_7", "auto_topup_threshold_cents": 500}
    assert (await operator.ask("PATCH", path, named | {"settings": {"auto_topup_enabled": True}}))[0] == 404


@pytest.mark.usefixtures("on")
async def test_bad_requests_are_refused_and_change_nothing(operator: Operator, pool: asyncpg.Pool) -> None:
    one, other = await customer(pool), await customer(pool)
    secrets, settings = "admin-integration-secrets", "admin-integration-settings"
    named = {"customer_id": one, "integration": "push", "name": "token"}
    stripe = {"customer_id": one, "integration": "stripe"}
    await operator.send("PATCH", settings, stripe | {"customer_id": other, "settings": {"stripe_customer_id": "cus_1"}})
    refused: list[tuple[str, str, Any, int]] = [
        ("GET", secrets, None, 400),
        ("GET", f"{secrets}?customer_id=99", None, 404),
        ("PUT", secrets, named, 422),
        ("PUT", secrets, named | {"value": ""}, 422),
        ("PUT", secrets, named | {"value": 5}, 422),
        ("PUT", secrets, named | {"value": "x" * 20_000}, 422),
        ("PUT", secrets, named | {"value": TOKEN, "meta": {"again": TOKEN}}, 422),
        ("PUT", secrets, named | {"value": TOKEN, "meta": []}, 422),
        ("PUT", secrets, named | {"value": TOKEN, "name": "password"}, 404),
        ("PUT", secrets, named | {"value": TOKEN, "integration": 5}, 422),
        ("PUT", secrets, named | {"value": TOKEN, "customer_id": 99}, 404),
        ("PUT", secrets, named | {"value": TOKEN, "valu": 1}, 400),
        ("DELETE", secrets, named | {"customer_id": 99}, 404),
        ("GET", f"{settings}?customer_id=99", None, 404),
        ("PATCH", settings, stripe, 400),
        ("PATCH", settings, stripe | {"settings": {"stripe_customer_id": "cus_1"}}, 409),
        ("PATCH", settings, stripe | {"settings": {"auto_topup_enabled": "yes"}}, 422),
        ("PATCH", settings, stripe | {"settings": {"auto_topup_threshold_cents": -1}}, 422),
        ("PATCH", settings, stripe | {"settings": {"nonsense": 1}}, 422),
        ("PATCH", settings, stripe | {"reset": [1]}, 422),
        ("PATCH", settings, stripe | {"reset": ["nonsense"]}, 422),
        ("PATCH", settings, stripe | {"integration": "push", "settings": {"a": 1}}, 404),
        ("PATCH", settings, stripe | {"customer_id": 99, "settings": {"auto_topup_enabled": True}}, 404),
    ]
    for method, path, body, status in refused:
        answer = await operator.ask(method, path, body)
        assert answer[0] == status, (method, path, body, answer)
        assert TOKEN not in str(answer[1])
    assert await pool.fetchval("select count(*) from kaixu.integration_secret") == 0
    assert [row[0] for row in await actions(pool)] == ["INTEGRATION_SETTINGS"]


class Note(msgspec.Struct):
    token: str | None = None
    text: str | None = None


KEPT: list[Any] = []


async def connect(call: Any) -> Note:
    KEPT.append(call)
    await call.secrets.put("token", call.body.token, meta={"by": call.key_id})
    await call.change_settings({"stripe_customer_id": call.body.text})
    return Note(text=(await call.settings()).stripe_customer_id)


async def deploy(call: Any) -> Note:
    token = await call.secrets.get("token")
    raise NotFound(f"no site for {token}") if call.body.text is None else RuntimeError(f"no site for {token}")


async def late(call: Any) -> Note:
    errors = []
    for use in (KEPT[0].secrets.get("token"), KEPT[0].settings(), KEPT[0].secrets.clear("token")):
        try:
            await use
        except TicketClosed as error:
            errors.append(error.code)
    return Note(token=str(await call.secrets.get("token")), text=" ".join(errors))


async def test_handlers_reach_what_is_their_customers_and_only_during_the_call(
    app: Quart, services: Services, pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    free = Free("a test")
    hands = [Operation(f"hand.{one.__name__}", one, Note, free) for one in (connect, deploy, late)]
    hand = Integration("hand", hands, secrets=PUSH.secrets, customer=StripeCustomer, unique=("stripe_customer_id",))
    switch_on(services, hand)
    services.gate.databases.pool = pool
    keys = [(await virtual_key(pool, await customer(pool)))[1] for _ in range(2)]

    async def ask(key: str, what: str, **body: str) -> tuple[int, Any]:
        client = Operator(app, authorization=f"Bearer {key}")
        response = await client.client.open(f"/v1/hand/{what}", method="POST", headers=client.headers, json=body)
        return response.status_code, await response.get_json(force=True)

    KEPT.clear()
    assert await ask(keys[0], "connect", token=TOKEN, text="cus_1") == (200, {"token": None, "text": "cus_1"})
    assert (await ask(keys[1], "connect", token="another", text="cus_1"))[0] == 409
    status, reply = await ask(keys[0], "deploy")
    assert (status, reply["error"]) == (404, "no site for …")
    status, reply = await ask(keys[0], "deploy", text="a bug")
    assert (status, reply["code"]) == (502, "INTEGRATION_FAILED")
    assert TOKEN not in f"{caplog.text}{services.monitor._waiting}{reply}"
    assert "RuntimeError: no site for …" in caplog.text
    closed = " ".join(["TICKET_CLOSED"] * 3)
    assert await ask(keys[1], "late") == (200, {"token": "another", "text": closed})
    assert await pool.fetchval("select count(*) from kaixu.integration_secret") == 2
    audit = await pool.fetch("select t::text from kaixu.audit_event t")
    assert TOKEN not in f"{audit}"


async def test_fields_of_payments_are_kept_shown_and_changed_while_no_integration_declares_them(
    operator: Operator, services: Services, pool: asyncpg.Pool
) -> None:
    switch_on(services)
    one, other = [
        (await operator.send("POST", "admin-customers", {"email": f"{name}@example.com"}))["customer"]["id"]
        for name in ("ada", "bob")
    ]
    path = "admin-customers?customer_id="
    defaults = {
        "stripe_customer_id": None, "stripe_subscription_id": None, "stripe_current_period_end": None,
        "auto_topup_enabled": False, "auto_topup_threshold_cents": None, "auto_topup_amount_cents": None,
    }  # fmt: skip
    [listed, _] = (await operator.get("admin-customers"))["customers"]
    assert listed.items() >= defaults.items()
    assert await pool.fetchval("select count(*) from kaixu.integration_setting") == 0
    changed = await operator.send("PATCH", f"{path}{one}", {"stripe_customer_id": "cus_1", "auto_topup_enabled": True})
    assert (changed["customer"]["stripe_customer_id"], changed["customer"]["auto_topup_enabled"]) == ("cus_1", True)
    # The same again changes nothing; nobody else can have it; nonsense is refused.
    await operator.send("PATCH", f"{path}{one}", {"stripe_customer_id": "cus_1"})
    refused = await operator.ask("PATCH", f"{path}{other}", {"stripe_customer_id": "cus_1", "plan_name": "pro"})
    assert (refused[0], refused[1]["code"], refused[1]["field"]) == (409, "CONFLICT", "stripe_customer_id")
    assert (await operator.ask("PATCH", f"{path}{one}", {"auto_topup_amount_cents": "much"}))[0] == 422
    assert (await operator.ask("PATCH", f"{path}99", {"stripe_customer_id": "cus_9"}))[0] == 404
    assert (await operator.ask("PATCH", f"{path}{one}", {}))[0] == 400
    await operator.send("PATCH", f"{path}{one}", {"stripe_customer_id": None, "auto_topup_enabled": False})
    audited = [row for row in await actions(pool) if row[0] == "INTEGRATION_SETTINGS"]
    assert [row[1:3] for row in audited] == [
        (
            {"stripe_customer_id": None, "auto_topup_enabled": False},
            {"stripe_customer_id": "cus_1", "auto_topup_enabled": True},
        ),
        (
            {"stripe_customer_id": "cus_1", "auto_topup_enabled": True},
            {"stripe_customer_id": None, "auto_topup_enabled": False},
        ),
    ]
    assert await pool.fetchval("select plan_name from kaixu.customer where id = $1", other) == "starter"
    # What only the integration can validate is refused while it is off.
    state = IntegrationState("stripe", IntegrationSection(), "off", "a variable is missing", None, None, {})
    services.current.catalog = Catalog(integrations={"stripe": state})
    named = {"customer_id": one, "integration": "stripe", "settings": {"auto_topup_enabled": True}}
    refused = await operator.ask("PATCH", "admin-integration-settings", named)
    assert (refused[0], refused[1]["code"]) == (501, "NOT_CONFIGURED")


@pytest.mark.parametrize("declares", [True, False], ids=["declared", "not declared"])
async def test_what_gateways_of_the_last_release_still_write_is_moved(
    operator: Operator, services: Services, pool: asyncpg.Pool, declares: bool
) -> None:
    switch_on(services, *([STRIPE] if declares else []))
    customer_id = await customer(pool)
    await pool.execute(
        "update kaixu.customer set stripe_customer_id = 'cus_1', auto_topup_enabled = true,"
        " auto_topup_amount_nusd = 5000000000 where id = $1",
        customer_id,
    )
    async with pool.acquire() as connection:
        assert await take_customer_settings(connection, services.catalog.declared) == 1
        assert await take_customer_settings(connection, services.catalog.declared) == 0
    [listed] = (await operator.get("admin-customers"))["customers"]
    shown = listed["stripe_customer_id"], listed["auto_topup_enabled"], listed["auto_topup_amount_cents"]
    assert shown == ("cus_1", True, 500)
    columns = "select (stripe_customer_id, auto_topup_enabled, auto_topup_amount_nusd)::text from kaixu.customer"
    assert await pool.fetchval(columns) == "(,f,)"


@pytest.mark.usefixtures("on")
async def test_fields_of_the_customer_that_an_integration_declares_are_its_settings(
    operator: Operator, services: Services, pool: asyncpg.Pool
) -> None:
    given = {
        "email": "ada@example.com", "stripe_customer_id": " cus_1 ", "auto_topup_enabled": True,
        "auto_topup_threshold_cents": "250", "auto_topup_amount_cents": 900,
    }  # fmt: skip
    fields = {
        "stripe_customer_id": "cus_1", "auto_topup_enabled": True, "auto_topup_threshold_cents": 250,
        "auto_topup_amount_cents": 900,
    }  # fmt: skip
    switch_on(services)
    made = (await operator.send("POST", "admin-customers", given))["customer"]
    assert made.items() >= fields.items()
    # Without an integration they are kept among the settings of `stripe`; one of that name finds them there.
    kept = await pool.fetchrow("select integration, settings from kaixu.integration_setting")
    assert tuple(kept or ()) == ("stripe", fields)
    switch_on(services, STRIPE)
    [listed] = (await operator.get("admin-customers"))["customers"]
    assert listed.items() >= fields.items()
    invoice = f"admin-invoices?customer_id={made['id']}"
    await operator.send("POST", invoice)
    draft = await operator.get(invoice)
    assert draft["snapshot"]["customer"]["stripe_customer_id"] == "cus_1"
    assert draft["snapshot"]["auto_topup"] == {"enabled": True, "threshold_cents": 250, "amount_cents": 900}
    # From now on older clients change the settings.
    path = f"admin-customers?customer_id={made['id']}"
    changed = await operator.send("PATCH", path, {"stripe_customer_id": "cus_2", "auto_topup_threshold_cents": None})
    assert (changed["customer"]["stripe_customer_id"], changed["customer"]["auto_topup_threshold_cents"]) == (
        "cus_2", None,
    )  # fmt: skip
    changed = await operator.send("PATCH", path, {"plan_name": "pro", "auto_topup_enabled": False})
    assert (changed["customer"]["plan_name"], changed["customer"]["auto_topup_enabled"]) == ("pro", False)
    shown = await operator.get(f"admin-integration-settings?customer_id={made['id']}")
    assert shown["integrations"][0]["settings"] == {
        "stripe_customer_id": "cus_2", "auto_topup_enabled": False, "auto_topup_threshold_cents": None,
    }  # fmt: skip
    other = await operator.ask("POST", "admin-customers", {"email": "bob@example.com", "stripe_customer_id": "cus_2"})
    assert (other[0], other[1]["code"]) == (409, "CONFLICT")
    for bad in ({"auto_topup_enabled": "maybe"}, {"stripe_customer_id": 5}, {"auto_topup_threshold_cents": -1}):
        assert (await operator.ask("PATCH", path, {"plan_name": "other", **bad}))[0] == 422
    assert (await operator.ask("PATCH", path, {"stripe_customer_id": "cus_3", "nonsense": 1}))[0] == 400
    listed = (await operator.get("admin-customers"))["customers"]
    assert [(one["email"], one["plan_name"], one["stripe_customer_id"]) for one in listed] == [
        ("ada@example.com", "pro", "cus_2")
    ]
