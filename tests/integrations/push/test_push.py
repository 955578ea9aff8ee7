"""A push from its manifest to the published site, and its bill."""

from __future__ import annotations

import asyncio

import asyncpg

from tests.support.money import assert_books_balance

from .station import Station, sha1

FILES = {"/index.html": b"<h1>hello</h1>", "/a b/\u00fcber%20.css": b"body {}", "/_headers": b"/*\n  x-a: b\n"}


async def test_a_push_is_published_and_billed_once(station: Station, pool: asyncpg.Pool) -> None:
    push = await station.begun(FILES, branch="main", title="First")
    assert push["state"] == "prepared"
    assert push["url"] == f"https://{station.site}.example.net"
    assert sorted(push["required"]) == sorted(sha1(data) for data in FILES.values())
    for path, data in FILES.items():
        sent = await station.upload(push["pushId"], path, data)
        assert sent.json == {
            "ok": True, "pushId": push["pushId"], "path": path, "sha1": sha1(data), "bytes": len(data)
        }  # fmt: skip
    ready = await station.push_in(push["pushId"], "ready")
    assert ready["uploaded_digests"] == ready["required_digests"]
    deploy = station.netlify.deploys[push["deployId"]]
    assert (deploy.title, deploy.branch, deploy.is_draft) == (f"First ({push['pushId']})", "main", False)
    assert station.netlify.sites[station.site].published == {path[1:]: sha1(data) for path, data in FILES.items()}
    size = sum(len(data) for data in FILES.values())
    bill = await station.bill()
    assert (bill["deploys_ready"], bill["deploy_cost_cents"], bill["bytes_uploaded"]) == (1, 10, size)
    assert (bill["total_cents"], bill["per_deploy_cents"], bill["per_gb_cents"]) == (10, 10, 25)
    done = await station.call("POST", "push-complete", {"pushId": push["pushId"], "wait": True})
    assert done.json == {"ok": True, "state": "ready", "url": push["url"], "deployId": push["deployId"]}
    assert await station.bill() == bill
    written = await pool.fetch(
        "select action from kaixu.audit_event where action like 'PUSH%' and target = $1 order by id",
        f"customer:{station.customer_id}",
    )
    assert [row["action"] for row in written] == [
        "PUSH_PROJECT_UPSERT",
        "PUSH_INIT",
        "PUSH_COMPLETE_BG",
        "PUSH_COMPLETE",
    ]
    await assert_books_balance(pool, reservations=None)


async def test_a_manifest_that_netlify_has_goes_live_without_an_upload_and_is_billed(station: Station) -> None:
    await station.published(FILES)
    again = await station.begun(FILES)
    assert again["required"] == []
    await station.push_in(again["pushId"], "ready")
    assert (await station.bill())["deploys_ready"] == 2


async def test_a_file_in_parts_is_assembled_in_any_order_and_sent_once(station: Station) -> None:
    data = bytes(range(256)) * 4000
    push = await station.begun({"/big.bin": data})
    push_id = push["pushId"]
    sent = await asyncio.gather(*(station.chunk(push_id, "/big.bin", data, part, 4) for part in (3, 0, 2, 1, 2)))
    assert [said.status for said in sent] == [200] * 5, sent
    assert sent[0].json == {
        "ok": True, "pushId": push_id, "sha1": sha1(data), "part": 3, "parts": 4, "bytes": 256_000
    }  # fmt: skip
    waiting = (await station.call("GET", "push-file-status", pushId=push_id, sha1=sha1(data))).json["job"]
    assert (waiting["status"], waiting["received_parts"], waiting["parts"]) == ("uploading", [0, 1, 2, 3], 4)
    queued = await station.assemble(push_id, "/big.bin", data, 4)
    assert (queued.status, queued.json) == (202, {"queued": True, "pushId": push_id, "sha1": sha1(data)})
    await station.file_in(push_id, data, "done")
    assert station.netlify.uploads_of(push["deployId"]) == {sha1(data): 1}
    skipped = await station.chunk(push_id, "/big.bin", data, 0, 4)
    assert (skipped.status, skipped.json["skipped"], skipped.json["reason"]) == (200, True, "already_uploaded")
    await station.push_in(push_id, "ready")
    assert (await station.bill())["bytes_uploaded"] == len(data)


async def test_files_and_parts_of_a_push_do_not_use_up_the_requests_of_a_key(station: Station) -> None:
    """With three requests a minute: the push, and what else the key asks for, are counted; the files are not."""
    body = {"customer_id": station.customer_id, "label": "slow", "role": "deployer", "rpm_limit": 3}
    key = str((await station.operator("POST", "admin-keys", body)).json["api_key"]["key"])
    files = {f"/{number}.txt": f"file {number}".encode() for number in range(8)}
    manifest = {path: sha1(data) for path, data in files.items()}
    push = (await station.call("POST", "push-init", {"projectId": "blog", "files": manifest}, key=key)).json
    for path, data in files.items():
        sent = await station.upload(push["pushId"], path, data, key=key)
        assert sent.status == 200, sent
    await station.push_in(push["pushId"], "ready")
    unknown = {"projectId": "nowhere", "files": manifest}
    asked = [(await station.call("POST", "push-init", unknown, key=key)).status for _ in range(3)]
    assert asked == [404, 404, 429]
