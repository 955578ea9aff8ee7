"""Tokens and repositories of customers: stored, shown, checked, and never told."""

from __future__ import annotations

import json

import pytest

from .pusher import Pusher, new_pusher
from .stand_in import Account, Fault


async def test_a_token_is_stored_after_github_has_said_whose_it_is(ada: Pusher) -> None:
    shown = await ada.call("GET", "github-token")
    assert shown.status == 200
    assert {**shown.body, "updated_at": None, "whoami": shown.body["whoami"]["login"]} == {
        "ok": True, "connected": True, "token_type": "pat", "scopes": ["repo", "workflow"], "updated_at": None,
        "whoami": ada.login, "login": ada.login, "missing": [], "error": None,
    }  # fmt: skip
    assert shown.body["updated_at"].endswith("Z")
    viewer = await ada.call("GET", "github-token", key=await ada.key_of("viewer"))
    assert (viewer.body["connected"], viewer.body["whoami"]) == (True, None)
    assert ada.token not in json.dumps([shown.body, viewer.body])


async def test_who_it_is_and_what_the_token_lacks(ada: Pusher) -> None:
    found = (await ada.call("GET", "github-whoami")).body
    assert (found["ok"], found["customer_id"], found["user"]["login"]) == (True, ada.id, ada.login)
    assert (found["scopes"], found["missing"]) == ("repo, workflow", [])
    for scopes, lacks in (
        ([], ["Without the scope `repo` it can push to no repository.", "Without the scope `workflow` it cannot push files in .github/workflows."]),
        (["public_repo", "workflow"], ["Without the scope `repo` it can push to public repositories only."]),
    ):  # fmt: skip
        ada.server.tokens[ada.token] = Account(ada.login, ada.account.id, scopes)
        assert (await ada.call("GET", "github-whoami")).body["missing"] == lacks
    ada.server.tokens[ada.token] = Account(ada.login, ada.account.id, None)
    [words] = (await ada.call("GET", "github-whoami")).body["missing"]
    assert words.startswith("A fine-grained token does not show its permissions.")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "BAD_REQUEST"),
        ({"token": "  "}, 400, "BAD_REQUEST"),
        ({"token": "ghp_unknown"}, 422, "BAD_TOKEN"),
        ({"token": "with space"}, 422, "BAD_TOKEN"),
        ({"token": "x" * 5000}, 422, "BAD_TOKEN"),
        ({"token": "gh\r\nhost: evil"}, 422, "BAD_TOKEN"),
        ({"token": 7}, 422, "INVALID_FIELD"),
    ],
    ids=["none", "blank", "unknown", "space", "long", "header", "number"],
)
async def test_a_token_that_is_none_is_refused_and_the_stored_one_stays(
    ada: Pusher, body: dict[str, str], status: int, code: str
) -> None:
    answer = await ada.call("POST", "github-token", body)
    assert (answer.status, answer.body["code"]) == (status, code), answer
    if status == 400:
        assert answer.body["error"] == "Missing token"
    assert (await ada.call("GET", "github-token")).body["connected"] is True


async def test_a_body_that_is_encoded_twice_is_taken_as_the_older_page_sends_it(ada: Pusher) -> None:
    answer = await ada.call("POST", "github-token", json.dumps({"token": ada.token, "token_type": "x" * 40}))
    assert (answer.status, answer.body["ok"]) == (200, True)
    assert (await ada.call("GET", "github-token")).body["token_type"] == "x" * 32
    answer = await ada.operator("POST", "admin-github-token")
    assert (answer.status, answer.body["error"]) == (400, "Missing token")


async def test_operators_store_show_and_clear_a_customer_s_token(ada: Pusher) -> None:
    bob = await new_pusher(ada.server, ada.gateway, ada.pool, ada.http, connected=False)
    assert (await bob.operator("GET", "admin-github-token")).body == {
        "customer_id": bob.id, "has_token": False, "token_type": None, "scopes": [], "login": None, "missing": [],
    }  # fmt: skip
    stored = await bob.operator("POST", "admin-github-token", {"token": bob.token, "token_type": "pat"})
    assert (stored.status, stored.body) == (200, {"ok": True, "customer_id": bob.id})
    shown = (await bob.operator("GET", "admin-github-token")).body
    assert (shown["has_token"], shown["login"], shown["scopes"]) == (True, bob.login, ["repo", "workflow"])
    [repo] = (await bob.operator("GET", "admin-github-repos")).body["repos"]
    assert repo["full_name"] == bob.repo
    cleared = await bob.operator("DELETE", "admin-github-token")
    assert (cleared.status, cleared.body) == (200, {"ok": True, "customer_id": bob.id})
    assert (await bob.operator("GET", "admin-github-repos")).body["code"] == "NO_GITHUB_TOKEN"


async def test_all_pages_of_repositories_are_listed_and_searched(ada: Pusher) -> None:
    more = [f"{ada.login}/more{at:03}" for at in range(120)]
    for name in more:
        path = ada.server.path(name)
        path.mkdir(parents=True)
        (path / "HEAD").write_text("ref: refs/heads/main\n")
        (path / "objects").mkdir()
        (path / "refs").mkdir()
        ada.server.private[name] = {ada.login}
    listed = (await ada.call("GET", "github-repos")).body
    assert {one["full_name"] for one in listed["repos"]} == {ada.repo, *more}
    assert set(listed["repos"][0]) == {
        "id", "full_name", "private", "default_branch", "html_url", "pushed_at", "updated_at",
    }  # fmt: skip
    assert len((await ada.call("GET", "github-repos", page=2)).body["repos"]) == 21
    found = (await ada.call("GET", "github-repos", q="MORE11")).body["repos"]
    assert len(found) == 10


async def test_repositories_are_created_for_the_account_and_for_organizations(ada: Pusher) -> None:
    made = await ada.call("POST", "github-create-repo", {"name": "new", "private": True, "description": "A site"})
    assert made.status == 200, made
    assert made.body["repo"]["full_name"] == f"{ada.login}/new"
    assert ada.server.log(f"{ada.login}/new") == ["Initial commit"]
    assert (await ada.push({"a.txt": "a"}, repo="new"))["status"] == "done"
    again = await ada.call("POST", "github-create-repo", {"name": "new"})
    assert (again.status, again.body["code"]) == (422, "GITHUB_ERROR")
    ada.server.tokens[ada.token] = Account(ada.login, ada.account.id, organizations=(f"org{ada.id}",))
    made = await ada.call("POST", "/v1/github/repos", {"name": "site", "owner": f"org{ada.id}", "auto_init": False})
    assert (made.status, made.body["repo"]["full_name"]) == (200, f"org{ada.id}/site")
    for body in ({}, {"name": "a b"}, {"name": "x", "owner": "a/b"}):
        assert (await ada.call("POST", "github-create-repo", body)).status == 400
    assert (await ada.call("POST", "github-create-repo", {})).body["error"] == "Missing name"


async def test_a_repository_that_may_have_been_created_is_not_created_again(ada: Pusher) -> None:
    ada.server.faults.append(Fault("POST", "/user/repos", 502, passes=True))
    ada.server.requests.clear()
    answer = await ada.call("POST", "github-create-repo", {"name": "once"})
    assert (answer.status, answer.body["code"]) == (502, "GITHUB_TRANSIENT")
    assert [path for method, path in ada.server.requests if method == "POST"] == ["/api/v3/user/repos"]


async def test_branches_of_a_repository(ada: Pusher) -> None:
    head = ada.server.commit(ada.repo, {"a.txt": b"a"})
    ada.server.commit(ada.repo, {"a.txt": b"a"}, branch="other")
    found = (await ada.call("GET", f"/v1/github/repos/{ada.repo}/branches")).body
    assert [one["name"] for one in found["branches"]] == ["main", "other"]
    assert found["branches"][0]["sha"] == head
    assert (await ada.call("GET", f"/v1/github/repos/{ada.login}/unknown/branches")).status == 404
    assert (await ada.call("GET", f"/v1/github/repos/{ada.login}/..%2f..%2fuser/branches")).status in (400, 404)


async def test_operators_see_in_the_audit_log_what_was_done_with_tokens(ada: Pusher) -> None:
    await ada.call("DELETE", "github-token")
    rows = await ada.pool.fetch(
        "select action, meta::text as meta from kaixu.audit_event where target like $1", f"%{ada.id}%"
    )
    assert {row["action"] for row in rows} >= {"SECRET_SET", "SECRET_CLEAR"}
    assert all(ada.token not in (row["meta"] or "") for row in rows)
