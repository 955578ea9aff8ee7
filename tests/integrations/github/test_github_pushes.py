"""ZIPs that become one commit, by git's own protocol, through a real gateway into real repositories."""

from __future__ import annotations

from .pusher import Pusher, link, zipped
from .stand_in import Fault


async def test_a_zip_in_an_empty_repository_is_one_commit_that_is_billed_once(ada: Pusher) -> None:
    files = {
        "README.md": "# Hello\n",
        "src/run.sh": (0o755, "#!/bin/sh\n"),
        "src/latest": link("run.sh"),
        ".gitignore": "a",
    }
    job = await ada.push(
        files, parts=3, message="First\n\nWith a body", author={"name": "Ada L", "email": "ada@example.com"}
    )
    server, repo = ada.server, ada.repo
    assert (job["status"], job["last_error"], job["received_parts"]) == ("done", None, [0, 1, 2])
    server.check(repo)
    assert server.log(repo) == ["First"]
    assert server.git(repo, "rev-parse", "main") == job["result_commit_sha"]
    assert job["result_url"] == f"{server.url}/{repo}/commit/{job['result_commit_sha']}"
    assert server.git(repo, "log", "-1", "--format=%an <%ae> %cn", "main") == "Ada L <ada@example.com> Ada L"
    assert {path: mode for path, (mode, _) in server.files(repo).items()} == {
        ".gitignore": "100644", "README.md": "100644", "src/latest": "120000", "src/run.sh": "100755",
    }  # fmt: skip
    assert server.git(repo, "show", "main:src/latest") == "run.sh"
    size = len(zipped(files))
    assert await ada.billed() == [("base", 10**9), ("gib", -(-size * 250_000_000 // 2**30)), ("push", 10**8)]
    assert (await ada.held(), await ada.blobs()) == (0, 0)


async def test_merge_keeps_what_the_zip_does_not_have_and_replace_removes_it(ada: Pusher) -> None:
    server, repo = ada.server, ada.repo
    first = server.commit(repo, {"a.txt": b"a", "folder/b.txt": b"b", "folder/c.txt": b"c"})
    merged = await ada.push({"folder/b.txt": "B", "d.txt": "d"}, message="merged")
    assert merged["status"] == "done", merged
    assert set(server.files(repo)) == {"a.txt", "folder/b.txt", "folder/c.txt", "d.txt"}
    replaced = await ada.push({"folder/b.txt": "B"}, mode="replace", message="replaced")
    assert replaced["status"] == "done", replaced
    assert set(server.files(repo)) == {"folder/b.txt"}
    assert server.log(repo) == ["replaced", "merged", "by hand"]
    assert server.git(repo, "rev-parse", "main~2") == first
    server.check(repo)


async def test_dotfiles_keep_their_names_and_junk_is_left_out(ada: Pusher) -> None:
    files = [
        ".github/workflows/ci.yml",
        ".gitignore",
        ".env.example",
        "node_modules/x/y.js",
        "a/.DS_Store",
        "__MACOSX/a",
    ]
    job = await ada.push(dict.fromkeys(files, "x"))
    assert job["status"] == "done", job
    assert set(ada.server.files(ada.repo)) == {".github/workflows/ci.yml", ".gitignore", ".env.example"}


async def test_a_zip_made_on_windows_keeps_executable_files_executable(ada: Pusher) -> None:
    assert (await ada.push({"run.sh": (0o755, "one"), "plain.txt": "one"}))["status"] == "done"
    assert (await ada.push(zipped({"run.sh": "two", "plain.txt": "two"}, system=0)))["status"] == "done"
    modes = {path: mode for path, (mode, _) in ada.server.files(ada.repo).items()}
    assert modes == {"run.sh": "100755", "plain.txt": "100644"}


async def test_unchanged_content_makes_no_commit_and_costs_nothing(ada: Pusher) -> None:
    first = await ada.push({"a.txt": "a"})
    again = await ada.push({"a.txt": "a"}, message="again")
    assert (again["status"], again["unchanged"], first["unchanged"]) == ("done", True, False)
    assert again["result_commit_sha"] == first["result_commit_sha"]
    assert len(ada.server.log(ada.repo)) == 1
    assert [charge for charge, _ in await ada.billed()].count("push") == 1
    assert (await ada.held(), await ada.blobs()) == (0, 0)


async def test_a_new_branch_begins_at_the_default_branch(ada: Pusher) -> None:
    first = ada.server.commit(ada.repo, {"a.txt": b"a"})
    job = await ada.push({"b.txt": "b"}, branch="feature/one", message="on a branch")
    assert job["status"] == "done", job
    assert ada.server.git(ada.repo, "rev-parse", "feature/one~1") == first
    assert ada.server.log(ada.repo) == ["by hand"]
    assert set(ada.server.files(ada.repo, "feature/one")) == {"a.txt", "b.txt"}


async def test_a_branch_that_moves_meanwhile_is_read_again_and_nothing_of_it_is_lost(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})

    async def somebody_else() -> None:
        ada.server.commit(ada.repo, {"theirs.txt": b"theirs"}, message="theirs")

    ada.server.before_push = somebody_else
    job = await ada.push({"ours.txt": "ours"}, message="ours")
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["ours", "theirs", "by hand"]
    assert set(ada.server.files(ada.repo)) == {"a.txt", "theirs.txt", "ours.txt"}
    assert job["result_commit_sha"] == ada.server.git(ada.repo, "rev-parse", "main")


async def test_a_push_on_a_parent_fails_where_the_branch_is_elsewhere(ada: Pusher) -> None:
    first = ada.server.commit(ada.repo, {"a.txt": b"a"})
    second = ada.server.commit(ada.repo, {"b.txt": b"b"})
    job = await ada.push({"c.txt": "c"}, parent=first)
    assert (job["status"], job["error_code"]) == ("error", "BRANCH_MOVED")
    assert (await ada.push({"c.txt": "c"}, parent=second))["status"] == "done"


async def test_forcing_needs_a_setting_and_drops_what_came_in_between(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    refused = await ada.call("POST", "gh-push-init", {"owner": ada.login, "repo": "site", "force": True})
    assert (refused.status, refused.body["code"]) == (403, "FORCE_NOT_ALLOWED")
    await ada.set(may_force=True)

    async def somebody_else() -> None:
        ada.server.commit(ada.repo, {"theirs.txt": b"theirs"}, message="theirs")

    ada.server.before_push = somebody_else
    job = await ada.push({"ours.txt": "ours"}, message="ours", force=True)
    assert job["status"] == "done", job
    assert ada.server.log(ada.repo) == ["ours", "by hand"]


async def test_a_pull_request_leaves_the_branch_alone(ada: Pusher) -> None:
    first = ada.server.commit(ada.repo, {"a.txt": b"a"})
    wish = {"title": "Please", "body": "Some words"}
    job = await ada.push({"b.txt": "b"}, pull_request=wish, message="wished")
    assert job["status"] == "done", job
    assert ada.server.git(ada.repo, "rev-parse", "main") == first
    branch = f"kaixu/{job['jobId']}"
    assert ada.server.log(ada.repo, branch) == ["wished", "by hand"]
    [pull] = [one for one in ada.server.pulls if one["repo"] == ada.repo]
    assert (pull["title"], pull["body"], pull["base"], pull["head"]) == ("Please", "Some words", "main", branch)
    assert job["pull_request_url"] == pull["html_url"]


async def test_a_pull_request_that_is_refused_leaves_no_branch_behind_and_is_not_billed(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"a.txt": b"a"})
    ada.server.faults.append(
        Fault("POST", f"/repos/{ada.repo}/pulls", 403, body={"message": "Resource not accessible"})
    )
    job = await ada.push({"b.txt": "b"}, pull_request=True)
    assert (job["status"], job["error_code"]) == ("error", "GITHUB_ERROR")
    assert ada.server.git(ada.repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert (await ada.billed(), await ada.held()) == ([], 0)


async def test_the_author_is_the_account_unless_another_one_is_given(ada: Pusher) -> None:
    await ada.push({"a.txt": "a"})
    author = ada.server.git(ada.repo, "log", "-1", "--format=%an <%ae>", "main")
    assert author == f"Ada Lovelace <{ada.account.id}+{ada.login}@users.noreply.github.com>"


async def test_pushes_to_one_branch_run_one_after_another_and_all_of_them_land(ada: Pusher) -> None:
    jobs = [await ada.begun({f"{at}.txt": str(at)}, message=f"push {at}") for at in range(4)]
    assert [(await ada.ended(job))["status"] for job in jobs] == ["done"] * 4
    assert ada.server.log(ada.repo) == [f"push {at}" for at in reversed(range(4))]


async def test_a_file_becomes_a_folder_and_a_folder_a_file(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"one": b"file", "two/inner.txt": b"inner"})
    job = await ada.push({"one/inner.txt": "inner", "two": "file"})
    assert job["status"] == "done", job
    assert set(ada.server.files(ada.repo)) == {"one/inner.txt", "two"}
    ada.server.check(ada.repo)


async def test_one_request_pushes_a_whole_zip(ada: Pusher) -> None:
    answer = await ada.call(
        "POST", "/v1/github/zip", zipped({"a.txt": "a"}), owner=ada.login, repo="site", message="whole"
    )
    assert answer.status == 202, answer
    job = await ada.ended(answer.body["jobId"])
    assert (job["status"], job["commit_message"]) == ("done", "whole")
    assert ada.server.log(ada.repo) == ["whole"]


async def test_jobs_are_listed_for_the_customer_and_for_operators(ada: Pusher) -> None:
    done = await ada.push({"a.txt": "a"})
    open_one = await ada.init(message="open")
    own = (await ada.call("GET", "gh-my-jobs", limit=25)).body
    assert own["ok"]
    assert [(one["job_id"], one["status"]) for one in own["jobs"]] == [(open_one, "uploading"), (done["jobId"], "done")]
    assert set(own["jobs"][0]) == {
        "job_id", "owner", "repo", "branch", "status", "attempts", "next_attempt_at", "last_error",
        "result_commit_sha", "result_url", "created_at", "updated_at",
    }  # fmt: skip
    listed = (await ada.operator("GET", "admin-gh-jobs", limit=1)).body
    assert [one["job_id"] for one in listed["jobs"]] == [open_one]
    assert set(listed["jobs"][0]) == {*own["jobs"][0], "commit_message", "parts", "bytes_staged", "last_error_at"}
    assert (await ada.operator("GET", "admin-gh-jobs", limit="many")).status == 422
