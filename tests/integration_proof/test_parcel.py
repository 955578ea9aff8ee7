"""An integration of somebody else, out of a package that pip has installed into a clean environment, does all that the
contract promises: over HTTP, in a browser, and from the command line. Its vendor is a stand-in."""

from __future__ import annotations

import hashlib
import json

import asyncpg

from tests.support.money import assert_books_balance, spent_and_held

from .conftest import SECRET
from .station import Station, settled


async def sent(station: Station, grams: int = 5) -> int:
    """A new parcel; its number."""
    made = await station.call("POST", "/v1/parcel/parcels", {"grams": grams})
    assert made.status == 200, made
    number: int = made.json["number"]
    assert made.json == {"number": number, "grams": grams, "state": "new", "tracking": None}
    return number


async def test_a_parcel_is_sent_booked_and_delivered_and_each_step_is_billed_once(
    shared: Station, shared_pool: asyncpg.Pool
) -> None:
    shared.carrier.busy = 2
    number = await sent(shared, 500)
    tracking = f"T-parcel-{number}"
    assert (await shared.state_of(number, "delivered"))["tracking"] == tracking
    await settled(shared_pool)
    assert shared.carrier.labels == {f"parcel-{number}": tracking}
    assert shared.carrier.looks[tracking] == 3
    bills = await shared_pool.fetch(
        "select operation, cost_nusd from kaixu.usage_event where cost_nusd > 0 and customer_id = $1 order by id",
        shared.customer_id,
    )
    assert [tuple(row) for row in bills] == [("parcel.create", 10_000_000), ("job:parcel.book", 20_000_000)]
    assert await spent_and_held(shared_pool, shared.customer_id) == (30_000_000, 0)
    await assert_books_balance(shared_pool)


async def test_addresses_callers_and_rates(shared: Station) -> None:
    number = (await shared.call("POST", "/.netlify/functions/parcels", {"grams": 5})).json["number"]
    for path in ("/v1/parcel/parcels", "/api/parcels"):
        listed = (await shared.call("GET", path)).json
        assert ([one["number"] for one in listed["parcels"]], listed["asked_by"]) == ([number], "key owner")
    wrong = await shared.call("DELETE", "/v1/parcel/parcels")
    assert (wrong.status, sorted(wrong.headers["allow"].replace(" ", "").split(","))) == (405, ["GET", "HEAD", "POST"])
    viewer = await shared.key_of(shared.customer_id, "viewer")
    assert (await shared.call("POST", "/v1/parcel/parcels", {"grams": 5}, key=viewer)).status == 403
    assert (await shared.call("GET", "/v1/parcel/parcels", key="")).status == 401
    _, other = await shared.customer(f"bob-{shared.email}")
    assert (await shared.call("GET", f"/v1/parcel/parcels/{number}", key=other)).status == 404
    seen = await shared.operator("GET", f"/v1/parcel/admin/parcels?customer_id={shared.customer_id}")
    assert [one["number"] for one in seen.json["parcels"]] == [number]
    assert seen.json["asked_by"].startswith("operator ")


async def test_inputs_come_from_everywhere(shared: Station, shared_pool: asyncpg.Pool) -> None:
    quote = await shared.call("POST", "/v1/parcel/quotes?days=99", {"weightGrams": "250"}, **{"x-country": "AT"})
    assert quote.json == {"cents": 25, "days": 10, "country": "AT"}
    missing = await shared.call("POST", "/v1/parcel/quotes", {})
    assert (missing.status, missing.json["field"]) == (422, "weightGrams")
    number = await sent(shared)
    photo = await shared.call("PUT", f"/v1/parcel/parcels/{number}/photo", b"x" * 2000)
    assert photo.json == {"number": number, "size": 2000}
    billed = "select cost_nusd from kaixu.usage_event where operation = 'parcel.photo' and customer_id = $1"
    assert await shared_pool.fetchval(billed, shared.customer_id) == 2_000_000
    assert (await shared.call("PUT", f"/v1/parcel/parcels/{number}/photo", b"x" * 200_000)).status == 413


async def test_replies_are_of_every_kind(shared: Station) -> None:
    label = await shared.call("GET", "/v1/parcel/parcels/7/label")
    assert (label.text, label.headers["content-type"]) == ("%PDF-1.4 parcel", "application/pdf")
    assert 'filename="label-7.pdf"' in label.headers["content-disposition"]
    steps = await shared.call("GET", "/v1/parcel/parcels/7/steps")
    assert [line for line in steps.text.splitlines() if line.startswith("data:")] == [
        'data: {"state":"collected"}',
        'data: {"state":"delivered"}',
    ]
    page = await shared.call("GET", "/v1/parcel/parcels/7/page")
    assert (page.status, page.headers["location"]) == (303, "https://carrier.example.com/7")
    assert (await shared.call("GET", "/v1/parcel/parcels/7/words")).text == "parcel 7"
    accepted = await shared.call("GET", "/v1/parcel/parcels/7/accepted")
    assert (accepted.status, accepted.headers["x-step"]) == (202, "1")
    refused = await shared.call("GET", "/v1/parcel/parcels/7/refused")
    assert refused.status == 409
    assert {name: refused.json[name] for name in ("code", "hint", "number")} == {
        "code": "PARCEL_GONE",
        "hint": "Send another.",
        "number": 7,
    }


async def test_a_job_that_fails_for_good_is_handled_and_not_billed(shared: Station, shared_pool: asyncpg.Pool) -> None:
    shared.carrier.lost = True
    number = await sent(shared)
    failed = await shared.state_of(number, "failed")
    assert "stranger" not in str(failed)
    await settled(shared_pool)
    assert await spent_and_held(shared_pool, shared.customer_id) == (10_000_000, 0)
    await assert_books_balance(shared_pool)


async def test_documents_are_kept_for_their_customer(shared: Station) -> None:
    content = bytes(range(256)) * 10_000
    digest = hashlib.sha256(content).hexdigest()
    stored = await shared.call("PUT", f"/v1/parcel/documents?name=invoice&sha256={digest}", content)
    assert stored.json == {"name": "invoice", "size": len(content), "sha256": digest}
    wrong = await shared.call("PUT", f"/v1/parcel/documents?name=other&sha256={digest}", b"something else")
    assert (wrong.status, wrong.json["code"]) == (400, "DIGEST_MISMATCH")
    headers = {"authorization": f"Bearer {shared.key}"}
    async with shared.http.get(f"{shared.gateway.url}/v1/parcel/documents/invoice", headers=headers) as reply:
        assert await reply.read() == content
    _, other = await shared.customer(f"bob-{shared.email}")
    for name, key in (("other", shared.key), ("invoice", other)):
        assert (await shared.call("GET", f"/v1/parcel/documents/{name}", key=key)).status == 404


async def test_a_token_and_settings_belong_to_their_customer(shared: Station, shared_pool: asyncpg.Pool) -> None:
    refused = await shared.call("POST", "/v1/parcel/account", {"token": "nonsense"})
    assert (refused.status, refused.json["field"]) == (422, "token")
    name = f"ada-{shared.customer_id}"
    token = f"token-of-{name}"
    assert (await shared.call("POST", "/v1/parcel/account", {"token": token})).json == {"account": name}
    assert (await shared.call("GET", "/v1/parcel/account")).json == {"account": name, "is_connected": True}
    _, other = await shared.customer(f"bob-{shared.email}")
    taken = await shared.call("POST", "/v1/parcel/account", {"token": token}, key=other)
    assert (taken.status, taken.json["code"]) == (409, "CONFLICT")
    number = await sent(shared)
    await shared.state_of(number, "booked")
    assert shared.carrier.tokens == [f"Bearer {token}"]
    shown = (await shared.operator("GET", f"/api/admin-customers?customer_id={shared.customer_id}")).text
    assert '"has_parcel_token":true' in shown
    await shared.set(most_parcels=1)
    assert (await shared.call("POST", "/v1/parcel/parcels", {"grams": 5})).status == 409
    assert (await shared.call("DELETE", "/v1/parcel/account")).json == {"account": None, "is_connected": False}
    for table in ("integration_secret", "audit_event", "monitor_batch"):
        assert token not in str(await shared_pool.fetch(f"select * from kaixu.{table}"))


async def test_events_of_the_carrier_are_stored_once_and_handled_by_a_job(
    shared: Station, shared_pool: asyncpg.Pool
) -> None:
    number = await sent(shared)
    await shared.state_of(number, "delivered")
    tracking = f"T-parcel-{number}"
    for path, expected in (
        ("/v1/parcel/webhooks/tracking", 200),
        ("/api/carrier-events", 200),
        ("/.netlify/functions/carrier-events", 200),
    ):
        assert (
            await shared.event(SECRET, path=path, id=f"e{number}", tracking=tracking, state="returned")
        ).status == expected
    assert (
        await shared.event("somebody else's secret", id=f"f{number}", tracking=tracking, state="stolen")
    ).status == 400
    await shared.state_of(number, "returned")
    listed = await shared.gateway.kaixu("webhooks", "list", "--json")
    assert [one["event"] for one in json.loads(listed) if str(number) in one["event"]] == [f"e{number}"]


async def test_operators_see_it_on_the_command_line(shared: Station) -> None:
    [row] = [one for one in json.loads(await shared.gateway.kaixu("plugins", "--json")) if one["name"] == "parcel"]
    said = json.dumps(row)
    for words in ("parcel.create", "0.01", "parcel.book", "asking costs nothing", "parcel.forget"):
        assert words in said
    number = await sent(shared)
    await shared.state_of(number, "delivered")
    assert "parcel.book" in await shared.gateway.kaixu("jobs", "list")
