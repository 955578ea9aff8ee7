"""The repositories of a customer at GitHub: list, find, create, and their branches."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from kaixu.plugin import Call, Clamped, Free, Invalid, Key, Operation, Operator, Path, Query

from .account import ONCE, Account
from .refusals import unreadable

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
REPO = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Listing(msgspec.Struct):
    """`page` 0: all pages. `q`: what the name contains."""

    page: Annotated[int, Query(), Clamped(0, 1000, default=0)]
    q: Annotated[str, Query()] = ""


class Repository(msgspec.Struct):
    id: int
    full_name: str
    private: bool
    default_branch: str | None
    html_url: str
    pushed_at: str | None
    updated_at: str | None


class Repositories(msgspec.Struct):
    ok: bool
    repos: list[Repository]


class NewRepository(msgspec.Struct):
    """`owner`: an organization; without one it is the account's own."""

    name: str | None = None
    owner: str | None = None
    description: str | None = None
    private: bool = False
    homepage: str | None = None
    has_issues: bool = True
    has_projects: bool = False
    has_wiki: bool = False
    auto_init: bool = True


class CreatedRepository(msgspec.Struct):
    id: int
    full_name: str
    html_url: str
    default_branch: str | None


class Created(msgspec.Struct):
    ok: bool
    repo: CreatedRepository


class WhichRepository(msgspec.Struct):
    owner: Annotated[str, Path()]
    repo: Annotated[str, Path()]


class Branch(msgspec.Struct):
    name: str
    sha: str
    protected: bool


class Branches(msgspec.Struct):
    ok: bool
    branches: list[Branch]


async def listed(call: Call[Listing]) -> Repositories:
    """The repositories that the token can see, last changed first."""
    account = await Account.of(call)
    query: dict[str, str | int] = {"sort": "updated"}
    if call.body.page:
        answer = await account.get(
            "/user/repos", query | {"per_page": 100, "page": call.body.page}, what="these repositories"
        )
        items = answer.data
        if not isinstance(items, list):
            raise unreadable()
    else:
        items = [one async for one in account.pages("/user/repos", query, what="these repositories")]
    wanted = call.body.q.strip().lower()
    return Repositories(True, [one for one in map(repository_of, items) if wanted in one.full_name.lower()])


async def create(call: Call[NewRepository]) -> Created:
    """Create a repository, for the account or an organization."""
    body = call.body
    name, owner = (body.name or "").strip(), (body.owner or "").strip()
    if not name:
        raise Invalid("Missing name", field="name")
    if not REPO.fullmatch(name):
        raise Invalid("The name has letters, digits, `.`, `_` and `-`", field="name")
    if owner and not OWNER.fullmatch(owner):
        raise Invalid("This is no organization", field="owner")
    account = await Account.of(call)
    wish = {
        "name": name,
        "private": body.private,
        "has_issues": body.has_issues,
        "has_projects": body.has_projects,
        "has_wiki": body.has_wiki,
        "auto_init": body.auto_init,
        **({"description": body.description[:350]} if body.description else {}),
        **({"homepage": body.homepage[:350]} if body.homepage else {}),
    }
    path = f"/orgs/{owner}/repos" if owner else "/user/repos"
    answer = await account.require(await account.send("POST", path, wish, tries=ONCE), "this new repository")
    made = repository_of(answer.data)
    return Created(True, CreatedRepository(made.id, made.full_name, made.html_url, made.default_branch))


async def branches(call: Call[WhichRepository]) -> Branches:
    """The branches of a repository."""
    owner, repo = call.body.owner, call.body.repo
    if not OWNER.fullmatch(owner) or not REPO.fullmatch(repo) or repo in (".", ".."):
        raise Invalid("This is no repository", field="repo")
    account = await Account.of(call)
    found = []
    async for item in account.pages(f"/repos/{owner}/{repo}/branches", what="this repository"):
        name, sha = field(item, "name"), field(item, "commit", "sha")
        if not isinstance(name, str) or not isinstance(sha, str):
            raise unreadable()
        found.append(Branch(name, sha, field(item, "protected") is True))
    return Branches(True, found)


def repository_of(item: Any) -> Repository:
    """A repository in an answer. Raises `UpstreamError`."""
    number, name, url = field(item, "id"), field(item, "full_name"), field(item, "html_url")
    if not isinstance(number, int) or not isinstance(name, str) or not isinstance(url, str):
        raise unreadable()
    default, pushed, updated = (field(item, one) for one in ("default_branch", "pushed_at", "updated_at"))
    return Repository(
        number, name, field(item, "private") is True, text_or_none(default), url, text_or_none(pushed),
        text_or_none(updated),
    )  # fmt: skip


def field(item: Any, *names: str) -> Any:
    """A value somewhere in an answer; None where there is none."""
    for name in names:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def text_or_none(value: Any) -> str | None:
    """A text."""
    return value if isinstance(value, str) else None


READS = Free("reads from GitHub")

OPERATIONS = [
    Operation(
        "github.repos", listed, Listing, READS, method="GET", path="/repos", aliases=["github-repos"],
        auth=Key("admin"),
    ),
    Operation(
        "github.repo-create", create, NewRepository, Free("creates a repository"), path="/repos",
        aliases=["github-create-repo"], auth=Key("admin"),
    ),
    Operation(
        "github.branches", branches, WhichRepository, READS, method="GET", path="/repos/{owner}/{repo}/branches",
        auth=Key("admin"),
    ),
    Operation(
        "github.admin-repos", listed, Listing, READS, method="GET", path="/admin/repos",
        aliases=["admin-github-repos"], auth=Operator(),
    ),
]  # fmt: skip
