"""ZIPs that become one commit, by git's own protocol, through a real gateway into real repositories."""

from __future__ import annotations

from .pusher import Pusher, link, zipped


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
