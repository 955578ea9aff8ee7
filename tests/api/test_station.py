"""The station: its offer, a month of it for operators, and what everybody may see of that."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quart import Quart

from kaixu.accounts.customer_deletion import delete_customer
from kaixu.api.station.public import station_routes
from kaixu.config.environment import Settings
from kaixu.config.price import cents_of_nusd
from kaixu.config.station import preview_of, station_of
from kaixu.config.station_section import StationSection
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.plugin.types import Usage
from kaixu.reports.station import ProviderShare, station_month
from kaixu.store.remote_checks import BRAIN, Look, claim_turns, write_look
from kaixu.store.rollups import fold_usage, set_reporting_zone
from tests.api.admin.conftest import Operator, app, operator, services
from tests.support.calls import billed
from tests.support.money import customer, virtual_key
from tests.support.size import examples

__all__ = ["app", "operator", "services"]

ADMIN, OVERVIEW, CONFIG = "admin-skyefuel-station", "skye-fuel-station-overview", "skye-fuel-station-config"
USAGE = Usage(input_tokens=1_000_000, output_tokens=200_000)
BRAIN_URL = "https://brain.example"


async def a_month(pool: asyncpg.Pool, customers: int = 3) -> int:
    """Customers with calls and a top-up; what they spent, in nano-dollars."""
    month = datetime.now(UTC).date().replace(day=1)
    for at in range(customers):
        customer_id = await customer(pool, plan_name=("pro", "starter")[at % 2])
        key_id, _ = await virtual_key(pool, customer_id)
        for _ in range(at + 1):
            await billed(pool, key_id, USAGE)
        await pool.fetch("select * from kaixu.top_up($1, $2, $3, $4, 'manual')", f"k{at}", customer_id, month, 10**9)
    spent: int = await pool.fetchval("select sum(cost_nusd)::bigint from kaixu.usage_event")
    assert spent > 0
    return spent


async def test_the_offer_is_that_of_the_environment_and_the_file(app: Quart, services: Services) -> None:
    body = await Operator(app).get(CONFIG)
    assert body["station"]["pricing"] == {
        "service_asset_name": "SkyeTokens",
        "fuel_asset_name": "SkyeFuel",
        "coin_asset_name": "SkyeCoins",
        "access_asset_name": "Kaixu Keys",
        "bonus_return_pct": 23,
        "discount_pct": 0,
        "rates": {"fuel_unit_usd": 1, "coin_unit_usd": 1, "token_unit_usd": 1, "key_session_usd": 25},
    }
    assert body["preview"] == {
        "spend_usd": 100,
        "base_service_units": 100,
        "bonus_service_units": 23,
        "effective_service_units": 123,
        "discount_usd": 0,
    }
    assert [(one["id"], one["unit_usd"]) for one in body["station"]["assets"]] == [
        ("fuel", 1),
        ("tokens", 1),
        ("coins", 1),
        ("keys", 25),
    ]
    services.settings = Settings(
        skyefuel_station_token_usd=Decimal("0.03"),
        skyefuel_station_fuel_usd=Decimal("0.5"),
        skyefuel_station_coin_asset_name="Coins",
        gateway_url="https://ai.example.com",
    )
    services.current.station = StationSection.model_validate(
        {"bonus_return_pct": 0, "discount_pct": "12.5", "products": {"fuel": {"unit_usd": 2}}, "name": "Fuel"}
    )
    body = await Operator(app).get(CONFIG)
    station = body["station"]
    assert (station["name"], station["public_url"]) == ("Fuel", "https://ai.example.com/skyefuelstation/")
    assert station["pricing"]["rates"]["fuel_unit_usd"] == 2  # the file takes precedence
    assert station["pricing"]["rates"]["token_unit_usd"] == 0.03
    assert station["pricing"]["coin_asset_name"] == "Coins"
    assert body["preview"] == {
        "spend_usd": 100,
        "base_service_units": 3333.33,
        "bonus_service_units": 0,
        "effective_service_units": 3333.33,
        "discount_usd": 12.5,
    }


RATES = st.decimals(min_value=Decimal("0.000000001"), max_value=1_000_000, places=9)
PERCENT = st.decimals(min_value=0, max_value=100, places=4)


@given(rate=RATES, bonus=PERCENT, discount=PERCENT)
@settings(max_examples=examples(200))
def test_a_preview_is_exact_to_half_a_hundredth_and_adds_up(rate: Decimal, bonus: Decimal, discount: Decimal) -> None:
    section = {"bonus_return_pct": bonus, "discount_pct": discount, "products": {"tokens": {"unit_usd": rate}}}
    preview = preview_of(station_of(StationSection.model_validate(section), Settings()))
    assert abs(preview.base_hundredths * rate - 100 * 100) <= rate / 2
    assert abs(preview.bonus_hundredths * rate * 100 - 100 * 100 * bonus) <= rate * 50
    assert abs(preview.discount_hundredths - 100 * discount) <= Decimal("0.5")
    assert preview.effective_hundredths == preview.base_hundredths + preview.bonus_hundredths


async def test_operators_see_the_month_to_the_customer(pool: asyncpg.Pool, operator: Operator) -> None:
    spent = await a_month(pool)
    before = await operator.get(ADMIN)
    while await fold_usage(pool, most=3):
        pass
    body = await operator.get(ADMIN)
    assert body == before  # roll-ups and what waits for them are read together
    overview = body["overview"]
    assert (overview["customers"], overview["keys"]) == ({"total": 3, "active": 3}, {"total": 3, "active": 3})
    assert overview["treasury"] == {
        "total_cap_cents": 3 * 100_000,
        "spent_cents": cents_of_nusd(spent),
        "extra_cents": 300,
        "token_volume": 6 * 1_200_000,
        "topup_count": 3,
        "topup_cents": 300,
    }
    assert [one["email"] for one in body["leaders"]] == [f"customer{at}@example.com" for at in (2, 1, 0)]
    assert [one["plan_name"] for one in body["plan_mix"]] == ["pro", "starter"]
    [provider] = body["provider_mix"]
    assert (provider["event_count"], provider["spent_cents"]) == (6, cents_of_nusd(spent))
    assert body["topup_sources"] == [{"source": "manual", "event_count": 3, "amount_cents": 300}]
    assert (len(body["recent_events"]), len(body["recent_topups"])) == (6, 3)
    assert body["recent_events"][0]["email"] == "customer2@example.com"
    assert sum(one["spent_cents"] for one in body["plan_mix"]) == pytest.approx(cents_of_nusd(spent), abs=1)


async def test_deleted_customers_are_none(pool: asyncpg.Pool, operator: Operator) -> None:
    spent = await a_month(pool)
    number = await pool.fetchval("select id from kaixu.customer where plan_name = 'starter'")
    await delete_customer(pool, number, confirm="customer1@example.com", actor="admin", request_id="r")
    body = await operator.get(ADMIN)
    overview = body["overview"]
    assert (overview["customers"], overview["keys"]) == ({"total": 2, "active": 2}, {"total": 2, "active": 2})
    assert [one["plan_name"] for one in body["plan_mix"]] == ["pro"]
    assert overview["treasury"]["spent_cents"] == cents_of_nusd(spent)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
async def test_providers_are_those_of_the_month_in_utc_whatever_the_zone_of_the_days(
    pool: asyncpg.Pool, zone: str
) -> None:
    await set_reporting_zone(pool, zone)
    key_id, _ = await virtual_key(pool, await customer(pool))
    month = datetime(2026, 3, 1, tzinfo=UTC)
    ends = [month - timedelta(minutes=15), month, month + timedelta(days=31, minutes=-15), month + timedelta(days=31)]
    hours = [month + timedelta(hours=at) for at in range(-30, 31 * 24 + 30)]
    await pool.executemany(
        """
        insert into kaixu.usage_change (bucket, customer_id, chain_id, provider, model, book, calls, errors, input_tokens,
            output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, vendor_cost_nusd,
            uncosted_nusd)
        values ($1, 1, $2, 'up', 'm', 'ai', 1, 0, 2, 1, 0, 0, 0, 10, 0, 0)
        """,
        [(moment, key_id) for moment in (*ends, *hours)],
    )
    expected = [ProviderShare("up", Decimal(2 + 31 * 24), Decimal(10 * (2 + 31 * 24)), Decimal(3 * (2 + 31 * 24)))]
    assert (await station_month(pool, month.date())).providers == expected
    assert await fold_usage(pool, most=300) == 300
    assert (await station_month(pool, month.date())).providers == expected
    while await fold_usage(pool, most=1000):
        pass
    assert (await station_month(pool, month.date())).providers == expected


async def test_another_month_is_empty(pool: asyncpg.Pool, operator: Operator) -> None:
    await a_month(pool)
    body = await operator.get(f"{ADMIN}?month=2026-01")
    assert (body["overview"]["month"], body["overview"]["treasury"]["spent_cents"]) == ("2026-01", 0)
    empty = ("leaders", "recent_events", "provider_mix", "topup_sources", "recent_topups")
    assert all(body[name] == [] for name in empty)


@pytest.mark.parametrize("month", ["2026-13", "2026", "abc", "2026-1", "9999-01"])
async def test_a_month_that_is_none_is_refused(app: Quart, operator: Operator, month: str) -> None:
    for name in (ADMIN, OVERVIEW, "admin-platform-control"):
        status, body = await operator.ask("GET", f"{name}?month={month}")
        assert (status, body["field"]) == (422, "month")


@pytest.mark.parametrize("month", ["2019-01", "2099-12"])
async def test_everybody_asks_for_two_years_only(app: Quart, operator: Operator, month: str) -> None:
    assert (await Operator(app).ask("GET", f"{OVERVIEW}?month={month}"))[0] == 422
    assert (await operator.ask("GET", f"{ADMIN}?month={month}"))[0] == 200


async def with_brain(pool: asyncpg.Pool, services: Services) -> None:
    """A brain that has answered."""
    services.current.station = StationSection.model_validate(
        {"brain": {"url": BRAIN_URL, "public_url": "https://public.example", "token": "brain-token"}}
    )
    [turn] = await claim_turns(pool, [(BRAIN, BRAIN_URL)])
    look = Look(True, 200, 7, None, "/overview", '{"orders":["order-of-somebody"]}')
    assert await write_look(pool, turn, look, every_s=60) is not None


def texts(value: Any) -> list[str]:
    """Every text in a reply."""
    if isinstance(value, dict):
        return [text for name, one in value.items() for text in (name, *texts(one))]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


async def test_everybody_sees_totals_and_nothing_of_a_customer_or_of_the_brain(
    pool: asyncpg.Pool, app: Quart, operator: Operator, services: Services
) -> None:
    spent = await a_month(pool)
    await with_brain(pool, services)
    private = await operator.get(ADMIN)
    assert private["brain_gate"]["remote"] == {"orders": ["order-of-somebody"]}
    assert (private["brain_gate"]["url"], private["brain_gate"]["endpoint"]) == (BRAIN_URL, "/overview")
    body = await Operator(app).get(OVERVIEW)
    assert body.keys() == {*private, "ok", "digest"}
    lists = ("leaders", "recent_events", "plan_mix", "provider_mix", "topup_sources", "recent_topups")
    assert all(body[name] == [] for name in lists)
    assert body["overview"] == private["overview"]
    assert body["brain_gate"] == {
        "configured": True,
        "connected": True,
        "url": "https://public.example",
        "endpoint": None,
        "error": None,
        "remote": None,
        "checked_at": None,
    }
    assert body["digest"] == {
        "month": body["overview"]["month"],
        "live_signal": "connected",
        "active_customers": 3,
        "active_keys": 3,
        "monthly_spend_cents": cents_of_nusd(spent),
        "monthly_topup_cents": 300,
        "monthly_token_volume": 7_200_000,
        "applied_topups": 3,
        "plan_count": 2,
        "provider_count": 1,
    }
    for word in ("customer0", "example.com", "@", "***", "order", BRAIN_URL, "brain-token"):
        assert not [text for text in texts(body) if word in text], word
    assert "brain-token" not in texts(private)


async def test_the_config_does_not_tell_the_brains_own_address(
    pool: asyncpg.Pool, app: Quart, services: Services
) -> None:
    await with_brain(pool, services)
    brain = (await Operator(app).get(CONFIG))["station"]["brain_gate"]
    assert brain == {"configured": True, "admin_url": None, "public_url": "https://public.example"}


async def test_totals_can_be_switched_off(pool: asyncpg.Pool, app: Quart, services: Services) -> None:
    await a_month(pool)
    services.current.station = StationSection(public_totals=False)
    body = await Operator(app).get(OVERVIEW)
    numbers = [*body["overview"]["customers"].values(), *body["overview"]["keys"].values()]
    numbers += [*body["overview"]["treasury"].values()]
    numbers += [value for value in body["digest"].values() if isinstance(value, int)]
    assert set(numbers) == {0}


async def test_the_overview_is_read_once_a_minute_and_month(pool: asyncpg.Pool, services: Services) -> None:
    now = [1000.0]
    [_, route] = station_routes(services, clock=lambda: now[0])

    async def customers(query: str = "") -> int:
        path = route.paths[0]
        reply = await route.handler(IncomingRequest("GET", path, {}, b"", "r", "127.0.0.1", query))
        assert isinstance(reply.body, bytes)
        total: int = json.loads(reply.body)["overview"]["customers"]["total"]
        return total

    assert await customers() == 0
    await customer(pool)
    assert await customers() == 0
    last_month = (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    assert await customers(f"month={last_month}") == 1
    now[0] += 61
    assert await customers() == 1


async def test_visitors_are_counted_by_address(app: Quart) -> None:
    visitor = Operator(app)
    statuses = [(await visitor.ask("GET", CONFIG))[0] for _ in range(121)]
    assert (set(statuses[:120]), statuses[120]) == ({200}, 429)


async def test_sums_beyond_64_bits_are_no_error(pool: asyncpg.Pool, operator: Operator) -> None:
    for _ in range(4):
        customer_id = await customer(pool, cap_nusd=9 * 10**18)
        month = datetime.now(UTC).date().replace(day=1)
        await pool.execute(
            "insert into kaixu.customer_month (customer_id, month, spent_nusd) values ($1, $2, $3)",
            customer_id,
            month,
            9 * 10**18,
        )
    treasury = (await operator.get(ADMIN))["overview"]["treasury"]
    assert treasury["total_cap_cents"] == treasury["spent_cents"] == 4 * 9 * 10**11


async def test_without_a_database_there_are_no_figures_and_no_error(app: Quart, operator: Operator, services: Services) -> None:  # fmt: skip
    dead = await asyncpg.create_pool("postgresql://nobody@127.0.0.1:1/nothing", min_size=0)
    services.reports = dead
    body = await operator.get(ADMIN)
    assert (body["storage_ready"], body["overview"]["customers"]["total"]) == (False, 0)
    page = await operator.get("admin-platform-control")
    assert (page["storage_ready"], page["station"]["storage_ready"]) == (False, False)
    public = await Operator(app).get(OVERVIEW)
    assert (public["ok"], public["storage_ready"], public["digest"]["live_signal"]) == (True, False, "config-only")
    await dead.close()


async def test_a_month_is_read_at_one_moment(pool: asyncpg.Pool) -> None:
    await a_month(pool, 2)
    month = await station_month(pool, None)
    assert sum(one.spent_nusd for one in month.plans) == month.totals.spent_nusd
    assert sum(one.spent_nusd for one in month.providers) == month.totals.spent_nusd
    assert sum(one.amount_nusd for one in month.sources) == month.totals.topup_nusd == month.totals.extra_nusd
