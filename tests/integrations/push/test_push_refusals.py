"""What is refused at each step of a push, with the status, code and fields that clients know."""

from __future__ import annotations

import asyncio
import gzip
import json
from urllib.parse import urlsplit

import asyncpg
import pytest

from .station import Said, Station, sha1

DATA = b"<h1>hello</h1>"
HEX = "a" * 40


def refusal(said: Said) -> tuple[int, str, str]:
    """Status, code and words of a refusal."""
    return said.status, said.json.get("code", ""), said.json.get("error", "")


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (b"not json", 400, "BAD_JSON", "JSON"),
        (b"null", 400, "", ""),
        (b"7", 400, "", ""),
        ({"files": {"/a": HEX}}, 400, "BAD_REQUEST", "Missing projectId"),
        ({"projectId": "  ", "files": {"/a": HEX}}, 400, "BAD_REQUEST", "Missing projectId"),
        ({"projectId": "blog"}, 400, "BAD_REQUEST", "Missing files mapping"),
        ({"projectId": "blog", "files": ["/a"]}, 400, "BAD_REQUEST", "Missing files mapping"),
        ({"projectId": "blog", "files": {}}, 400, "BAD_MANIFEST", "no files"),
        ({"projectId": "blog", "files": {"/a": "short"}}, 400, "BAD_MANIFEST", "SHA1"),
        ({"projectId": "blog", "files": {"/a": 7}}, 400, "BAD_MANIFEST", "SHA1"),
        ({"projectId": "blog", "files": {"/a": HEX, "a": "b" * 40}}, 400, "BAD_MANIFEST", "one path"),
        ({"projectId": "blog", "files": {"/a#b": HEX}}, 400, "BAD_PATH", "character"),
        ({"projectId": "blog", "files": {"/a/../b": HEX}}, 400, "BAD_PATH", "name"),
        ({"projectId": "other", "files": {"/a": HEX}}, 404, "PROJECT_NOT_FOUND", "Project not found for this customer"),
    ],
    ids=[
        "no-json", "null", "number", "no-project", "empty-project", "no-files", "files-list", "empty", "short-digest",
        "number-digest", "two-digests", "hash", "dots", "unknown-project",
    ],
)  # fmt: skip
async def test_what_cannot_be_a_push(station: Station, body: object, status: int, code: str, words: str) -> None:
    said = await station.call("POST", "push-init", body)
    assert (said.status, words in said.json["error"]) == (status, True), said
    assert code in ("", said.json["code"])
    assert station.netlify.deploys == {}


async def test_a_manifest_is_cleaned_counted_and_may_be_compressed(station: Station) -> None:
    many = {"projectId": "blog", "files": {f"/{number}": HEX for number in range(20_001)}}
    said = await station.call("POST", "push-init", many)
    assert refusal(said)[:2] == (413, "BAD_MANIFEST")
    body = {"project_id": " blog ", "message": "m" * 200, "branch": "b" * 100, "files": {"a\\b//c.html ": HEX.upper()}}
    packed = gzip.compress(json.dumps(body).encode())
    made = await station.call("POST", "push-init", packed, headers={"content-encoding": "gzip"})
    assert made.status == 200, made
    deploy = station.netlify.deploys[made.json["deployId"]]
    assert deploy.files == {"a/b/c.html": HEX}
    assert (deploy.branch, deploy.title) == ("b" * 80, f"{'m' * 160} ({made.json['pushId']})")
    broken = await station.call("POST", "push-init", b"\x1f\x8bnonsense", headers={"content-encoding": "gzip"})
    assert broken.status == 400


async def test_uploads_are_refused_before_their_body_is_read(station: Station) -> None:
    files = {"/index.html": DATA, "/twin.html": DATA}
    push_id = (await station.begun(files))["pushId"]

    async def upload(path: str = "/index.html", digest: str = sha1(DATA), push: str = push_id) -> Said:
        return await station.upload(push, path, DATA, digest=digest)

    assert refusal(await upload(digest="xyz")) == (400, "BAD_REQUEST", "Missing/invalid X-Content-Sha1")
    assert refusal(await upload(push="")) == (400, "BAD_REQUEST", "Missing pushId")
    assert refusal(await upload(push="push_nobody")) == (404, "PUSH_NOT_FOUND", "Push not found")
    assert refusal(await upload(path="/a?b"))[:2] == (400, "BAD_PATH")
    absent = await upload(path="/absent.html")
    assert (absent.status, absent.json["code"], absent.json["path"]) == (409, "PATH_NOT_IN_MANIFEST", "/absent.html")
    other = await upload(digest=HEX)
    assert (other.status, other.json["code"]) == (409, "SHA1_NOT_MATCHING_MANIFEST")
    assert [other.json[name] for name in ("path", "expected", "got")] == ["/index.html", sha1(DATA), HEX]
    wrong = await station.upload(push_id, "/index.html", b"other bytes...", digest=sha1(DATA))
    assert (wrong.status, wrong.json["error"]) == (400, "SHA1 mismatch")
    assert (wrong.json["expected"], wrong.json["got"]) == (sha1(DATA), sha1(b"other bytes..."))
    assert station.netlify.uploads_of(next(iter(station.netlify.deploys))) == {}
    assert (await upload()).status == 200
    twin = await upload(path="/twin.html")
    assert twin.json == {
        "ok": True, "skipped": True, "reason": "already_uploaded", "pushId": push_id, "path": "/twin.html",
        "sha1": sha1(DATA),
    }  # fmt: skip
    again = await station.begun({**files, "/new.html": b"new"})
    known = await station.upload(again["pushId"], "/index.html", DATA)
    assert (known.status, known.json["code"], known.json["path"]) == (409, "NOT_REQUIRED", "/index.html")


async def test_parts_are_refused_by_their_numbers(station: Station) -> None:
    push_id = (await station.begun({"/a.bin": DATA}))["pushId"]

    async def chunk(part: object, parts: object, digest: str = sha1(DATA)) -> tuple[int, str, str]:
        said = await station.call(
            "PUT", "push-upload-chunk", DATA, pushId=push_id, path="/a.bin", sha1=digest, part=part, parts=parts
        )
        return refusal(said)

    assert await chunk("x", 2) == (400, "BAD_REQUEST", "Invalid part")
    assert await chunk(-1, 2) == (400, "BAD_REQUEST", "Invalid part")
    assert await chunk(0, 0) == (400, "BAD_REQUEST", "Invalid parts")
    assert await chunk(2, 2) == (400, "BAD_REQUEST", "part must be < parts")
    assert await chunk(0, 2, "zz") == (400, "BAD_REQUEST", "Missing/invalid sha1")
    assert (await chunk(0, 2, HEX))[1] == "SHA1_NOT_MATCHING_MANIFEST"
    none = await station.assemble(push_id, "/a.bin", DATA, 2)
    assert refusal(none) == (404, "JOB_NOT_FOUND", "Job not found")
    unknown = await station.call("GET", "push-file-status", pushId=push_id, sha1=sha1(DATA))
    assert refusal(unknown) == (404, "JOB_NOT_FOUND", "Job not found")
    assert (await station.chunk(push_id, "/a.bin", DATA, 1, 2)).status == 200
    assert (await chunk(0, 3))[1] == "PARTS_CHANGED"
    some = await station.assemble(push_id, "/a.bin", DATA, 2)
    assert (some.status, some.json["code"]) == (409, "PARTS_INCOMPLETE")
    assert (some.json["expected_parts"], some.json["received_parts"]) == (2, 1)
    for wrong in ("2", 0, None, 1.5):
        body = {"pushId": push_id, "path": "/a.bin", "sha1": sha1(DATA), "parts": wrong}
        assert refusal(await station.call("POST", "push-upload-complete", body))[2] == "Invalid parts"
    own = await station.call(
        "PUT", "push-upload-chunk", DATA[:7], headers={"x-content-sha1": HEX},
        pushId=push_id, path="/a.bin", sha1=sha1(DATA), part=0, parts=2,
    )  # fmt: skip
    assert refusal(own)[::2] == (400, "SHA1 mismatch")
    assert (await station.call("GET", "push-file-status", pushId=push_id, sha1=sha1(DATA))).json["job"][
        "received_parts"
    ] == [1]


async def test_completing_with_missing_files_says_how_many(station: Station) -> None:
    push_id = (await station.begun({"/a": b"a", "/b": b"b"}))["pushId"]
    await station.upload(push_id, "/a", b"a")
    for wait in (True, False):
        said = await station.call("POST", "push-complete", {"pushId": push_id, "wait": wait})
        assert (said.status, said.json["code"], said.json["missingCount"]) == (409, "MISSING_UPLOADS", 1)
    assert refusal(await station.call("GET", "push-status", pushId="push_nobody")) == (
        404, "PUSH_NOT_FOUND", "Not found",
    )  # fmt: skip
    await station.upload(push_id, "/b", b"b")
    queued = await station.call("POST", "push-complete", {"pushId": push_id})
    assert (queued.status, queued.json["queued"], queued.json["state"]) == (202, True, "finalizing")
    await station.push_in(push_id, "ready")


async def test_roles_methods_and_keys(station: Station) -> None:
    viewer = await station.key_of(station.customer_id, "viewer")
    deployer = await station.key_of(station.customer_id, "deployer")
    for method, name, key in (
        ("POST", "push-init", viewer), ("PUT", "push-upload", viewer), ("PUT", "push-upload-chunk", viewer),
        ("POST", "push-upload-complete", viewer), ("POST", "push-complete", viewer),
        ("POST", "push-projects", deployer), ("GET", "push-billing", deployer), ("POST", "netlify-token", deployer),
        ("DELETE", "netlify-token", deployer),
    ):  # fmt: skip
        assert (await station.call(method, name, b"{}" if method != "GET" else None, key=key)).status == 403, name
        assert (await station.call(method, name, b"{}" if method != "GET" else None, key="")).status == 401, name
        assert (await station.call(method, name, b"{}" if method != "GET" else None, key="kx_wrong")).status == 401
    assert (await station.call("GET", "push-projects", key=viewer)).status == 200
    assert (await station.call("PUT", "push-init", b"{}")).status == 405
    assert (await station.call("GET", "netlify-token", key=viewer)).json == {
        "ok": True, "connected": True, "whoami": None,
    }  # fmt: skip
    own = (await station.call("GET", "netlify-token")).json
    assert own["whoami"]["email"] == f"{station.netlify.users[station.token]}@example.com"
    assert refusal(await station.call("POST", "netlify-token", {})) == (400, "BAD_REQUEST", "Missing token")
    assert (await station.call("POST", "netlify-token", {"token": "nfp_unknown"})).status == 422
    assert refusal(await station.call("POST", "push-projects", {"netlifySiteId": "x"}))[2] == "Missing projectId"
    assert refusal(await station.call("POST", "push-projects", {"projectId": "x"}))[2] == "Missing netlifySiteId"
    for month in ("2026-13", "x", "1-1"):
        assert (await station.call("GET", "push-billing", month=month)).status == 400


async def test_deploys_of_a_customer_are_counted_after_everything_else(station: Station, pool: asyncpg.Pool) -> None:
    """The gateway of this file allows 1,000 a minute: the last of them is counted here by hand."""
    await station.begun({"/a": b"a"})
    await pool.execute(
        "update kaixu_push.deploy_window set count = 1000 where customer_id = $1 and scope = 'minute'",
        station.customer_id,
    )
    bad = await station.call("POST", "push-init", {"projectId": "other", "files": {"/a": HEX}})
    assert bad.status == 404
    full = await station.init({"/a": b"a"})
    if full.status == 200:  # the minute has turned meanwhile
        return
    assert (full.status, full.json["code"], full.headers["retry-after"]) == (429, "PUSH_NETLIFY_RATE_LIMIT", "60")
    assert (full.json["scope"], full.json["limit"], full.json["count"]) == ("minute", 1000, 1001)
    held = await pool.fetchval(
        "select count(*) from kaixu.keyed_charge where customer_id = $1 and charge = 'deploy' and state = 'held'",
        station.customer_id,
    )
    assert held == 1


@pytest.mark.parametrize("announced", [10**15, 9 * 10**18, 10**19])
async def test_a_length_that_cannot_be_is_refused_before_anything_is_read(station: Station, announced: int) -> None:
    push_id = (await station.begun({"/a": DATA}))["pushId"]
    for name, more in (("push-upload", ""), ("push-upload-chunk", f"&sha1={sha1(DATA)}&part=0&parts=1")):
        url = urlsplit(station.gateway.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(
            f"PUT /.netlify/functions/{name}?pushId={push_id}&path=/a{more} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            f"authorization: Bearer {station.key}\r\nx-content-sha1: {sha1(DATA)}\r\n"
            f"content-length: {announced}\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            assert (await reader.readline()).split()[1] == b"413"
        writer.close()


async def test_a_number_of_a_project_that_cannot_be_is_refused(station: Station) -> None:
    for method, body in (("DELETE", {"id": 10**20}), ("PATCH", {"id": -1, "name": "x"})):
        said = await station.asked(method, "admin-push-projects", body | {"customer_id": station.customer_id})
        assert 400 <= said.status < 500, said
