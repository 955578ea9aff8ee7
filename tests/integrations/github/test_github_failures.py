"""GitHub's failures and limits: each push ends, lands once, and is billed once."""

from __future__ import annotations

import asyncio

from .pusher import Pusher, new_pusher
from .stand_in import Account, Fault

OPTIONS = "attempts: 3\n    most_limits: 2"

GIT = "git-upload-pack"
PUSH = "git-receive-pack"


async def test_a_revoked_token_ends_the_push_and_is_dropped(ada: Pusher) -> None:
    job = await ada.begun({"a.txt": "a"}) if ada.server.tokens.pop(ada.token) else ""
    ended = await ada.ended(job)
    assert (ended["status"], ended["error_code"]) == ("error", "GITHUB_UNAUTHORIZED")
    assert "revoked" in ended["last_error"]
    shown = (await ada.call("GET", "github-token")).body
    assert (shown["connected"], shown["whoami"]) == (False, None)
    assert (await ada.billed(), await ada.held(), await ada.blobs()) == ([], 0, 0)


async def test_a_revoked_token_is_told_and_dropped_wherever_it_is_used(ada: Pusher) -> None:
    del ada.server.tokens[ada.token]
    answer = await ada.call("GET", "github-repos")
    assert (answer.status, answer.body["code"]) == (401, "GITHUB_UNAUTHORIZED")
    again = await ada.call("GET", "github-repos")
    assert (again.status, again.body["code"]) == (404, "NO_GITHUB_TOKEN")


async def test_a_revoked_token_is_dropped_when_its_state_is_asked_for(ada: Pusher) -> None:
    del ada.server.tokens[ada.token]
    shown = (await ada.call("GET", "github-token")).body
    assert shown["connected"] is False
    assert "revoked" in shown["error"]
    assert (await ada.call("GET", "github-whoami")).status == 404


async def test_operators_get_no_401_for_a_customer_s_token(ada: Pusher) -> None:
    del ada.server.tokens[ada.token]
    answer = await ada.operator("GET", "admin-github-repos")
    assert (answer.status, answer.body["code"]) == (502, "GITHUB_UNAUTHORIZED")
    answer = await ada.operator("GET", "admin-github-repos")
    assert (answer.status, answer.body["code"]) == (404, "NO_GITHUB_TOKEN")


async def test_a_newer_token_is_not_dropped_for_an_older_one(ada: Pusher) -> None:
    """The older token is refused while the newer one is stored: by a slow answer, here."""
    server, newer = ada.server, f"ghp_newer{ada.id:031d}"
    server.tokens[newer] = ada.account
    del server.tokens[ada.token]
    job = await ada.init()
    answer = await ada.call("POST", "github-token", {"token": newer})
    assert answer.status == 200
    assert (await ada.call("GET", "github-token")).body["connected"] is True
    assert (await ada.status(job))["status"] == "uploading"


async def test_a_repository_that_is_not_there_ends_the_push(ada: Pusher) -> None:
    ended = await ada.push({"a.txt": "a"}, repo="unknown")
    assert (ended["status"], ended["error_code"]) == ("error", "GITHUB_NOT_FOUND")


async def test_a_repository_of_somebody_else_is_not_found(ada: Pusher) -> None:
    bob = await new_pusher(ada.server, ada.gateway, ada.pool, ada.http)
    ended = await ada.push({"a.txt": "a"}, owner=bob.login)
    assert (ended["status"], ended["error_code"]) == ("error", "GITHUB_NOT_FOUND")
    assert not bob.server.git(bob.repo, "for-each-ref")


LIMITS = {
    "secondary": (403, {"retry-after": "1"}, "You have exceeded a secondary rate limit."),
    "too many": (429, {"retry-after": "1"}, "too many"),
    "primary": (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000000000"}, "API rate limit exceeded"),
}


async def test_limits_of_github_are_waited_for_wherever_they_come(ada: Pusher) -> None:
    cases = [(limit, at) for limit in LIMITS.values() for at in ("service=git-upload", "service=git-receive", "/user")]
    pushers = [await new_pusher(ada.server, ada.gateway, ada.pool, ada.http) for _ in cases]
    for one, ((status, headers, message), at) in zip(pushers, cases, strict=True):
        part = at if at == "/user" else f"/{one.repo}.git/info/refs?{at}"
        ada.server.faults.append(Fault("GET", part, status, headers, {"message": message}, token=one.token))

    async def push(one: Pusher) -> None:
        ended = await one.push({"a.txt": "a"})
        assert (ended["status"], ended["last_error"]) == ("done", None)
        assert one.server.log(one.repo) == ["Kaixu GitHub Push"]
        assert ended["attempts"] == 1, "a pause takes no attempt"
        assert [charge for charge, _ in await one.billed()] == ["base", "gib", "push"]

    await asyncio.gather(*map(push, pushers))
    assert [one.times for one in ada.server.faults] == [0] * len(cases)


async def test_a_limit_without_a_time_is_shown_with_the_next_attempt(ada: Pusher) -> None:
    ada.server.faults.append(
        Fault("GET", "info/refs", 403, {}, {"message": "You have exceeded a secondary rate limit"})
    )
    job = await ada.begun({"a.txt": "a"})
    async with asyncio.timeout(30):
        while (state := await ada.status(job))["status"] != "retry_wait":
            await asyncio.sleep(0.05)
    assert state["next_attempt_at"]
    assert state["last_error"] == "GitHub's limit for this account is reached; the push goes on in 60 s"


async def test_limits_that_never_end_end_the_push(ada: Pusher) -> None:
    ada.server.faults.append(Fault("GET", "info/refs", 429, {"retry-after": "1"}, times=10))
    ended = await ada.push({"a.txt": "a"})
    assert (ended["status"], ended["error_code"]) == ("error", "GITHUB_RATE_LIMIT")
    assert (await ada.billed(), await ada.held()) == ([], 0)


async def test_github_that_fails_is_tried_again(ada: Pusher) -> None:
    ada.server.faults.append(Fault("POST", PUSH, 500))
    ended = await ada.push({"a.txt": "a"})
    assert (ended["status"], ended["attempts"]) == ("done", 2)
    assert ada.server.log(ada.repo) == ["Kaixu GitHub Push"]


async def test_github_that_goes_on_failing_ends_the_push_after_its_attempts(ada: Pusher) -> None:
    ada.server.faults.append(Fault("POST", PUSH, 500, times=100))
    ended = await ada.push({"a.txt": "a"})
    assert (ended["status"], ended["error_code"], ended["attempts"]) == ("error", "GITHUB_TRANSIENT", 3)
    assert (await ada.billed(), await ada.held(), await ada.blobs()) == ([], 0, 0)
    again = await ada.complete(ended["jobId"])
    assert (again.status, again.body["code"]) == (409, "JOB_ENDED")


async def test_a_push_whose_answer_is_lost_is_recognized_on_a_new_branch(ada: Pusher) -> None:
    branch = "new"
    ada.server.commit(ada.repo, {"old.txt": b"old"})
    ada.server.faults.append(Fault("POST", PUSH, 502, passes=True))
    ended = await ada.push({"a.txt": "a"}, branch=branch)
    assert ended["status"] == "done", ended
    assert ada.server.log(ada.repo, branch) == ["Kaixu GitHub Push", "by hand"]
    assert [charge for charge, _ in await ada.billed()].count("push") == 1


async def test_a_push_that_landed_in_its_last_attempt_is_done_and_billed(ada: Pusher) -> None:
    ada.server.faults += [Fault("POST", PUSH, 500, times=2), Fault("POST", PUSH, 502, passes=True)]
    ended = await ada.push({"a.txt": "a"})
    assert (ended["status"], ended["attempts"], ended["last_error"]) == ("done", 3, None), ended
    assert ended["result_commit_sha"] == ada.server.git(ada.repo, "rev-parse", "main")
    assert [charge for charge, _ in await ada.billed()].count("push") == 1
    assert (await ada.held(), await ada.blobs()) == (0, 0)


async def test_a_landed_push_whose_key_is_revoked_before_it_is_seen_is_done_and_billed(ada: Pusher) -> None:
    ada.server.faults += [
        Fault("POST", PUSH, 502, passes=True),
        Fault("GET", "info/refs", 429, {"retry-after": "2"}, after=2),
    ]
    job = await ada.begun({"a.txt": "a"})
    other = await ada.key_of("owner")
    async with asyncio.timeout(30):
        while not ada.server.log(ada.repo):
            await asyncio.sleep(0.01)
    await ada.pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", ada.key_id)
    ada.key = other
    ended = await ada.ended(job)
    assert (ended["status"], ended["last_error"]) == ("done", None), ended
    assert [charge for charge, _ in await ada.billed()].count("push") == 1
    assert (await ada.held(), await ada.blobs()) == (0, 0)


async def test_a_pull_request_that_fails_in_the_last_attempt_is_opened_all_the_same(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"old.txt": b"old"})
    ada.server.faults.append(Fault("POST", "/pulls", 502, times=3))
    ended = await ada.push({"a.txt": "a"}, pull_request=True)
    assert (ended["status"], ended["pull_request_url"] is not None) == ("done", True), ended
    assert [charge for charge, _ in await ada.billed()].count("push") == 1


async def test_a_landed_push_is_recognized_behind_what_others_pushed_since(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"old.txt": b"old"})
    ada.server.faults.append(Fault("POST", PUSH, 502, passes=True))
    job = await ada.begun({"a.txt": "a"})
    async with asyncio.timeout(30):
        while ada.server.log(ada.repo)[0] != "Kaixu GitHub Push":
            await asyncio.sleep(0.01)
    ada.server.commit(ada.repo, {"theirs.txt": b"t"}, message="theirs")
    ended = await ada.ended(job)
    assert ended["status"] == "done", ended
    assert ada.server.log(ada.repo) == ["theirs", "Kaixu GitHub Push", "by hand"]
    assert ended["result_commit_sha"] == ada.server.git(ada.repo, "rev-parse", "main~1")


async def test_a_connection_that_breaks_is_tried_again(ada: Pusher) -> None:
    ada.server.faults.append(Fault("POST", PUSH, breaks=True))
    ended = await ada.push({"a.txt": "a"})
    assert ended["status"] == "done", ended
    assert ada.server.log(ada.repo) == ["Kaixu GitHub Push"]


RULES = {
    "GH006: Protected branch update failed": "GITHUB_PROTECTED_BRANCH",
    "GH013: Repository rule violations found - Push cannot contain secrets": "GITHUB_PUSH_PROTECTION",
    "refusing to allow an OAuth App to update workflow `x` without `workflow` scope": "GITHUB_WORKFLOW_SCOPE",
}


async def test_rules_of_a_repository_end_the_push_with_their_reason(ada: Pusher) -> None:
    async def push(words: str, code: str) -> None:
        one = await new_pusher(ada.server, ada.gateway, ada.pool, ada.http)
        hook = ada.server.path(one.repo) / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        hook.chmod(0o755)
        ended = await one.push({"a.txt": "a"})
        assert (ended["status"], ended["error_code"]) == ("error", code)
        assert "GH0" not in ended["last_error"]

    await asyncio.gather(*(push(words, code) for words, code in RULES.items()))


async def test_an_answer_that_is_no_git_is_an_error_and_no_bug(ada: Pusher) -> None:
    for body in ({"message": "x"}, ["nonsense"]):
        ada.server.faults.append(
            Fault("POST", GIT, 200, {"content-type": "application/x-git-upload-pack-result"}, body)
        )
    ended = await ada.push({"a.txt": "a"})
    assert ended["status"] == "done", "nonsense is tried again"
    assert ada.server.log(ada.repo) == ["Kaixu GitHub Push"]


async def test_a_key_that_is_revoked_before_the_push_runs_ends_it(ada: Pusher) -> None:
    ada.server.faults.append(Fault("GET", "info/refs", 429, {"retry-after": "2"}))
    job = await ada.begun({"a.txt": "a"})
    other = await ada.key_of("owner")
    async with asyncio.timeout(30):
        while (await ada.status(job))["status"] != "retry_wait":
            await asyncio.sleep(0.05)
    await ada.pool.execute("update kaixu.virtual_key set revoked_at = now() where id = $1", ada.key_id)
    ada.key = other
    ended = await ada.ended(job)
    assert (ended["status"], ended["last_error"]) == ("error", "The key was revoked before the push ran.")
    assert (await ada.held(), await ada.blobs()) == (0, 0)
    assert not ada.server.git(ada.repo, "for-each-ref")


async def test_a_fine_grained_token_is_told_which_permission_it_lacks(ada: Pusher) -> None:
    ada.server.tokens[ada.token] = Account(ada.login, ada.account.id, None)
    lacks = {"x-accepted-github-permissions": "administration=write"}
    ada.server.faults.append(Fault("POST", "/user/repos", 403, lacks, {"message": "Resource not accessible"}))
    answer = await ada.call("POST", "github-create-repo", {"name": "new"})
    assert (answer.status, answer.body["code"]) == (403, "GITHUB_ERROR")
    assert "administration=write" in answer.body["hint"]


async def test_a_limit_is_told_to_the_caller_with_its_time(ada: Pusher) -> None:
    ada.server.faults.append(
        Fault("GET", "/user/repos", 403, {"retry-after": "17"}, {"message": "secondary rate limit"})
    )
    answer = await ada.call("GET", "github-repos")
    assert (answer.status, answer.body["code"], answer.headers["retry-after"]) == (429, "GITHUB_RATE_LIMIT", "17")


async def test_network_and_nonsense_are_told_apart(ada: Pusher) -> None:
    ada.server.faults.append(Fault("GET", "/user/repos", 200, body={"not": "a list"}))
    assert (await ada.call("GET", "github-repos")).status == 502
    ada.server.faults.append(Fault("GET", "/user/repos", breaks=True, times=20))
    answer = await ada.call("GET", "github-repos")
    assert (answer.status, answer.body["code"]) == (502, "GITHUB_NETWORK")
    ada.server.faults.clear()
    ada.server.faults.append(Fault("GET", "/user/repos", 422, body={"message": "Validation Failed"}))
    answer = await ada.call("GET", "github-repos")
    assert (answer.status, answer.body["code"]) == (422, "GITHUB_ERROR")
