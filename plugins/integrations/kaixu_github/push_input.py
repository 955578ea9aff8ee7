"""What a client asks for when it begins a push, checked."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from kaixu.plugin import Failure, Invalid

from .commits import Mode
from .repositories import OWNER, REPO

DEFAULT_MESSAGE = "Kaixu GitHub Push"
MOST_MESSAGE = 200
MOST_BODY = 20_000
MOST_BRANCH = 200

COMMIT_ID = re.compile(r"[0-9a-f]{40}")

#: What git allows in no name of a branch (git-check-ref-format).
BAD_IN_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)")
EMAIL = re.compile(r"[^\s<>@]{1,100}@[^\s<>@]{1,150}")

Long = Annotated[str, msgspec.Meta(max_length=100_000)]


class Author(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(max_length=500)] = ""
    email: Annotated[str, msgspec.Meta(max_length=500)] = ""


class PullRequest(msgspec.Struct):
    title: Long = ""
    body: Long = ""


class InitBody(msgspec.Struct):
    """`mode`: "merge" keeps files that the ZIP does not have, "replace" removes them. `parent`: the branch's commit.

    `pull_request`: the commit goes to a branch of its own, and a pull request to `branch`. `force`: what others pushed
    in between is dropped; a setting of the customer must allow it.
    """

    owner: str | None = None
    repo: str | None = None
    branch: str | None = None
    message: Long | None = None
    mode: Mode = "merge"
    author: Author | None = None
    allow_secrets: bool = False
    pull_request: PullRequest | bool | None = None
    force: bool = False
    parent: str | None = None


class PushWish(msgspec.Struct, frozen=True):
    """A checked one."""

    owner: str
    repo: str
    branch: str
    message: str
    mode: Mode
    author_name: str | None
    author_email: str | None
    allow_secrets: bool
    force: bool
    expected_head: str | None
    pull_request: bool
    pull_title: str | None
    pull_body: str | None


def checked_wish(body: InitBody) -> PushWish:
    """Raises `Invalid`, `Failure`."""
    owner, repo = (body.owner or "").strip(), (body.repo or "").strip().removesuffix(".git")
    if not owner:
        raise Invalid("Missing owner", field="owner")
    if not repo:
        raise Invalid("Missing repo", field="repo")
    if not OWNER.fullmatch(owner):
        raise Invalid("The owner is no name of an account at GitHub", field="owner")
    if not REPO.fullmatch(repo) or repo in (".", ".."):
        raise Invalid("The repository's name has letters, digits, `.`, `_` and `-`", field="repo")
    name, email = author_of(body.author)
    parent = (body.parent or "").strip().lower() or None
    if parent is not None and not COMMIT_ID.fullmatch(parent):
        raise Invalid("`parent` is the id of a commit: 40 hexadecimal digits", field="parent")
    wants_pull = body.pull_request if isinstance(body.pull_request, bool) else body.pull_request is not None
    pull = body.pull_request if isinstance(body.pull_request, PullRequest) else PullRequest()
    message = plain_text(body.message or "", MOST_MESSAGE).strip() or DEFAULT_MESSAGE
    if wants_pull and body.force:
        raise Failure(400, "BAD_REQUEST", "A pull request is never forced", hint="Leave one of them out.")
    return PushWish(
        owner, repo, branch_of(body.branch), message, body.mode, name, email, body.allow_secrets, body.force, parent,
        wants_pull,
        (plain_text(pull.title, MOST_MESSAGE).strip() or message.splitlines()[0]) if wants_pull else None,
        plain_text(pull.body, MOST_BODY) if wants_pull else None,
    )  # fmt: skip


def branch_of(branch: str | None) -> str:
    """The branch, by default `main`. Raises `Invalid` for what git does not allow."""
    name = (branch or "").strip().removeprefix("refs/heads/") or "main"
    is_bad = BAD_IN_BRANCH.search(name) or name.startswith(("/", "-", ".")) or name.endswith(("/", ".")) or name == "@"
    if is_bad or len(name.encode("utf-8", "replace")) > MOST_BRANCH or not is_text(name):
        raise Invalid("This cannot be the name of a branch", field="branch")
    return name


def author_of(author: Author | None) -> tuple[str | None, str | None]:
    """Name and address of the author, or neither. Raises `Invalid`."""
    if author is None or not (author.name.strip() or author.email.strip()):
        return None, None
    name = " ".join(plain_text(author.name, 100).replace("<", " ").replace(">", " ").split())
    email = author.email.strip()
    if not name or not EMAIL.fullmatch(email) or not is_text(email):
        raise Invalid("An author has a name and a mail address", field="author")
    return name, email


def plain_text(text: str, most: int) -> str:
    """A text, cut, without what git or a terminal would read as something else."""
    return "".join(one for one in text[:most] if one.isprintable() or one in "\n\t")


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8, and shown."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def number_of(text: Any) -> int | None:
    """A whole number, not negative, in a query or in JSON; None for anything else."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text if 0 <= text < 10**9 else None
    plain = text.strip() if isinstance(text, str) else ""
    return int(plain) if plain.isascii() and plain.isdecimal() and len(plain) < 10 else None
