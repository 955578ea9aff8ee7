"""The way of the REST API, for networks in which git's protocol is not reachable: trees in batches, one commit.

Objects that GitHub has taken are noted, so that a push that waits for its limits goes on where it was.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from kaixu.plugin import Again, Call

from .account import Account, Answer, message_of
from .archive import Archive, ArchivedFile
from .commits import CommitFacts, Entries, Plan, merged_entries, parents_of, plan_commit
from .git_push import Head
from .push_rows import PushRow
from .refusals import BranchMoved, failure_of, unreadable, workflow_scope
from .repositories import field

#: What one call makes a tree of: more is refused as too large, or takes longer than GitHub waits.
MOST_ENTRIES = 100
MOST_BATCH_BYTES = 1_000_000

#: After so long the push pauses: a job has a time limit, and others want a worker, too.
LONGEST_S = 600.0

#: What the first commit of an empty repository says, until it is replaced.
SEED_MESSAGE = "Initial commit"

FOLDER = 0o040000
KINDS = {FOLDER: "tree", 0o160000: "commit"}


class RestPlan(msgspec.Struct, frozen=True):
    """A commit to be made. `base_tree` None: its tree is made of all its files."""

    plan: Plan
    entries: Entries
    there: Entries
    base_tree: str | None
    facts: CommitFacts
    archive: Archive

    @property
    def commit_id(self) -> str:
        return self.plan.commit_id

    @property
    def is_unchanged(self) -> bool:
        return self.plan.is_unchanged


class ByRest:
    """See `landing.Transport`."""

    def __init__(self, call: Call[Any], row: PushRow, account: Account) -> None:
        self.call = call
        self.row = row
        self.account = account
        self.path = f"/repos/{row.owner}/{row.repo}"
        self.begun = time.monotonic()

    async def head(self, branch: str, base_branch: str | None = None) -> Head:
        """Where a branch is. What an earlier attempt has put into an empty repository does not count."""
        at = await self.ref(branch)
        if at is not None:
            return Head(at, None if await self.is_seed(at) else at)
        if base_branch is None:
            repository = await self.account.get(self.path, what="this repository")
            base_branch = repository.text("default_branch")
        return Head(None, await self.ref(base_branch))

    async def ref(self, branch: str) -> str | None:
        """The commit of a branch; None where there is none, or nothing at all (409)."""
        answer = await self.account.send("GET", f"{self.path}/git/ref/heads/{quote(branch)}")
        if answer.status in (404, 409):
            return None
        return (await self.account.require(answer, "this repository")).text("object", "sha")

    async def plan(self, head: Head, archive: Archive, facts: CommitFacts) -> RestPlan:
        """The commit on `head.base`."""
        there: Entries = {}
        tree, is_whole = None, True
        if head.base is not None:
            commit = await self.account.get(f"{self.path}/git/commits/{head.base}", what="this commit")
            tree = commit.text("tree", "sha")
            there, is_whole = await self.files(tree, archive)
        known: dict[str, object] = {identity: None for mode, identity in there.values() if mode != 0o160000}

        def make() -> tuple[Plan, Entries]:
            plan = plan_commit(
                archive, self.row.mode, facts, parent=head.base, there=there, known=known, parent_tree=tree
            )
            return plan, merged_entries(archive, there, self.row.mode)

        plan, entries = await self.call.in_thread(make)
        keeps_base = is_whole or self.row.mode == "merge"
        return RestPlan(plan, entries, there, tree if keeps_base else None, facts, archive)

    async def files(self, tree: str, archive: Archive) -> tuple[Entries, bool]:
        """The files of a tree, and whether these are all. Of a very large one, the folders that the ZIP has."""
        answer = await self.account.get(f"{self.path}/git/trees/{tree}", {"recursive": 1}, what="this tree")
        if field(answer.data, "truncated") is not True:
            return {path: entry for path, entry in entries_of(answer, b"") if entry[0] != FOLDER}, True
        wanted = {parent for file in archive.files for parent in parents_of(file.path.encode())}
        found: Entries = {}
        waiting = [(b"", tree)]
        while waiting:
            prefix, identity = waiting.pop()
            answer = await self.account.get(f"{self.path}/git/trees/{identity}", what="this tree")
            for path, (mode, sha) in entries_of(answer, prefix):
                if mode == FOLDER and path in wanted:
                    waiting.append((path + b"/", sha))
                else:
                    found[path] = (mode, sha)
        return found, False

    async def push(self, branch: str, head: Head, plan: RestPlan, *, force: bool) -> str:
        """Make the objects, then move the branch."""
        done = await self.noted("")
        if head.at is None and head.base is None:
            head = await self.seed(branch, plan)
        tree = await self.tree(plan, done)
        person = {
            "name": plan.facts.author_name,
            "email": plan.facts.author_email,
            "date": datetime.fromtimestamp(plan.facts.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        parents = [] if plan.plan.parent is None else [plan.plan.parent]
        wish = {"message": plan.facts.message + "\n", "tree": tree, "parents": parents, "author": person}
        answer = await self.write("POST", "/git/commits", {**wish, "committer": person})
        commit = (await self.account.require(answer, "this commit")).text("sha")
        if commit != plan.commit_id:  # GitHub has made it otherwise than git would
            async with self.call.db() as db:
                await db.execute("update push set planned_commit = $2 where id = $1", self.row.id, commit)
        await self.move(branch, head, commit, force=force)
        return commit

    async def move(self, branch: str, head: Head, commit: str, *, force: bool) -> None:
        """Let the branch point at the commit. Raises `BranchMoved`."""
        if head.at is None:
            answer = await self.write("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
        else:
            replaces_seed = head.base is None
            if replaces_seed and await self.ref(branch) != head.at:
                raise BranchMoved
            body = {"sha": commit, "force": force or replaces_seed}
            answer = await self.write("PATCH", f"/git/refs/heads/{quote(branch)}", body)
        words = message_of(answer.data).lower()
        if answer.status in (409, 422) and ("fast forward" in words or "already exists" in words):
            raise BranchMoved
        await self.account.require(answer, "this change of the branch")

    async def seed(self, branch: str, plan: RestPlan) -> Head:
        """The first commit of an empty repository: the API for objects does not work before. It is replaced at once."""
        file = min(plan.archive.files, key=lambda one: one.size)
        [(_, data)] = await self.call.in_thread(lambda: list(plan.archive.contents([file])))
        body = {"message": SEED_MESSAGE, "content": base64.b64encode(data).decode(), "branch": branch}
        await self.note(f"seeding:{file.path}", file.blob)
        answer = await self.write("PUT", f"/contents/{quote(file.path)}", body)
        if answer.status in (409, 422):  # somebody else has begun it, or an earlier request whose answer was lost
            raise BranchMoved
        commit = (await self.account.require(answer, "this repository")).text("commit", "sha")
        await self.note(f"seed:{commit}", commit)
        return Head(commit, None)

    async def is_seed(self, at: str) -> bool:
        """Whether a commit is what an earlier attempt has put into an empty repository, even if its answer was lost."""
        if at in (await self.noted("seed:")).values():
            return True
        files = {name.removeprefix("seeding:"): blob for name, blob in (await self.noted("seeding:")).items()}
        if not files:
            return False
        commit = await self.account.get(f"{self.path}/git/commits/{at}", what="this commit")
        if field(commit.data, "parents") != [] or field(commit.data, "message") != SEED_MESSAGE:
            return False
        answer = await self.account.get(
            f"{self.path}/git/trees/{commit.text('tree', 'sha')}", {"recursive": 1}, what="this tree"
        )
        there = [(path.decode(), sha) for path, (mode, sha) in entries_of(answer, b"") if mode != FOLDER]
        return len(there) == 1 and there[0] in files.items()

    async def tree(self, plan: RestPlan, done: Mapping[str, str]) -> str:
        """The tree, made in batches that build on each other."""
        at = plan.base_tree
        for batch in await self.batches(plan, done):
            body: dict[str, Any] = {"tree": batch, **({} if at is None else {"base_tree": at})}
            name = "tree:" + hashlib.sha256(msgspec.json.encode(body)).hexdigest()
            if (known := done.get(name)) is None:
                answer = await self.write("POST", "/git/trees", body)
                if answer.status == 404 and any(one["path"].startswith(".github/workflows/") for one in batch):
                    raise workflow_scope()
                known = (await self.account.require(answer, "this tree")).text("sha")
                await self.note(name, known)
            at = known
        if at is None:
            raise unreadable()
        return at

    async def batches(self, plan: RestPlan, done: Mapping[str, str]) -> list[list[dict[str, Any]]]:
        """What differs from the base, in batches; files that are not text are sent first, one by one."""
        new = {file.path.encode(): file for file in plan.plan.blobs}
        by_blob = {file.blob: file for file in plan.plan.blobs}
        changed = {
            path: entry
            for path, entry in plan.entries.items()
            if plan.base_tree is None or plan.there.get(path) != entry
        }
        texts = await self.call.in_thread(lambda: dict(self.texts(plan, new)))
        for file in plan.plan.blobs:
            if file.path not in texts:
                await self.send_blob(plan, file, done)
        rows: list[dict[str, Any]] = []
        if plan.base_tree is not None:
            gone = [path for path in plan.there if path not in plan.entries]
            rows += [{"path": text_of(path), "mode": "100644", "type": "blob", "sha": None} for path in sorted(gone)]
        for path, (mode, identity) in sorted(changed.items()):
            row: dict[str, Any] = {"path": text_of(path), "mode": f"{mode:06o}", "type": KINDS.get(mode, "blob")}
            sent = by_blob.get(identity)
            content = None if sent is None else texts.get(sent.path)
            rows.append(row | ({"sha": identity} if content is None else {"content": content}))
        return list(batched(rows))

    def texts(self, plan: RestPlan, new: Mapping[bytes, ArchivedFile]) -> Iterator[tuple[str, str]]:
        """The files that are UTF-8, and small enough to be sent within a tree."""
        small = [file for file in new.values() if file.size <= MOST_BATCH_BYTES // 10]
        for file, data in plan.archive.contents(small):
            try:
                yield file.path, data.decode()
            except UnicodeDecodeError:
                continue

    async def send_blob(self, plan: RestPlan, file: ArchivedFile, done: Mapping[str, str]) -> None:
        """Send the content of one file."""
        name = f"blob:{file.blob}"
        if name in done:
            return
        [(_, data)] = await self.call.in_thread(lambda: list(plan.archive.contents([file])))
        body = {"content": base64.b64encode(data).decode(), "encoding": "base64"}
        answer = await self.account.require(await self.write("POST", "/git/blobs", body), "this file")
        if answer.text("sha") != file.blob:
            raise unreadable()
        await self.note(name, file.blob)

    async def write(self, method: str, below: str, body: dict[str, Any]) -> Answer:
        """A request that changes something. GitHub asks for a pause between two. Raises `Again` after a long time."""
        if time.monotonic() - self.begun > LONGEST_S:
            raise Again(1)
        await asyncio.sleep(self.call.options.write_pause_s)
        answer = await self.account.send(method, self.path + below, body)
        if answer.status in (403, 429):
            raise failure_of(answer.status, answer.headers, message_of(answer.data), "this repository")
        return answer

    async def contains(self, head: str, commit_id: str) -> bool:
        """Whether a commit is at `head`, or not far behind."""
        at = head
        for _ in range(20):
            if at == commit_id:
                return True
            commit = await self.account.get(f"{self.path}/git/commits/{at}", what="this commit")
            parents = field(commit.data, "parents")
            first = field(parents[0], "sha") if isinstance(parents, list) and parents else None
            if not isinstance(first, str):
                return False
            at = first
        return False

    async def noted(self, prefix: str) -> dict[str, str]:
        """The objects that GitHub has."""
        async with self.call.db() as db:
            rows = await db.fetch(
                "select name, sha from push_object where push_id = $1 and starts_with(name, $2)", self.row.id, prefix
            )
        return {one["name"]: one["sha"] for one in rows}

    async def note(self, name: str, sha: str) -> None:
        """Note an object that GitHub has."""
        async with self.call.db() as db:
            await db.execute(
                "insert into push_object (push_id, name, sha) values ($1, $2, $3) on conflict do nothing",
                self.row.id,
                name,
                sha,
            )


def entries_of(answer: Answer, prefix: bytes) -> Iterator[tuple[bytes, tuple[int, str]]]:
    """The entries of a tree in an answer. Raises `UpstreamError`."""
    rows = field(answer.data, "tree")
    if not isinstance(rows, list):
        raise unreadable()
    for row in rows:
        path, mode, sha = field(row, "path"), field(row, "mode"), field(row, "sha")
        if not isinstance(path, str) or not isinstance(mode, str) or not isinstance(sha, str):
            raise unreadable()
        if len(mode) > 6 or not all("0" <= one <= "7" for one in mode) or not mode:
            raise unreadable()
        yield prefix + path.encode("utf-8", "surrogatepass"), (int(mode, 8), sha)


def batched(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Batches of entries, by number and by size."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        own = len(row.get("content") or "") + len(row["path"])
        if batch and (len(batch) == MOST_ENTRIES or size + own > MOST_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += own
    if batch:
        yield batch


def text_of(path: bytes) -> str:
    """A path as JSON has it."""
    return path.decode("utf-8", "replace")
