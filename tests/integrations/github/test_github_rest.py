"""Pushes by the REST API, where git's own protocol is not reachable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from .pusher import Pusher, link, names
from .stand_in import Account, Fault, GitHubServer


@pytest.fixture(autouse=True)
def without_git(server: GitHubServer) -> Iterator[None]:
    """Pages are answered at the web address, and no git."""
    server.has_git = False
    yield
    server.has_git = True


async def test_a_zip_in_an_empty_repository_is_one_commit(ada: Pusher) -> None:
    files = {"a.txt": "ä", "b/run.sh": (0o755, "#!/bin/sh"), "c.bin": bytes(range(256)), "d": link("a.txt")}
    job = await ada.push(files, message="first")
    assert job["status"] == "done", job
    server, repo = ada.server, ada.repo
    assert server.log(repo) == ["first"]
    assert {path: mode for path, (mode, _) in server.files(repo).items()} == {
        "a.txt": "100644", "b/run.sh": "100755", "c.bin": "100644", "d": "120000",
    }  # fmt: skip
    assert server.git(repo, "cat-file", "-s", "main:c.bin") == "256"
    assert job["result_commit_sha"] == server.git(repo, "rev-parse", "main")
    server.check(repo)
    assert [charge for charge, _ in await ada.billed()] == ["base", "gib", "push"]


async def test_only_what_changed_is_sent_and_what_is_gone_is_removed(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a", "b.txt": b"b", "folder/c.bin": bytes([255, 254])})
    ada.server.requests.clear()
    job = await ada.push({"a.txt": "a", "b.txt": "B", "folder/c.bin": bytes([255, 254])}, mode="replace")
    assert job["status"] == "done", job
    sent = [path for method, path in ada.server.requests if method == "POST" and "/git/" in path]
    assert [path.rpartition("/")[2] for path in sent] == ["trees", "commits"]
    job = await ada.push({"b.txt": "B"}, mode="replace")
    assert (job["status"], set(ada.server.files(ada.repo))) == ("done", {"b.txt"})
    assert (await ada.push({"b.txt": "B"}))["unchanged"]
    assert len(ada.server.log(ada.repo)) == 3
    ada.server.check(ada.repo)


async def test_many_files_are_sent_in_batches(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    ada.server.requests.clear()
    job = await ada.push({name: f"content of {name}" for name in names(250)})
    assert job["status"] == "done", job
    sent = [path for method, path in ada.server.requests if method == "POST" and path.endswith("/git/trees")]
    assert len(sent) == 3
    assert len(ada.server.files(ada.repo)) == 251
    assert len(ada.server.log(ada.repo)) == 2


@pytest.mark.parametrize("mode", ["merge", "replace"])
async def test_a_tree_that_is_too_large_to_be_read_whole_is_read_where_it_matters(ada: Pusher, mode: str) -> None:
    ada.server.commit(ada.repo, {"a/one.txt": b"1", "a/two.txt": b"2", "b/three.txt": b"3"})
    ada.server.truncates = True
    job = await ada.push({"a/one.txt": "new", "c.txt": "c"}, mode=mode)
    assert job["status"] == "done", job
    kept = {"a/two.txt", "b/three.txt"} if mode == "merge" else set()
    assert set(ada.server.files(ada.repo)) == {"a/one.txt", "c.txt", *kept}
    ada.server.check(ada.repo)


async def test_a_new_branch_begins_at_the_default_branch(ada: Pusher) -> None:
    first = ada.server.commit(ada.repo, {"a.txt": b"a"})
    job = await ada.push({"b.txt": "b"}, branch="new/one")
    assert job["status"] == "done", job
    assert ada.server.git(ada.repo, "rev-parse", "new/one~1") == first


async def test_names_with_signs_of_addresses_stay_what_they_are(ada: Pusher) -> None:
    first = await ada.push({"100%25#1?.txt": "a"}, branch="fix#1")
    assert first["status"] == "done", first
    assert set(ada.server.files(ada.repo, "fix#1")) == {"100%25#1?.txt"}
    second = await ada.push({"b.txt": "b"}, branch="fix#1")
    assert second["status"] == "done", second
    assert len(ada.server.log(ada.repo, "fix#1")) == 2
    assert ada.server.git(ada.repo, "branch", "--format=%(refname:short)").split() == ["fix#1"]
    ada.server.check(ada.repo)


async def test_a_branch_that_moved_is_read_again(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    moved = {"message": "Update is not a fast forward"}
    ada.server.faults.append(Fault("PATCH", "/git/refs/heads/main", 422, body=moved))
    job = await ada.push({"b.txt": "b"})
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["Kaixu GitHub Push", "by hand"]


async def test_a_push_whose_answer_is_lost_is_recognized(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    ada.server.faults.append(Fault("PATCH", "/git/refs/heads/main", 500, passes=True))
    job = await ada.push({"b.txt": "b"})
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["Kaixu GitHub Push", "by hand"]
    assert [charge for charge, _ in await ada.billed()].count("push") == 1


async def test_a_limit_is_waited_for_and_nothing_is_sent_twice(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    limit = {"message": "You have exceeded a secondary rate limit"}
    ada.server.faults.append(Fault("POST", "/git/blobs", 403, {"retry-after": "1"}, limit, after=3))
    ada.server.requests.clear()
    job = await ada.push({f"{at}.bin": bytes([255, at]) for at in range(6)})
    assert job["status"] == "done", job
    sent = [path for method, path in ada.server.requests if method == "POST" and path.endswith("/git/blobs")]
    assert len(sent) == 6 + 1, "the refused one is sent again, those before are not"


async def test_an_empty_repository_is_begun_once_whatever_fails_then(ada: Pusher) -> None:
    ada.server.faults.append(Fault("POST", "/git/trees", 500, times=2))
    job = await ada.push({"a.txt": "a", "b.txt": "b"}, message="first")
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["first"]


async def test_an_empty_repository_is_begun_once_though_the_answer_to_that_was_lost(ada: Pusher) -> None:
    for fault in (Fault("PUT", "/contents/", 502, passes=True), Fault("PUT", "/contents/", 500, passes=True)):
        ada.server.faults.append(fault)
    job = await ada.push({"folder/a b.txt": "a", "b.txt": "bb"}, message="first")
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["first"]
    assert [charge for charge, _ in await ada.billed()].count("push") == 1


async def test_a_repository_that_somebody_else_has_begun_keeps_what_it_has(ada: Pusher) -> None:
    ada.server.faults.append(Fault("PUT", "/contents/", 500, times=4))
    job = await ada.begun({"a.txt": "a", "b.txt": "bb"}, message="first")
    async with asyncio.timeout(30):
        while not any(method == "PUT" for method, path in ada.server.requests if path.endswith("/contents/a.txt")):
            await asyncio.sleep(0.01)
    ada.server.commit(ada.repo, {"theirs.txt": b"t"}, message="Initial commit")
    assert (await ada.ended(job))["status"] == "done"
    assert ada.server.log(ada.repo) == ["first", "Initial commit"]
    assert set(ada.server.files(ada.repo)) == {"theirs.txt", "a.txt", "b.txt"}


async def test_workflows_need_a_scope(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    ada.server.tokens[ada.token] = Account(ada.login, ada.account.id, ["repo"])
    job = await ada.push({".github/workflows/ci.yml": "on: push"})
    assert (job["status"], job["error_code"]) == ("error", "GITHUB_WORKFLOW_SCOPE")


async def test_a_pull_request_works_as_well(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    job = await ada.push({"b.txt": "b"}, pull_request={"title": "Please"})
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["by hand"]
    assert ada.server.log(ada.repo, f"kaixu/{job['jobId']}") == ["Kaixu GitHub Push", "by hand"]
    assert [one["title"] for one in pulls_of(ada)] == ["Please"]


async def test_an_unknown_repository_ends_the_push(ada: Pusher) -> None:
    job = await ada.push({"a.txt": "a"}, repo="unknown")
    assert (job["status"], job["error_code"]) == ("error", "GITHUB_NOT_FOUND")


def pulls_of(ada: Pusher) -> list[dict[str, object]]:
    """The pull requests of its repository."""
    return [one for one in ada.server.pulls if one["repo"] == ada.repo]
