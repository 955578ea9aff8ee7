"""An integration of somebody else, out of a package that pip has installed into a clean environment, does all that the
contract promises: over HTTP, in a browser, and from the command line. Its vendor is a stand-in."""

from __future__ import annotations

import asyncio
import hashlib
import json

import asyncpg

from tests.support.money import assert_books_balance, spent_and_held

from .conftest import SECRET
from .station import Station


async def settled(pool: asyncpg.Pool) -> None:
    """Return when no call runs and no job waits any more."""
    busy = (
        "select (select count(*) from kaixu.reservation) + (select count(*) from kaixu.job where completed_at is null)"
    )
    async with asyncio.timeout(30):
        while await pool.fetchval(busy):
            await asyncio.sleep(0.05)


async def test_a_parcel_is_sent_booked_and_delivered_and_each_step_is_billed_once(
    station: Station, pool: asyncpg.Pool
) -> None:
    station.carrier.busy = 2
    made = await station.call("POST", "/v1/parcel/parcels", {"grams": 500})
    assert (made.status, made.json) == (200, {"number": 1, "grams": 500, "state": "new", "tracking": None})
    assert (await station.state_of(1, "delivered"))["tracking"] == "T1"
    await settled(pool)
    assert station.carrier.labels == {"parcel-1": "T1"}
    assert station.carrier.looks["T1"] == 3
    bills = await pool.fetch("select operation, cost_nusd from kaixu.usage_event where cost_nusd > 0 order by id")
    assert [tuple(row) for row in bills] == [("parcel.create", 10_000_000), ("job:parcel.book", 20_000_000)]
    assert await spent_and_held(pool, station.customer_id) == (30_000_000, 0)
    await assert_books_balance(pool)


async def test_addresses_callers_and_rates(station: Station) -> None:
    await station.call("POST", "/.netlify/functions/parcels", {"grams": 5})
    for path in ("/v1/parcel/parcels", "/api/parcels"):
        listed = (await station.call("GET", path)).json
        assert ([one["number"] for one in listed["parcels"]], listed["asked_by"]) == ([1], "key owner")
    wrong = await station.call("DELETE", "/v1/parcel/parcels")
    assert (wrong.status, sorted(wrong.headers["allow"].replace(" ", "").split(","))) == (405, ["GET", "HEAD", "POST"])
    viewer = await station.key_of(station.customer_id, "viewer")
    assert (await station.call("POST", "/v1/parcel/parcels", {"grams": 5}, key=viewer)).status == 403
    assert (await station.call("GET", "/v1/parcel/parcels", key="")).status == 401
    _, other = await station.customer("bob@example.com")
    assert (await station.call("GET", "/v1/parcel/parcels/1", key=other)).status == 404
    seen = await station.operator("GET", f"/v1/parcel/admin/parcels?customer_id={station.customer_id}")
    assert [one["number"] for one in seen.json["parcels"]] == [1]
    assert seen.json["asked_by"].startswith("operator ")


async def test_inputs_come_from_everywhere(station: Station, pool: asyncpg.Pool) -> None:
    quote = await station.call("POST", "/v1/parcel/quotes?days=99", {"weightGrams": "250"}, **{"x-country": "AT"})
    assert quote.json == {"cents": 25, "days": 10, "country": "AT"}
    missing = await station.call("POST", "/v1/parcel/quotes", {})
    assert (missing.status, missing.json["field"]) == (422, "weightGrams")
    await station.call("POST", "/v1/parcel/parcels", {"grams": 5})
    photo = await station.call("PUT", "/v1/parcel/parcels/1/photo", b"x" * 2000)
    assert photo.json == {"number": 1, "size": 2000}
    assert await pool.fetchval("select cost_nusd from kaixu.usage_event where operation = 'parcel.photo'") == 2_000_000
    assert (await station.call("PUT", "/v1/parcel/parcels/1/photo", b"x" * 200_000)).status == 413


async def test_replies_are_of_every_kind(station: Station) -> None:
    label = await station.call("GET", "/v1/parcel/parcels/7/label")
    assert (label.text, label.headers["content-type"]) == ("%PDF-1.4 parcel", "application/pdf")
    assert 'filename="label-7.pdf"' in label.headers["content-disposition"]
    steps = await station.call("GET", "/v1/parcel/parcels/7/steps")
    assert [line for line in steps.text.splitlines() if line.startswith("data:")] == [
        'data: {"state":"collected"}',
        'data: {"state":"delivered"}',
    ]
    page = await station.call("GET", "/v1/parcel/parcels/7/page")
    assert (page.status, page.headers["location"]) == (303, "https://carrier.example.com/7")
    assert (await station.call("GET", "/v1/parcel/parcels/7/words")).text == "parcel 7"
    accepted = await station.call("GET", "/v1/parcel/parcels/7/accepted")
    assert (accepted.status, accepted.headers["x-step"]) == (202, "1")
    refused = await station.call("GET", "/v1/parcel/parcels/7/refused")
    assert refused.status == 409
    assert {name: refused.json[name] for name in ("code", "hint", "number")} == {
        "code": "PARCEL_GONE",
        "hint": "Send another.",
        "number": 7,
    }


async def test_a_job_that_fails_for_good_is_handled_and_not_billed(station: Station, pool: asyncpg.Pool) -> None:
    station.carrier.lost = True
    await station.call("POST", "/v1/parcel/parcels", {"grams": 5})
    failed = await station.state_of(1, "failed")
    assert "stranger" not in str(failed)
    await settled(pool)
    assert await spent_and_held(pool, station.customer_id) == (10_000_000, 0)
    await assert_books_balance(pool)


async def test_documents_are_kept_for_their_customer(station: Station) -> None:
    content = bytes(range(256)) * 10_000
    digest = hashlib.sha256(content).hexdigest()
    stored = await station.call("PUT", f"/v1/parcel/documents?name=invoice&sha256={digest}", content)
    assert stored.json == {"name": "invoice", "size": len(content), "sha256": digest}
    wrong = await station.call("PUT", f"/v1/parcel/documents?name=other&sha256={digest}", b"something else")
    assert (wrong.status, wrong.json["code"]) == (400, "DIGEST_MISMATCH")
    headers = {"authorization": f"Bearer {station.key}"}
    async with station.http.get(f"{station.gateway.url}/v1/parcel/documents/invoice", headers=headers) as reply:
        assert await reply.read() == content
    _, other = await station.customer("bob@example.com")
    for name, key in (("other", station.key), ("invoice", other)):
        assert (await station.call("GET", f"/v1/parcel/documents/{name}", key=key)).status == 404


async def test_a_token_and_settings_belong_to_their_customer(station: Station, pool: asyncpg.Pool) -> None:
    refused = await station.call("POST", "/v1/parcel/account", {"token": "nonsense"})
    assert (refused.status, refused.json["field"]) == (422, "token")
    assert (await station.call("POST", "/v1/parcel/account", {"token": "token-of-ada"})).json == {"account": "ada"}
    assert (await station.call("GET", "/v1/parcel/account")).json == {"account": "ada", "is_connected": True}
    _, other = await station.customer("bob@example.com")
    taken = await station.call("POST", "/v1/parcel/account", {"token": "token-of-ada"}, key=other)
    assert (taken.status, taken.json["code"]) == (409, "CONFLICT")
    await station.call("POST", "/v1/parcel/parcels", {"grams": 5})
    await station.state_of(1, "booked")
    assert station.carrier.tokens == ["Bearer token-of-ada"]
    shown = (await station.operator("GET", f"/api/admin-customers?customer_id={station.customer_id}")).text
    assert '"has_parcel_token":true' in shown
    await station.operator(
        "PATCH",
        "/api/admin-integration-settings",
        {"customer_id": station.customer_id, "integration": "parcel", "settings": {"most_parcels": 1}},
    )
    assert (await station.call("POST", "/v1/parcel/parcels", {"grams": 5})).status == 409
    assert (await station.call("DELETE", "/v1/parcel/account")).json == {"account": None, "is_connected": False}
    for table in ("integration_secret", "audit_event", "monitor_batch"):
        assert "token-of-ada" not in str(await pool.fetch(f"select * from kaixu.{table}"))


async def test_events_of_the_carrier_are_stored_once_and_handled_by_a_job(station: Station, pool: asyncpg.Pool) -> None:
    await station.call("POST", "/v1/parcel/parcels", {"grams": 5})
    await station.state_of(1, "delivered")
    for path, expected in (
        ("/v1/parcel/webhooks/tracking", 200),
        ("/api/carrier-events", 200),
        ("/.netlify/functions/carrier-events", 200),
    ):
        assert (await station.event(SECRET, path=path, id="e1", tracking="T1", state="returned")).status == expected
    assert (await station.event("somebody else's secret", id="e2", tracking="T1", state="stolen")).status == 400
    await station.state_of(1, "returned")
    listed = await station.gateway.kaixu("webhooks", "list", "--json")
    assert [one["event"] for one in json.loads(listed)] == ["e1"]


async def test_operators_see_it_on_the_command_line(station: Station) -> None:
    [row] = [one for one in json.loads(await station.gateway.kaixu("plugins", "--json")) if one["name"] == "parcel"]
    said = json.dumps(row)
    for words in ("parcel.create", "0.01", "parcel.book", "asking costs nothing", "parcel.forget"):
        assert words in said
    await station.call("POST", "/v1/parcel/parcels", {"grams": 5})
    await station.state_of(1, "delivered")
    assert "parcel.book" in await station.gateway.kaixu("jobs", "list")
