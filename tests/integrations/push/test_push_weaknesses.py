"""Weaknesses of the older edition, each with a test that fails on it. Numbers are those of its list."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import asyncpg

from tests.support.money import assert_books_balance

from .stand_in import OPERATOR, Fault
from .station import Said, Station, sha1

DATA = b"<h1>hello</h1>"
BIG = bytes(range(256)) * 3000


async def other_customer(station: Station, http: aiohttp.ClientSession, *, has_token: bool = True) -> Station:
    """Another customer of the same gateway."""
    other = Station(http, station.gateway, station.netlify)
    return await other.open(has_token=has_token, has_project=has_token)


async def test_1_nobody_publishes_to_a_site_that_only_the_operator_s_token_reaches(station: Station) -> None:
    async with aiohttp.ClientSession() as http:
        other = await other_customer(station, http, has_token=False)
        station.netlify.site("site-of-the-operator")
        for site in (station.site, "site-of-the-operator"):
            for customer in (other, station) if site != station.site else (other,):
                body = {"projectId": "theirs", "netlifySiteId": site}
                said = await customer.call("POST", "push-projects", body)
                assert (said.status, said.json["code"]) == (403, "SITE_NOT_ALLOWED")
        for odd in ("../user", "a/b", "..", "site?x=1"):
            said = await other.call("POST", "push-projects", {"projectId": "x", "netlifySiteId": odd})
            assert said.status == 400
        # An operator allows one site: this one works, and no other.
        body = {
            "customer_id": str(other.customer_id),
            "project_id": "own",
            "name": "Own",
            "netlify_site_id": other.site,
        }
        await other.operator("POST", "admin-push-projects", body)
        push = await other.begun({"/a": DATA}, projectId="own")
        assert (await other.upload(push["pushId"], "/a", DATA)).status == 200
        await other.push_in(push["pushId"], "ready")
        assert (await other.call("GET", "netlify-token")).json == {"ok": True, "connected": True, "whoami": None}
        # It is taken from the list: what was begun with the operator's token cannot go on.
        late = await other.begun({"/b": b"b"}, projectId="own")
        await other.set(allowed_sites=[])
        refused = await other.upload(late["pushId"], "/b", b"b")
        assert (refused.status, refused.json["code"]) == (409, "CONFIG")
        none = await other.init({"/c": b"c"}, projectId="own")
        assert (none.status, none.json["code"]) == (409, "CONFIG")


async def test_3_cleaning_and_retrying_are_for_operators(station: Station) -> None:
    for name in ("push-job-retry", "push-chunk-cleanup"):
        for method in ("GET", "POST"):
            assert (await station.call(method, name, key="")).status == 401
            assert (await station.call(method, name)).status == 401
    retried = (await station.operator("GET", "push-job-retry", limit=500)).json
    assert retried == {"ok": True, "scanned": 0, "claimed": 0, "triggered": 0}
    cleaned = (await station.operator("POST", "push-chunk-cleanup")).json
    assert (cleaned["ok"], cleaned["retention_hours"], cleaned["expired_jobs"]) == (True, 48, 0)
    for gone in ("push-uploadfile-background", "push-complete-background"):
        assert (await station.call("POST", gone, {}, headers={"x-kaixu-job-secret": "x"})).status == 404


async def test_4_a_customer_that_is_switched_off_can_do_nothing(station: Station) -> None:
    push = await station.begun({"/a": DATA})
    await station.operator("PATCH", "admin-customers", {"customer_id": station.customer_id, "is_active": False})
    for said in (
        await station.init({"/a": DATA}),
        await station.upload(push["pushId"], "/a", DATA),
        await station.call("GET", "push-status", pushId=push["pushId"]),
        await station.call("POST", "push-complete", {"pushId": push["pushId"]}),
        await station.call("GET", "push-projects"),
    ):
        assert said.status in (401, 403), said
    assert station.netlify.uploads_of(push["deployId"]) == {}


async def test_5_a_token_is_sealed_and_never_shown(station: Station, pool: asyncpg.Pool) -> None:
    tables = await pool.fetch(
        "select table_schema, table_name from information_schema.tables where table_schema in ('kaixu', 'kaixu_push')"
    )
    for schema, table in tables:
        text = await pool.fetchval(f'select string_agg(x::text, \'\') from "{schema}"."{table}" x')
        assert station.token not in (text or ""), table
    station.netlify.fault("user", Fault(503))
    for said in (
        await station.call("GET", "netlify-token"),
        await station.operator("GET", "admin-netlify-token", customer_id=station.customer_id),
        await station.operator("GET", "admin-customers"),
    ):
        assert station.token not in said.text
    log = Path(station.gateway.log).read_text()
    assert station.token not in log
    assert OPERATOR not in log


async def test_7_other_customers_pushes_files_and_projects_do_not_exist(station: Station) -> None:
    push = await station.begun({"/a": DATA})
    push_id = push["pushId"]
    assert len(push_id) >= 37
    await station.chunk(push_id, "/a", DATA, 0, 1)
    async with aiohttp.ClientSession() as http:
        other = await other_customer(station, http)
        unknown = {
            "push-status": await other.call("GET", "push-status", pushId="push_" + "0" * 32),
            "push-file-status": await other.call("GET", "push-file-status", pushId="push_" + "0" * 32, sha1=sha1(DATA)),
        }
        for name, same in unknown.items():
            said = await other.call("GET", name, pushId=push_id, sha1=sha1(DATA))
            shown = {key: value for key, value in said.json.items() if key != "request_id"}
            assert (said.status, shown) == (
                404,
                {key: value for key, value in same.json.items() if key != "request_id"},
            )
        for said in (
            await other.upload(push_id, "/a", DATA),
            await other.chunk(push_id, "/a", DATA, 0, 1),
            await other.assemble(push_id, "/a", DATA, 1),
            await other.call("POST", "push-complete", {"pushId": push_id}),
            await other.send(
                "POST", f"/v1/push/pushes/{push_id}/cancel", None, {"authorization": f"Bearer {other.key}"}, {}
            ),
        ):
            assert (said.status, said.json["error"]) == (404, "Push not found"), said
        assert [one["netlify_site_id"] for one in (await other.call("GET", "push-projects")).json["projects"]] == [
            other.site
        ]
        assert (await other.operator("GET", "admin-push-deploys", customer_id=other.customer_id)).json["deploys"] == []
    assert (await station.call("GET", "push-status", pushId=push_id)).json["push"]["state"] == "prepared"


async def test_8_netlify_s_own_words_about_the_owner_stay_here(station: Station, pool: asyncpg.Pool) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    await pool.execute(
        "update kaixu_push.push set updated_at = now() - interval '1 minute' where push_id = $1", push_id
    )
    live = (await station.call("GET", "push-status", pushId=push_id)).json["live"]
    assert live["state"] == "prepared"
    assert {"user_id", "admin_url", "required"} & set(live) == set()


async def test_12_completing_again_runs_a_file_that_waits(station: Station, pool: asyncpg.Pool) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    await station.chunk(push_id, "/a", DATA, 0, 1)
    station.netlify.fault("put", *[Fault(429, headers={"retry-after": "3000"})])
    await station.assemble(push_id, "/a", DATA, 1)
    await station.file_in(push_id, DATA, "retry_wait")
    waiting = await station.operator("GET", "admin-push-jobs", customer_id=station.customer_id)
    assert [(one["status"], one["received_count"]) for one in waiting.json["jobs"]] == [("retry_wait", 1)]
    assert (await station.assemble(push_id, "/a", DATA, 1)).status == 202
    await station.file_in(push_id, DATA, "done")


async def test_12_an_operator_lets_files_that_wait_be_sent_now(station: Station) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    await station.chunk(push_id, "/a", DATA, 0, 1)
    station.netlify.fault("put", *[Fault(429, headers={"retry-after": "3000"})])
    await station.assemble(push_id, "/a", DATA, 1)
    await station.file_in(push_id, DATA, "retry_wait")
    retried = (await station.operator("POST", "push-job-retry")).json
    assert retried == {"ok": True, "scanned": 1, "claimed": 1, "triggered": 1}
    await station.file_in(push_id, DATA, "done")


async def test_13_parts_that_expired_are_gone_and_can_be_sent_again(station: Station, pool: asyncpg.Pool) -> None:
    push_id = (await station.begun({"/a": BIG}))["pushId"]
    await station.chunk(push_id, "/a", BIG, 0, 2)
    await pool.execute(
        "update kaixu_push.push_file f set updated_at = now() - interval '49 hours' from kaixu_push.push p "
        "where p.id = f.push and p.push_id = $1",
        push_id,
    )
    cleaned = (await station.operator("GET", "push-chunk-cleanup")).json
    assert (cleaned["expired_jobs"], cleaned["deleted_chunks"]) == (1, 1)
    assert await pool.fetchval("select count(*) from kaixu.blob where name like $1", f"{push_id}/%") == 0
    status = (await station.call("GET", "push-file-status", pushId=push_id, sha1=sha1(BIG))).json["job"]
    assert (status["status"], status["received_parts"]) == ("expired", [])
    assert (await station.assemble(push_id, "/a", BIG, 2)).json["code"] == "JOB_NOT_FOUND"
    for part in (0, 1):
        assert (await station.chunk(push_id, "/a", BIG, part, 2)).status == 200
    await station.assemble(push_id, "/a", BIG, 2)
    await station.file_in(push_id, BIG, "done")


async def test_24_parts_in_parallel_twice_and_in_any_order_lose_nothing(station: Station) -> None:
    push = await station.begun({"/a": BIG})
    parts = [*range(12)] * 2
    sent = await asyncio.gather(*(station.chunk(push["pushId"], "/a", BIG, part, 12) for part in reversed(parts)))
    assert {said.status for said in sent} == {200}, sent
    job = (await station.call("GET", "push-file-status", pushId=push["pushId"], sha1=sha1(BIG))).json["job"]
    assert job["received_parts"] == [*range(12)]
    done = await asyncio.gather(*(station.assemble(push["pushId"], "/a", BIG, 12) for _ in range(5)))
    assert {said.status for said in done} <= {200, 202}
    await station.file_in(push["pushId"], BIG, "done")
    assert station.netlify.uploads_of(push["deployId"]) == {sha1(BIG): 1}


async def test_25_a_file_in_one_request_has_a_status(station: Station) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    await station.upload(push_id, "/a", DATA)
    job = (await station.call("GET", "push-file-status", pushId=push_id, sha1=sha1(DATA))).json["job"]
    assert (job["status"], job["deploy_path"], job["parts"], job["error"]) == ("done", "/a", 1, None)


async def test_30_a_publish_is_billed_though_nobody_calls_complete_or_asks(
    station: Station, pool: asyncpg.Pool
) -> None:
    push = await station.begun({"/a": DATA})
    await station.upload(push["pushId"], "/a", DATA)
    async with asyncio.timeout(30):
        while await pool.fetchval("select ended_at from kaixu_push.push where push_id = $1", push["pushId"]) is None:
            await asyncio.sleep(0.1)
    assert (await station.bill())["deploys_ready"] == 1


async def test_30_a_push_is_billed_though_its_key_was_revoked_and_its_customer_switched_off(
    station: Station, pool: asyncpg.Pool
) -> None:
    station.netlify.processes = 3
    push = await station.begun({"/a": DATA})
    await station.upload(push["pushId"], "/a", DATA)
    await pool.execute("update kaixu.virtual_key set revoked_at = now() where customer_id = $1", station.customer_id)
    await pool.execute("update kaixu.customer set is_active = false where id = $1", station.customer_id)
    async with asyncio.timeout(30):
        while await pool.fetchval("select ended_at from kaixu_push.push where push_id = $1", push["pushId"]) is None:
            await asyncio.sleep(0.1)
    billed = await pool.fetch(
        "select charge, units from kaixu.keyed_charge where customer_id = $1 and state = 'charged' order by charge",
        station.customer_id,
    )
    assert [tuple(row) for row in billed] == [("base", 1), ("deploy", 1), ("gib", len(DATA))]


async def test_30_a_token_that_is_taken_away_after_the_last_file_makes_nothing_free(
    station: Station, pool: asyncpg.Pool
) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    station.netlify.fault("look", *[Fault(401)] * 1000)
    await station.upload(push_id, "/a", DATA)
    await station.call("DELETE", "netlify-token")
    await pool.execute("update kaixu_push.push set ends_at = now() where push_id = $1", push_id)
    await station.push_in(push_id, "unknown")
    assert (await station.bill())["deploys_ready"] == 1


async def test_30_a_token_that_does_not_reach_the_site_makes_nothing_free(station: Station, pool: asyncpg.Pool) -> None:
    station.netlify.processes = 1000
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    assert (await station.upload(push_id, "/a", DATA)).status == 200
    station.netlify.site("elsewhere", "another-token")
    assert (await station.call("POST", "netlify-token", {"token": "another-token"})).status == 200
    seen = len(station.netlify.requests)
    async with asyncio.timeout(30):
        while len(station.netlify.requests) < seen + 3:  # looks with a token that does not see it
            await asyncio.sleep(0.05)
    assert (await station.call("GET", "push-status", pushId=push_id)).json["push"]["error"] is None
    await pool.execute("update kaixu_push.push set ends_at = now() where push_id = $1", push_id)
    await station.push_in(push_id, "unknown")
    assert (await station.bill())["deploys_ready"] == 1


async def test_30_a_push_that_cannot_be_cancelled_any_more_is_billed_when_it_is_live(station: Station) -> None:
    station.netlify.processes = 5
    station.netlify.fault("cancel", *[Fault(422)] * 100)
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    assert (await station.upload(push_id, "/a", DATA)).status == 200
    assert (await cancelled(station, push_id)).status == 200
    await station.push_in(push_id, "ready")
    assert (await station.bill())["deploys_ready"] == 1


async def test_30_a_push_that_is_cancelled_before_netlify_has_answered_is_still_looked_for(
    station: Station, pool: asyncpg.Pool
) -> None:
    station.netlify.fault("create", Fault(503))
    assert (await station.init({"/a": DATA})).json["code"] == "NETLIFY_FETCH"
    push_id = await pool.fetchval("select push_id from kaixu_push.push where customer_id = $1", station.customer_id)
    assert (await cancelled(station, push_id)).json["push"]["state"] == "creating"
    assert await pool.fetchval("select ended_at from kaixu_push.push where push_id = $1", push_id) is None
    await pool.execute("update kaixu_push.push set created_at = now() - interval '1 hour' where push_id = $1", push_id)
    assert (await station.push_in(push_id, "error"))["error"] == "Netlify did not get the deploy"
    assert (await station.bill())["deploys_ready"] == 0


async def test_33_bytes_are_billed_although_the_answer_to_them_was_lost(station: Station) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    station.netlify.fault("put", Fault(when="after"), *[Fault(503)] * 4)
    said = await station.upload(push_id, "/a", DATA)
    assert (said.status, said.json["code"]) == (502, "NETLIFY_FETCH")
    await station.push_in(push_id, "ready")
    bill = await station.bill()
    assert (bill["deploys_ready"], bill["bytes_uploaded"]) == (1, len(DATA))


async def cancelled(station: Station, push_id: str) -> Said:
    """The answer to the wish to cancel a push."""
    key = {"authorization": f"Bearer {station.key}"}
    return await station.send("POST", f"/v1/push/pushes/{push_id}/cancel", None, key, {})


async def test_31_32_a_cap_holds_under_parallel_pushes_and_failed_ones_give_it_back(
    station: Station, pool: asyncpg.Pool
) -> None:
    await station.set(cap=0.35)  # three deploys at 0.10, and not a fourth
    said = await asyncio.gather(*(station.init({f"/{number}": b"%d" % number}) for number in range(8)))
    assert sorted(one.status for one in said) == [200] * 3 + [402] * 5
    refused = next(one for one in said if one.status == 402).json
    assert refused["code"] == "PUSH_CAP_REACHED"
    assert (refused["monthly_cap_cents"], refused["pricing_version"]) == (35, 1)
    assert refused["projected_total_cents"] == 40
    assert refused["current"]["deploys_reserved"] == 3
    assert refused["proposed"] == {"extra_deploys": 1, "extra_bytes": 0}
    push_id = next(one for one in said if one.status == 200).json["pushId"]
    cancelled = await station.send(
        "POST", f"/v1/push/pushes/{push_id}/cancel", None, {"authorization": f"Bearer {station.key}"}, {}
    )
    assert cancelled.json["push"]["state"] == "error"
    assert (await station.init({"/next": b"next"})).status == 200
    await assert_books_balance(pool, reservations=None)


async def test_32_a_cap_of_zero_refuses_and_bytes_are_capped_too(station: Station) -> None:
    await station.set(cap=0.10)
    push_id = (await station.begun({"/a": BIG}))["pushId"]
    said = await station.upload(push_id, "/a", BIG)
    assert (said.status, said.json["code"]) == (402, "PUSH_CAP_REACHED")
    assert said.json["proposed"]["extra_bytes"] == len(BIG)
    part = await station.chunk(push_id, "/a", BIG, 0, 1)
    assert part.status == 402
    await station.set(cap=None)
    assert (await station.upload(push_id, "/a", BIG)).status == 200
    await station.push_in(push_id, "ready")
    await station.set(cap=0)
    assert (await station.init({"/b": b"b"})).status == 402


async def test_33_two_requests_for_one_content_send_it_once(station: Station) -> None:
    push = await station.begun({"/a": BIG, "/b": BIG})
    sent = await asyncio.gather(*(station.upload(push["pushId"], path, BIG) for path in ("/a", "/b", "/a", "/b")))
    assert sorted(said.status for said in sent)[0] == 200
    assert {said.status for said in sent} <= {200, 409}
    assert {said.json["code"] for said in sent if said.status == 409} <= {"FILE_BUSY"}
    assert station.netlify.uploads_of(push["deployId"]) == {sha1(BIG): 1}
    await station.push_in(push["pushId"], "ready")
    assert (await station.bill())["bytes_uploaded"] == len(BIG)


async def test_a_client_that_leaves_in_the_middle_gives_its_file_back(station: Station) -> None:
    push_id = (await station.begun({"/a": BIG}))["pushId"]
    _, writer = await asyncio.open_connection("127.0.0.1", station.gateway.port)
    head = (
        f"PUT /api/push-upload?pushId={push_id}&path=/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {station.key}\r\n"
        f"x-content-sha1: {sha1(BIG)}\r\ncontent-length: {len(BIG)}\r\n\r\n"
    )
    writer.write(head.encode() + BIG[:1000])
    await writer.drain()
    await asyncio.sleep(0)
    writer.close()
    async with asyncio.timeout(30):
        while (said := await station.upload(push_id, "/a", BIG)).status == 409:
            await asyncio.sleep(0.1)
    assert said.status == 200, said
    await station.push_in(push_id, "ready")
