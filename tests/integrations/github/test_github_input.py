"""What clients send wrong: the texts that they are told, and whose pushes they may see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.operators import admin_headers

from .pusher import Pusher, new_pusher, zipped
from .stand_in import Fault

OPTIONS = "most_zip_bytes: 100000"

INIT = {"owner": "ada", "repo": "site"}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "Missing owner"),
        ({"owner": "  ", "repo": "site"}, 400, "Missing owner"),
        ({"owner": "ada"}, 400, "Missing repo"),
        ({**INIT, "owner": "../evil"}, 400, "The owner is no name of an account at GitHub"),
        ({**INIT, "repo": ".."}, 400, None),
        ({**INIT, "repo": "a/b"}, 400, None),
        ({**INIT, "branch": "a..b"}, 400, "This cannot be the name of a branch"),
        ({**INIT, "branch": "a b"}, 400, None),
        ({**INIT, "branch": "-x"}, 400, None),
        ({**INIT, "branch": "x.lock"}, 400, None),
        ({**INIT, "branch": "ä" * 150}, 400, None),
        ({**INIT, "author": {"name": "Ada", "email": "nonsense"}}, 400, "An author has a name and a mail address"),
        ({**INIT, "parent": "main"}, 400, None),
        ({**INIT, "mode": "squash"}, 422, None),
        ({**INIT, "force": True, "pull_request": True}, 400, "A pull request is never forced"),
        ({"owner": 5, "repo": []}, 422, None),
        ([], 422, None),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_a_push_that_cannot_begin(ada: Pusher, body: Any, status: int, error: str | None) -> None:
    answer = await ada.call("POST", "gh-push-init", body)
    assert answer.status == status, answer
    assert answer.body["code"]
    if error is not None:
        assert answer.body["error"] == error


async def test_long_texts_are_cut_and_defaults_are_those_of_the_older_edition(ada: Pusher) -> None:
    job = await ada.status(await ada.init(message="m" * 500))
    assert len(job["commit_message"]) == 200
    job = await ada.status(await ada.init())
    assert (job["commit_message"], job["branch"], job["status"]) == ("Kaixu GitHub Push", "main", "uploading")
    assert job["jobId"].startswith("gh_")
    assert set(job) >= {
        "jobId", "status", "owner", "repo", "branch", "commit_message", "parts", "received_parts", "bytes_staged",
        "attempts", "next_attempt_at", "last_error", "result_commit_sha", "result_url", "created_at", "updated_at",
    }  # fmt: skip


async def test_init_answers_with_the_two_next_addresses(ada: Pusher) -> None:
    answer = await ada.call("POST", "/api/gh-push-init", {"owner": ada.login, "repo": "site"})
    assert answer.body["upload"] == {
        "chunk": "/.netlify/functions/gh-push-upload-chunk",
        "complete": "/.netlify/functions/gh-push-upload-complete",
    }


async def test_a_push_needs_a_token(ada: Pusher) -> None:
    assert (await ada.call("DELETE", "github-token")).body == {"ok": True}
    answer = await ada.call("POST", "gh-push-init", {"owner": ada.login, "repo": "site"})
    assert (answer.status, answer.body["code"]) == (409, "NO_GITHUB_TOKEN")
    assert (await ada.call("POST", "gh-push-init", {})).body["error"] == "Missing owner", "the body is checked first"
    whole = await ada.call("POST", "/v1/github/zip", b"zip", owner=ada.login, repo="site")
    assert (whole.status, whole.body["code"]) == (409, "NO_GITHUB_TOKEN")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"part": "0", "parts": "1"}, "Missing jobId"),
        ({"jobId": "JOB", "parts": "1"}, "Invalid part"),
        ({"jobId": "JOB", "part": "x", "parts": "1"}, "Invalid part"),
        ({"jobId": "JOB", "part": "-1", "parts": "1"}, "Invalid part"),
        ({"jobId": "JOB", "part": "0"}, "Invalid parts"),
        ({"jobId": "JOB", "part": "0", "parts": "0"}, "Invalid parts"),
        ({"jobId": "JOB", "part": "0", "parts": "99999999"}, "Invalid parts"),
        ({"jobId": "JOB", "part": "1", "parts": "1"}, "part must be < parts"),
    ],
    ids=str,
)
async def test_a_part_that_is_refused(ada: Pusher, query: dict[str, str], error: str) -> None:
    job = await ada.init()
    sent: dict[str, Any] = {name: job if value == "JOB" else value for name, value in query.items()}
    answer = await ada.call("PUT", "gh-push-upload-chunk", b"data", **sent)
    assert (answer.status, answer.body["error"]) == (400, error)


async def test_parts_come_in_any_order_again_and_are_counted_by_their_numbers(ada: Pusher) -> None:
    job, data = await ada.init(), zipped({"a.txt": "a"})
    early = await ada.complete(job)
    assert (early.status, early.body["code"]) == (409, "NO_CHUNKS")
    for part, piece in ((2, data[40:]), (0, b"wrong"), (0, data[:20])):
        answer = await ada.call("PUT", f"/v1/github/pushes/{job}/part", piece, part=part, parts=3)
        assert (answer.status, answer.body["bytes"]) == (200, len(piece)), answer
    lacks = await ada.complete(job)
    assert (lacks.status, lacks.body["code"], lacks.body["missing"]) == (409, "PARTS_INCOMPLETE", 1)
    changed = await ada.call("PUT", "gh-push-upload-chunk", b"x", jobId=job, part=1, parts=4)
    assert (changed.status, changed.body["code"]) == (409, "PARTS_CHANGED")
    await ada.call("PUT", "gh-push-upload-chunk", data[20:40], jobId=job, part=1, parts=3)
    assert (await ada.status(job))["bytes_staged"] == len(data)
    assert (await ada.complete(job)).status == 202
    assert (await ada.ended(job))["status"] == "done"
    late = await ada.call("PUT", "gh-push-upload-chunk", b"x", jobId=job, part=1, parts=3)
    assert (late.status, late.body["code"]) == (409, "JOB_STARTED")
    again = await ada.complete(job)
    assert (again.status, again.body) == (202, {"ok": True, "queued": False, "jobId": job})


async def test_a_zip_that_is_too_large_is_refused_before_it_is_read(ada: Pusher) -> None:
    job = await ada.init()
    answer = await ada.call("PUT", "gh-push-upload-chunk", bytes(100_001), jobId=job, part=0, parts=2)
    assert (answer.status, answer.body["code"]) == (413, "TOO_LARGE")
    assert (await ada.call("PUT", "gh-push-upload-chunk", bytes(60_000), jobId=job, part=0, parts=2)).status == 200
    answer = await ada.call("PUT", "gh-push-upload-chunk", bytes(60_000), jobId=job, part=1, parts=2)
    assert (answer.status, answer.body["code"]) == (413, "TOO_LARGE")
    assert (await ada.status(job))["bytes_staged"] == 60_000


async def test_another_customer_s_push_is_not_there(ada: Pusher) -> None:
    bob = await new_pusher(ada.server, ada.gateway, ada.pool, ada.http)
    job = await ada.init()
    for answer in (
        await bob.call("GET", "gh-push-status", jobId=job),
        await bob.call("PUT", "gh-push-upload-chunk", b"data", jobId=job, part=0, parts=1),
        await bob.complete(job),
        await bob.call("GET", "gh-push-status", jobId="gh_unknown"),
    ):
        assert (answer.status, answer.body["error"]) == (404, "Job not found")
    assert (await bob.call("GET", "gh-my-jobs")).body["jobs"] == []


async def test_roles_are_those_of_the_wire(ada: Pusher) -> None:
    viewer, deployer = await ada.key_of("viewer"), await ada.key_of("deployer")
    job = await ada.init()
    assert (await ada.call("GET", "gh-push-status", key=viewer, jobId=job)).status == 200
    for method, path, key in (
        ("POST", "gh-push-init", viewer), ("PUT", "gh-push-upload-chunk", viewer), ("POST", "github-token", deployer),
        ("DELETE", "github-token", deployer), ("GET", "github-repos", deployer), ("GET", "github-whoami", deployer),
        ("POST", "github-create-repo", deployer), ("POST", "github-oauth-start", deployer),
    ):  # fmt: skip
        answer = await ada.call(method, path, b"x" if method == "PUT" else None, key=key)
        assert answer.status == 403, (path, answer)
    for path in ("gh-push-init", "github-oauth-start"):
        assert (await ada.call("POST", path, {}, key="")).status == 401
    assert (await ada.call("POST", "gh-push-init", INIT, key=deployer)).status == 200


async def test_a_customer_who_is_switched_off_pushes_nothing(ada: Pusher) -> None:
    await ada.pool.execute("update kaixu.customer set is_active = false where id = $1", ada.id)
    for method, path, body in (
        ("POST", "gh-push-init", INIT),
        ("GET", "gh-my-jobs", None),
        ("GET", "github-token", None),
    ):
        assert (await ada.call(method, path, body)).status == 403


async def test_endpoints_of_workers_are_not_open_to_everybody(ada: Pusher) -> None:
    for name in ("gh-job-retry", "gh-chunk-cleanup", "gh-push-background"):
        for method in ("GET", "POST"):
            assert (await ada.call(method, name, None if method == "GET" else {}, key="")).status in (401, 404, 405)
            assert (await ada.call(method, name, None if method == "GET" else {})).status in (401, 403, 404, 405)


async def test_a_wrong_method_is_405(ada: Pusher) -> None:
    assert (await ada.call("DELETE", "gh-push-init")).status == 405
    assert (await ada.call("PATCH", "github-token", {})).status == 405


async def test_a_cap_refuses_before_anything_is_sent(ada: Pusher) -> None:
    await ada.set(cap=1.05)  # the month's base, and half of a push
    answer = await ada.call("POST", "gh-push-init", INIT)
    assert (answer.status, answer.body["code"]) == (402, "GITHUB_CAP_REACHED")
    assert answer.body["monthly_cap_cents"] == 105
    await ada.set(cap=1.10)
    assert (await ada.call("POST", "gh-push-init", INIT)).status == 200
    assert (await ada.call("POST", "gh-push-init", INIT)).status == 402
    await ada.set(cap=0)
    assert (await ada.call("POST", "gh-push-init", INIT)).status == 402


async def test_an_upload_that_nobody_completes_ends_as_an_error_and_gives_everything_back(ada: Pusher) -> None:
    job = await ada.init()
    await ada.call("PUT", "gh-push-upload-chunk", b"data", jobId=job, part=0, parts=2)
    young = await ada.init()
    assert await ada.held() > 0
    await ada.pool.execute("update kaixu_github.push set updated_at = now() - interval '3 days' where job_id = $1", job)
    cleaned = await ada.call("POST", "gh-chunk-cleanup", {}, key="", headers=admin_headers())
    assert cleaned.status == 200, cleaned
    assert (cleaned.body["expired_jobs"], cleaned.body["deleted_chunks"]) == (1, 1)
    ended = await ada.status(job)
    assert (ended["status"], ended["error_code"]) == ("error", "EXPIRED")
    assert (await ada.status(young))["status"] == "uploading"
    assert await ada.blobs() == 0
    assert await ada.held() == 10**9 + 10**8, "the younger one, and the month"


async def test_the_job_of_an_upload_ends_it_even_if_its_key_was_revoked(ada: Pusher) -> None:
    job, other = await ada.init(), await ada.key_of("owner")
    await ada.pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", ada.key_id)
    await ada.pool.execute("update kaixu_github.push set updated_at = now() - interval '3 days' where job_id = $1", job)
    await ada.pool.execute(
        "update kaixu.job set run_after = now() where kind = 'github.expire' and customer_id = $1", ada.id
    )
    ada.key = other
    ended = await ada.ended(job)
    assert (ended["status"], ended["error_code"]) == ("error", "EXPIRED")
    assert await ada.held() == 0


async def test_operators_let_waiting_pushes_run_now(ada: Pusher) -> None:
    limit = {"message": "You have exceeded a secondary rate limit"}
    ada.server.faults.append(Fault("GET", "info/refs", 403, {"retry-after": "3600"}, limit))
    job = await ada.begun({"a.txt": "a"})
    async with asyncio.timeout(30):
        while (await ada.status(job))["status"] != "retry_wait":
            await asyncio.sleep(0.05)
    assert (await ada.call("GET", "gh-job-retry", key="")).status == 401
    woken = await ada.call("GET", "gh-job-retry", key="", headers=admin_headers(), limit=25)
    assert (woken.status, woken.body["ok"], woken.body["triggered"]) == (200, True, 1)
    assert (await ada.ended(job))["status"] == "done"


async def test_charges_of_a_month_are_stated_for_the_customer(ada: Pusher) -> None:
    data = zipped({"a.txt": "a"})
    await ada.push(data)
    answer = await ada.call("GET", "user-push-charges")
    stated = answer.body["github"]
    assert {name: stated[name] for name in ("pricing_version", "base_month_cents", "per_push_cents", "per_gb_cents")} == {
        "pricing_version": "env", "base_month_cents": 100, "per_push_cents": 10, "per_gb_cents": 25,
    }  # fmt: skip
    assert (stated["pushes_done"], stated["bytes_uploaded"], stated["total_cents"]) == (1, len(data), 110)
    assert answer.body["total_push_cents"] == 110
