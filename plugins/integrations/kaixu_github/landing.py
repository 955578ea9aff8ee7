"""How a push lands: the ZIP is checked, the branch is read, the commit is made, noted, and sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from kaixu.plugin import Call, Failure

from .account import Account
from .archive import Archive, ArchiveLimits, read_archive
from .by_git import ByGit
from .by_rest import ByRest
from .commits import CommitFacts
from .git_push import Head
from .identity import identity_of
from .pull_requests import open_pull_request
from .push_rows import PushRow
from .refusals import BranchMoved, GitUnreachable, unauthorized

T = TypeVar("T")

#: How often a branch that moved meanwhile is read again.
MOST_MOVES = 5

#: Bytes of temporary files beside the ZIP and what it unpacks to: the folders of the repository.
SPARE_BYTES = 256 << 20


class Landed(msgspec.Struct, frozen=True):
    """Where a push ended. `files` None: it was found by its commit. `bytes`: of the files, unpacked."""

    commit: str
    url: str
    pull_request_url: str | None
    is_unchanged: bool
    files: int | None
    bytes: int


class Transport(Protocol):
    """A way to a repository."""

    async def head(self, branch: str, base_branch: str | None = None) -> Head:
        """Where a branch is. Raises `GitUnreachable`, `Failure`."""
        ...

    async def plan(self, head: Head, archive: Archive, facts: CommitFacts) -> Any:
        """Make the commit on `head.base`."""
        ...

    async def push(self, branch: str, head: Head, plan: Any, *, force: bool) -> str:
        """Send it; the id of the commit. Raises `BranchMoved`, `Failure`."""
        ...

    async def contains(self, head: str, commit_id: str) -> bool:
        """Whether a commit is at `head`, or not far behind."""
        ...


async def land(call: Call[Any], row: PushRow) -> Landed:
    """Push one ZIP. Raises `Failure`; whatever GitHub refuses for good has a status below 500."""
    account = await Account.of(call, missing_status=409)
    options = call.options
    async with call.scratch(options.most_zip_bytes + 2 * options.most_total_bytes + SPARE_BYTES) as folder:
        archive = await unpacked(call, row, folder)
        await call.progress(1, 3)
        facts = await facts_of(call, row, account)

        async def work(way: Transport) -> Landed:
            return await send(call, row, account, way, archive, facts)

        return await by_the_way_that_works(call, row, account, folder, work)


async def find_landed(call: Call[Any], row: PushRow) -> Landed | None:
    """Look whether the noted commit of a push is there, and open its pull request; None: it has not landed.

    Raises `Failure`, `UpstreamError`.
    """
    account, branch = await Account.of(call, missing_status=409), branch_to_push(row)
    async with call.scratch(SPARE_BYTES) as folder:

        async def work(way: Transport) -> bool:
            head = await way.head(branch, row.branch if row.pull_request else None)
            return (
                row.planned_commit is not None
                and head.at is not None
                and await way.contains(head.at, row.planned_commit)
            )

        if row.planned_commit is None or not await by_the_way_that_works(call, row, account, folder, work):
            return None
    pull = await open_pull_request(account, row, branch) if row.pull_request else None
    return Landed(row.planned_commit, commit_url(call, row, row.planned_commit), pull, False, None, 0)


async def by_the_way_that_works(
    call: Call[Any], row: PushRow, account: Account, folder: Path, work: Callable[[Transport], Awaitable[T]]
) -> T:
    """Do something by git's own protocol, or by REST where git is not reachable. After a 401 the token is removed."""
    options = call.options
    try:
        if options.transport == "rest":
            raise GitUnreachable("the operator has chosen REST")
        return await work(ByGit(call, row, account, folder))
    except GitUnreachable as error:
        if options.transport == "git":
            raise Failure(502, "GITHUB_NETWORK", "GitHub's git server cannot be reached") from error
        return await work(ByRest(call, row, account))
    except Failure as failure:
        if failure.code != "GITHUB_UNAUTHORIZED":
            raise
        await account.forget()
        raise unauthorized() from failure


async def unpacked(call: Call[Any], row: PushRow, folder: Path) -> Archive:
    """The ZIP, from its parts, checked. Raises `Failure`."""
    async with call.db() as db:
        kept = await db.kept(row.prefix)
    if row.parts is None or len(kept) != row.parts:
        raise Failure(410, "PARTS_GONE", "The parts of the ZIP are not stored any more", hint="Push again.")
    path = folder / "upload.zip"
    await call.save([one.blob for one in kept], path)
    limits = ArchiveLimits.of(call.options, allow_secrets=row.allow_secrets)
    return await call.in_thread(read_archive, path, limits)


async def facts_of(call: Call[Any], row: PushRow, account: Account) -> CommitFacts:
    """What the commit says. It is noted with the first attempt, so that all of them make the same commit."""
    name, email = row.author_name, row.author_email
    if name is None or email is None:
        found = await identity_of(account)
        name = " ".join((found.name or found.login).replace("<", " ").replace(">", " ").split()) or found.login
        email = f"{found.id}+{found.login}@users.noreply.github.com"
        async with call.db() as db:
            noted = await db.fetchrow(
                "update push set author_name = coalesce(author_name, $2), author_email = coalesce(author_email, $3)"
                " where id = $1 returning author_name, author_email",
                row.id,
                name,
                email,
            )
        assert noted is not None
        name, email = noted["author_name"], noted["author_email"]
    at = row.queued_at or row.created_at
    return CommitFacts(row.message, str(name), str(email), int(at.timestamp()))


async def send(
    call: Call[Any], row: PushRow, account: Account, way: Transport, archive: Archive, facts: CommitFacts
) -> Landed:
    """Put the commit on the branch. One that has moved meanwhile is read again."""
    branch = branch_to_push(row)
    noted, first = row.planned_commit, None
    for _ in range(MOST_MOVES):
        head = await way.head(branch, row.branch if row.pull_request else None)
        if noted is not None and head.at is not None and await way.contains(head.at, noted):
            return await landed(row, account, archive, noted, branch)  # an earlier attempt has done it
        require_expected(row, head)
        if row.pull_request and head.at is not None:
            raise Failure(409, "GITHUB_CONFLICT", f"The branch {branch} is there already", hint="Push again.")
        if row.force and first is not None:
            head = Head(head.at, first.base)
        first = first or head
        plan = await way.plan(head, archive, facts)
        if plan.is_unchanged and head.base is not None and (head.at is not None or row.pull_request):
            return Landed(head.base, commit_url(call, row, head.base), None, True, len(archive.files), size_of(archive))
        await call.progress(2, 3)
        noted = plan.commit_id
        async with call.db() as db:
            await db.execute("update push set planned_commit = $2 where id = $1", row.id, noted)
        try:
            noted = await way.push(branch, head, plan, force=row.force)
        except BranchMoved:
            continue
        return await landed(row, account, archive, noted, branch)
    raise Failure(  # not 409: it is tried again, later
        503, "BRANCH_MOVED", f"The branch moved {MOST_MOVES} times while this was pushed", hint="Push again later."
    )


def branch_to_push(row: PushRow) -> str:
    """The branch that gets the commit: one of its own for a pull request."""
    return f"kaixu/{row.job_id}" if row.pull_request else row.branch


def require_expected(row: PushRow, head: Head) -> None:
    """Raises `Failure` if the branch is not where the client has said."""
    at = head.base if row.pull_request else head.at
    if row.expected_head is not None and at != row.expected_head:
        raise Failure(
            409, "BRANCH_MOVED", "The branch is not at the commit that `parent` names", hint="Fetch, and push again."
        )


async def landed(row: PushRow, account: Account, archive: Archive, commit: str, branch: str) -> Landed:
    """The commit is there; a pull request may still be to open."""
    url = commit_url(account.call, row, commit)
    pull = await open_pull_request(account, row, branch) if row.pull_request else None
    return Landed(commit, url, pull, False, len(archive.files), size_of(archive))


def commit_url(call: Any, row: PushRow, commit: str) -> str:
    """The page of a commit."""
    return f"{call.options.web_base.rstrip('/')}/{row.owner}/{row.repo}/commit/{commit}"


def size_of(archive: Archive) -> int:
    """The bytes of all files."""
    return sum(one.size for one in archive.files)
