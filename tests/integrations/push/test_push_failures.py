"""The failures of Netlify: 401, 404, 422, 429 with a date, 5xx, connections that break, answers that are lost; a worker
that is killed while it sends a file."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support.money import assert_books_balance

from .stand_in import Fault, later
from .station import Station, sha1

DATA = b"<h1>hello</h1>"
BIG = bytes(range(256)) * 3000


async def held(pool: asyncpg.Pool, station: Station) -> int:
    """What is held for the customer's pushes, in nano-dollars."""
    total: int = await pool.fetchval(
        "select coalesce(sum(held_nusd), 0)::bigint from kaixu.keyed_charge where customer_id = $1 and state = 'held'",
        station.customer_id,
    )
    return total


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_a_refused_deploy_costs_nothing(station: Station, pool: asyncpg.Pool, status: int) -> None:
    station.netlify.fault("create", Fault(status))
    said = await station.init({"/a": b"a"})
    assert (said.status, said.json["code"], said.json["error"]) == (
        status,
        "NETLIFY_API",
        f"Netlify API error {status}",
    )
    assert "vendor's words" not in said.text
    assert await held(pool, station) == 0
    assert (await station.bill())["total_cents"] == 0


async def test_a_busy_netlify_is_not_asked_twice_for_a_deploy(station: Station, pool: asyncpg.Pool) -> None:
    station.netlify.fault("create", Fault(429, headers=later(40)))
    said = await station.init({"/a": b"a"})
    assert (said.status, said.json["code"]) == (429, "NETLIFY_API")
    assert 20 <= int(said.headers["retry-after"]) <= 41
    assert await held(pool, station) == 0
    assert [one for one in station.netlify.requests if one[0] == "POST"] == [
        one for one in station.netlify.requests if one[0] == "POST"
    ][:1]


@pytest.mark.parametrize("fault", [Fault(503), Fault(), Fault(when="after")], ids=["503", "refused", "lost-answer"])
async def test_a_deploy_without_an_answer_is_found_by_its_title_and_billed(
    station: Station, pool: asyncpg.Pool, fault: Fault
) -> None:
    await station.published({"/a": b"a"})  # Netlify has the only file: a second deploy goes live by itself
    station.netlify.fault("create", fault)
    said = await station.init({"/a": b"a"})
    assert (said.status, said.json["code"]) == (502, "NETLIFY_FETCH")
    push_id = await pool.fetchval(
        "select push_id from kaixu_push.push where customer_id = $1 order by id desc limit 1", station.customer_id
    )
    if fault.when == "after":
        await station.push_in(push_id, "ready")
        assert (await station.bill())["deploys_ready"] == 2
        return
    await pool.execute(
        "update kaixu_push.push set created_at = created_at - interval '11 minutes' where push_id = $1", push_id
    )
    await station.push_in(push_id, "error")
    assert (await station.bill())["deploys_ready"] == 1
    assert await held(pool, station) == 0


@pytest.mark.parametrize("status", [401, 404, 422])
async def test_a_refused_upload_passes_on_and_the_file_stays_required(station: Station, status: int) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    station.netlify.fault("put", Fault(status))
    said = await station.upload(push_id, "/a", DATA)
    assert (said.status, said.json["code"]) == (status, "NETLIFY_API")
    assert (await station.upload(push_id, "/a", DATA)).status == 200
    await station.push_in(push_id, "ready")


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(429, headers=later()), Fault(429, headers=later())],
        [Fault(502), Fault(503), Fault(504)],
        [Fault(when="body"), Fault()],
        [Fault(when="after")],
    ],
    ids=["429-date", "5xx", "broken", "lost-answer"],
)
async def test_an_upload_survives_what_passes(station: Station, faults: list[Fault]) -> None:
    push_id = (await station.begun({"/a": BIG}))["pushId"]
    station.netlify.fault("put", *faults)
    assert (await station.upload(push_id, "/a", BIG)).status == 200
    await station.push_in(push_id, "ready")
    bill = await station.bill()
    assert (bill["deploys_ready"], bill["bytes_uploaded"]) == (1, len(BIG))


async def test_an_upload_that_never_succeeds_says_so(station: Station) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    station.netlify.fault("put", *[Fault(503)] * 5)
    said = await station.upload(push_id, "/a", DATA)
    assert (said.status, said.json["code"]) == (502, "NETLIFY_FETCH")
    station.netlify.fault("put", Fault(429, headers=later(3000)))
    busy = await station.upload(push_id, "/a", DATA)
    assert (busy.status, busy.json["code"]) == (429, "NETLIFY_API")
    assert int(busy.headers["retry-after"]) > 2000


async def test_too_many_uploads_at_once_wait_for_each_other(station: Station) -> None:
    files = {f"/{number}": DATA + bytes([number]) * 100_000 for number in range(6)}
    station.netlify.at_once = 1
    push_id = (await station.begun(files))["pushId"]
    for path, data in files.items():
        assert (await station.chunk(push_id, path, data, 0, 1)).status == 200
        assert (await station.assemble(push_id, path, data, 1)).status == 202
    for data in files.values():
        await station.file_in(push_id, data, "done")
    assert station.netlify.most_at_once == 1
    await station.push_in(push_id, "ready")


@pytest.mark.parametrize("status", [401, 404, 422])
async def test_a_file_in_parts_that_is_refused_has_failed(station: Station, status: int) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    await station.chunk(push_id, "/a", DATA, 0, 1)
    station.netlify.fault("put", Fault(status))
    await station.assemble(push_id, "/a", DATA, 1)
    job = await station.file_in(push_id, DATA, "error")
    assert job["error"] == f"Netlify API error {status}"
    assert [one for one in station.netlify.requests if one[0] == "PUT"] != []
    again = await station.assemble(push_id, "/a", DATA, 1)
    assert again.status == 202
    await station.file_in(push_id, DATA, "done")


async def test_a_file_in_parts_is_tried_with_pauses_until_it_succeeds_or_has_failed(
    station: Station, pool: asyncpg.Pool
) -> None:
    push_id = (await station.begun({"/a": DATA, "/b": BIG}))["pushId"]
    for path, data in (("/a", DATA), ("/b", BIG)):
        await station.chunk(push_id, path, data, 0, 1)
    station.netlify.fault("put", *[Fault(429, headers=later())] * 3, Fault(when="body"), Fault(503))
    await station.assemble(push_id, "/a", DATA, 1)
    await station.file_in(push_id, DATA, "done")
    station.netlify.fault("put", *[Fault(500)] * 40)
    await station.assemble(push_id, "/b", BIG, 1)
    job = await station.file_in(push_id, BIG, "error")
    assert job["error"] == "Netlify could not be reached"
    station.netlify.plan.clear()
    await station.assemble(push_id, "/b", BIG, 1)
    await station.file_in(push_id, BIG, "done")
    await station.push_in(push_id, "ready")
    await assert_books_balance(pool, reservations=None)


async def test_what_netlify_got_is_not_sent_again_when_its_answer_was_lost(station: Station) -> None:
    push = await station.begun({"/a": DATA, "/b": BIG})
    await station.chunk(push["pushId"], "/a", DATA, 0, 1)
    station.netlify.fault("put", Fault(when="after"), Fault(503), Fault(503))
    await station.assemble(push["pushId"], "/a", DATA, 1)
    await station.file_in(push["pushId"], DATA, "done")
    assert station.netlify.uploads_of(push["deployId"]) == {sha1(DATA): 1}


async def test_parts_that_make_another_file_are_never_sent(station: Station) -> None:
    push = await station.begun({"/a": BIG})
    await station.chunk(push["pushId"], "/a", BIG, 0, 2)
    await station.chunk(push["pushId"], "/a", BIG, 1, 2, data=b"wrong")
    await station.assemble(push["pushId"], "/a", BIG, 2)
    job = await station.file_in(push["pushId"], BIG, "error")
    assert "SHA1 mismatch" in job["error"]
    assert [one for one in station.netlify.requests if one[0] == "PUT"] == []
    for part in (0, 1):
        assert (await station.chunk(push["pushId"], "/a", BIG, part, 2)).status == 200
    await station.assemble(push["pushId"], "/a", BIG, 2)
    await station.file_in(push["pushId"], BIG, "done")


async def test_a_deploy_that_netlify_gives_up_releases_its_price(station: Station, pool: asyncpg.Pool) -> None:
    station.netlify.fails = "Failed to process the site"
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    await station.upload(push_id, "/a", DATA)
    said = await station.call("POST", "push-complete", {"pushId": push_id, "wait": 1})
    assert (said.status, said.json["state"], said.json["details"]) == (502, "error", "Failed to process the site")
    bill = await station.bill()
    assert (bill["deploys_ready"], bill["bytes_uploaded"]) == (0, len(DATA))
    assert await held(pool, station) == 0
    status = (await station.call("GET", "push-status", pushId=push_id)).json
    assert (status["push"]["error"], status["live"]) == ("Failed to process the site", None)


async def test_a_push_without_an_end_is_cancelled_and_costs_no_deploy(station: Station, pool: asyncpg.Pool) -> None:
    push = await station.begun({"/a": DATA, "/b": BIG})
    await station.upload(push["pushId"], "/a", DATA)
    await pool.execute("update kaixu_push.push set ends_at = now() where push_id = $1", push["pushId"])
    ended = await station.push_in(push["pushId"], "error", "expired")
    assert ended["error"] == "Canceled"
    assert station.netlify.deploys[push["deployId"]].state == "error"
    assert await held(pool, station) == 0
    late = await station.upload(push["pushId"], "/b", BIG)
    assert (late.status, late.json["code"]) == (409, "PUSH_ENDED")


async def test_a_slow_netlify_does_not_lose_a_push(station: Station, pool: asyncpg.Pool) -> None:
    station.netlify.fault("look", *[Fault(503)] * 8)
    push_id = (await station.init({"/a": DATA})).json.get("pushId")
    if push_id is None:  # it could not be asked at all
        push_id = await pool.fetchval("select push_id from kaixu_push.push where customer_id = $1", station.customer_id)
    await station.push_in(push_id, "prepared")
    assert (await station.upload(push_id, "/a", DATA)).status == 200
    await station.push_in(push_id, "ready")
