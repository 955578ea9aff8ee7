"""The REST part of the stand-in, over bare repositories: real objects, real refs, GitHub's statuses."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from .description import sample

if TYPE_CHECKING:
    from .stand_in import Account, GitHubServer

PERSON = re.compile(r"(.*) <(.*)>")
PER_PAGE = 30


def refuse(status: int, message: str, **headers: str) -> web.Response:
    """An error as GitHub words it."""
    return web.json_response({"message": message}, status=status, headers=headers)


async def answer(server: GitHubServer, request: web.Request, path: str) -> web.Response:
    """A request of the REST API."""
    if not request.headers.get("user-agent") or "x-github-api-version" not in request.headers:
        return refuse(403, "Request forbidden by administrative rules.")
    account = server.account(request)
    if account is None:
        return refuse(401, "Bad credentials")
    body: Any = json.loads(await request.read() or b"null")
    found = await route(server, request, account, path, body or {})
    if account.scopes is not None:
        found.headers["x-oauth-scopes"] = ", ".join(account.scopes)
    return found


async def route(
    server: GitHubServer, request: web.Request, account: Account, path: str, body: dict[str, Any]
) -> web.Response:
    """By path and method."""
    method = request.method
    if path == "/user":
        person = {"login": account.login, "id": account.id, "name": account.name, "user_view_type": "public"}
        return web.json_response(sample("public-user", **person))
    if path == "/user/repos" and method == "GET":
        return repositories(server, request, account)
    if path == "/user/repos":
        return create(server, account.login, body)
    if match := re.fullmatch(r"/orgs/([^/]+)/repos", path):
        if match[1] not in account.organizations:
            return refuse(404, "Not Found")
        return create(server, match[1], body)
    match = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", path)
    if match is None or not server.sees(account, match[1]):
        return refuse(404, "Not Found")
    name, below = match[1], match[2] or ""
    if not below:
        return web.json_response(sample("full-repository", **facts(server, name)))
    if below == "/branches":
        return branches(server, request, name)
    if below == "/pulls":
        return pulls(server, request, name, body)
    repo = Repo(str(server.path(name)))
    try:
        return git_data(server, account, repo, name, method, below, body)
    finally:
        repo.close()


def facts(server: GitHubServer, name: str) -> dict[str, Any]:
    """What is told of a repository."""
    default = server.git(name, "symbolic-ref", "--short", "HEAD")
    return {
        "id": sum(name.encode()),
        "name": name.partition("/")[2],
        "full_name": name,
        "private": name in server.private,
        "default_branch": default,
        "html_url": f"https://github.example/{name}",
        "pushed_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
    }


def pages(server: GitHubServer, request: web.Request, rows: list[dict[str, Any]]) -> web.Response:
    """One page, with the links to the others."""
    size, page = int(request.query.get("per_page", PER_PAGE)), int(request.query.get("page", 1))
    assert 1 <= size <= 100
    headers = {}
    if page * size < len(rows):
        query = {**request.query, "per_page": str(size), "page": str(page + 1)}
        links = "&".join(f"{key}={value}" for key, value in query.items())
        headers["link"] = f'<{server.url}{request.path}?{links}>; rel="next", <{server.url}/last>; rel="last"'
    return web.json_response(rows[(page - 1) * size : page * size], headers=headers)


def repositories(server: GitHubServer, request: web.Request, account: Account) -> web.Response:
    """All that the account sees."""
    names = sorted(str(path.relative_to(server.root)).removesuffix(".git") for path in server.root.glob("*/*.git"))
    rows = [sample("repository", **facts(server, name)) for name in names if server.sees(account, name)]
    return pages(server, request, rows)


def create(server: GitHubServer, owner: str, body: dict[str, Any]) -> web.Response:
    """A new repository."""
    name = f"{owner}/{body['name']}"
    if server.exists(name):
        errors = [{"resource": "Repository", "code": "custom", "field": "name", "message": "name already exists"}]
        return web.json_response({"message": "Repository creation failed.", "errors": errors}, status=422)
    server.create(name)
    if body.get("private"):
        server.private[name] = {owner, *(one.login for one in server.tokens.values() if owner in one.organizations)}
    if body.get("auto_init"):
        server.commit(name, {"README.md": b"# New\n"}, message="Initial commit")
    return web.json_response(sample("full-repository", **facts(server, name)), status=201)


def branches(server: GitHubServer, request: web.Request, name: str) -> web.Response:
    """The branches."""
    lines = server.git(name, "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
    rows = [{"name": line.split()[0], "commit": {"sha": line.split()[1]}, "protected": False} for line in lines]
    return pages(server, request, rows)


def pulls(server: GitHubServer, request: web.Request, name: str, body: dict[str, Any]) -> web.Response:
    """Pull requests: one for each pair of branches."""
    if request.method == "GET":
        head = request.query.get("head", "").partition(":")[2]
        return web.json_response([one for one in server.pulls if one["repo"] == name and one["head"] == head])
    if any((one["repo"], one["head"], one["base"]) == (name, body["head"], body["base"]) for one in server.pulls):
        return web.json_response(
            {"message": "Validation Failed", "errors": [{"message": "already exists"}]}, status=422
        )
    number = len(server.pulls) + 1
    made = {**body, "repo": name, "number": number, "html_url": f"https://github.example/{name}/pull/{number}"}
    server.pulls.append(made)
    return web.json_response(made, status=201)


def git_data(
    server: GitHubServer, account: Account, repo: Repo, name: str, method: str, below: str, body: dict[str, Any]
) -> web.Response:
    """Objects and refs."""
    refs: dict[bytes, bytes] = {bytes(one): at for one, at in repo.refs.as_dict(Ref(b"refs/heads")).items()}
    if method == "PUT" and below.startswith("/contents/"):
        return put_contents(server, name, below.removeprefix("/contents/"), body)
    if not refs:
        return refuse(409, "Git Repository is empty.")
    if match := re.fullmatch(r"/git/ref/heads/(.+)", below):
        at = refs.get(match[1].encode())
        return refuse(404, "Not Found") if at is None else web.json_response(ref_json(match[1], at))
    if match := re.fullmatch(r"/git/(commits|trees)/([0-9a-f]{40})", below):
        identity = ObjectID(match[2].encode())
        if identity not in repo.object_store:
            return refuse(404, "Not Found")
        thing = repo[identity]
        return web.json_response(commit_json(thing) if isinstance(thing, Commit) else tree_json(server, repo, thing))
    if method == "POST" and below == "/git/blobs":
        content = base64.b64decode(body["content"]) if body["encoding"] == "base64" else body["content"].encode()
        blob = Blob.from_string(content)
        repo.object_store.add_object(blob)
        return web.json_response({"url": "https://api.github.com/blob", "sha": blob.id.decode()}, status=201)
    if method == "POST" and below == "/git/trees":
        return post_tree(server, account, repo, body)
    if method == "POST" and below == "/git/commits":
        commit = made_commit(body)
        if any(parent not in repo.object_store for parent in commit.parents):
            return refuse(422, "Parent SHA does not exist or is not a commit object")
        repo.object_store.add_object(commit)
        return web.json_response(commit_json(commit), status=201)
    if below == "/git/refs" or below.startswith("/git/refs/heads/"):
        return change_ref(repo, refs, method, below, body)
    return refuse(404, "Not Found")


def change_ref(repo: Repo, refs: Mapping[bytes, bytes], method: str, below: str, body: dict[str, Any]) -> web.Response:
    """Make, move or remove a branch."""
    branch = (body.get("ref", "") if below == "/git/refs" else below.removeprefix("/git/")).removeprefix("refs/heads/")
    at, full = refs.get(branch.encode()), b"refs/heads/" + branch.encode()
    if method == "DELETE":
        if at is None:
            return refuse(422, "Reference does not exist")
        repo.refs.remove_if_equals(full, at)  # type: ignore[arg-type]
        return web.Response(status=204)
    new = ObjectID(body["sha"].encode())
    if new not in repo.object_store:
        return refuse(422, "Object does not exist")
    if method == "POST":
        if at is not None:
            return refuse(422, "Reference already exists")
        repo.refs.add_if_new(full, new)  # type: ignore[arg-type]
        return web.json_response(ref_json(branch, new), status=201)
    if at is None:
        return refuse(422, "Reference does not exist")
    if not body.get("force") and at not in ancestors(repo, new):
        return refuse(422, "Update is not a fast forward")
    repo.refs.set_if_equals(full, at, new)  # type: ignore[arg-type]
    return web.json_response(ref_json(branch, new))


def ancestors(repo: Repo, commit: bytes) -> set[bytes]:
    """A commit and all before it."""
    return {entry.commit.id for entry in repo.get_walker([ObjectID(commit)])}


def put_contents(server: GitHubServer, name: str, path: str, body: dict[str, Any]) -> web.Response:
    """The first commit of an empty repository; a file that is there is replaced by its id only."""
    there = server.git(name, "ls-tree", "-r", "--name-only", body["branch"], check=False).splitlines()
    if path in there and "sha" not in body:
        return refuse(422, 'Invalid request. "sha" was not supplied.')
    commit = server.commit(
        name, {path: base64.b64decode(body["content"])}, branch=body["branch"], message=body["message"]
    )
    made = sample("file-commit")
    made["commit"] = {**made.get("commit", {}), "sha": commit}
    return web.json_response(made, status=201)


def post_tree(server: GitHubServer, account: Account, repo: Repo, body: dict[str, Any]) -> web.Response:
    """A tree from a base and entries."""
    entries: dict[bytes, tuple[int, bytes]] = {}
    if base := body.get("base_tree"):
        flatten(repo, ObjectID(base.encode()), b"", entries)
    for one in body["tree"]:
        path = one["path"].encode()
        if path.startswith(b".github/workflows/") and account.scopes is not None and "workflow" not in account.scopes:
            return refuse(404, "Not Found")
        if "content" in one:
            blob = Blob.from_string(one["content"].encode())
            repo.object_store.add_object(blob)
            entries[path] = (int(one["mode"], 8), blob.id)
        elif one["sha"] is None:
            if entries.pop(path, None) is None:
                return refuse(422, "GitRPC::BadObjectState")
        elif ObjectID(one["sha"].encode()) not in repo.object_store:
            return refuse(422, "tree.sha is not a valid blob")
        else:
            entries[path] = (int(one["mode"], 8), one["sha"].encode())
    root = write_tree(repo, entries)
    return web.json_response(tree_json(server, repo, root), status=201)


def write_tree(repo: Repo, entries: dict[bytes, tuple[int, bytes]]) -> Tree:
    """Write nested trees."""
    tree, folders = Tree(), {}  # type: ignore[var-annotated]
    for path, (mode, identity) in entries.items():
        first, slash, rest = path.partition(b"/")
        if slash:
            folders.setdefault(first, {})[rest] = (mode, identity)
        else:
            tree.add(first, mode, ObjectID(identity))
    for folder, inner in folders.items():
        tree.add(folder, 0o040000, write_tree(repo, inner).id)
    repo.object_store.add_object(tree)
    return tree


def flatten(repo: Repo, tree: ObjectID, prefix: bytes, entries: dict[bytes, tuple[int, bytes]]) -> None:
    """All files below a tree."""
    for entry in repo[tree].iteritems():  # type: ignore[attr-defined]
        if entry.mode == 0o040000:
            flatten(repo, entry.sha, prefix + entry.path + b"/", entries)
        else:
            entries[prefix + entry.path] = (entry.mode, entry.sha)


def tree_json(server: GitHubServer, repo: Repo, tree: Any) -> dict[str, Any]:
    """A tree, with all below it; cut off where the stand-in is told to."""
    entries: dict[bytes, tuple[int, bytes]] = {}
    flatten(repo, tree.id, b"", entries)
    rows = [
        {
            "path": path.decode(),
            "mode": f"{mode:06o}",
            "type": "commit" if mode == 0o160000 else "blob",
            "sha": sha.decode(),
        }
        for path, (mode, sha) in entries.items()
    ]
    return sample("git-tree", sha=tree.id.decode(), tree=[] if server.truncates else rows, truncated=server.truncates)


def person_json(text: bytes, at: float) -> dict[str, Any]:
    match = PERSON.fullmatch(text.decode())
    assert match is not None
    from datetime import UTC, datetime

    return {
        "name": match[1],
        "email": match[2],
        "date": datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"),
    }


def commit_json(commit: Commit) -> dict[str, Any]:
    """A commit."""
    return sample(
        "git-commit",
        sha=commit.id.decode(),
        author=person_json(commit.author, commit.author_time),
        committer=person_json(commit.committer, commit.commit_time),
        tree={"sha": commit.tree.decode(), "url": "https://api.github.com/tree"},
        message=commit.message.decode(),
        parents=[
            {"sha": one.decode(), "url": "https://x.example", "html_url": "https://x.example"} for one in commit.parents
        ],
    )


def made_commit(body: dict[str, Any]) -> Commit:
    """The commit that a request describes."""
    from datetime import datetime

    commit = Commit()
    commit.tree = ObjectID(body["tree"].encode())
    commit.parents = [ObjectID(one.encode()) for one in body["parents"]]
    author, committer = body["author"], body.get("committer", body["author"])
    commit.author = f"{author['name']} <{author['email']}>".encode()
    commit.committer = f"{committer['name']} <{committer['email']}>".encode()
    commit.author_time = int(datetime.fromisoformat(author["date"]).timestamp())
    commit.commit_time = int(datetime.fromisoformat(committer["date"]).timestamp())
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = body["message"].encode()
    return commit


def ref_json(branch: str, at: bytes) -> dict[str, Any]:
    """A branch."""
    here = {"type": "commit", "sha": at.decode(), "url": "https://api.github.com/commit"}
    return sample("git-ref", ref=f"refs/heads/{branch}", object=here)
