"""A push by git's own protocol: read the branch, make the commit, send it. All of it runs in a thread of the call."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from kaixu.plugin import BlockingWire, Failure, KaixuError

from .archive import Archive
from .commits import SUBMODULE, CommitFacts, Entries, Mode, Plan, plan_commit
from .refusals import BranchMoved, GitUnreachable, unreadable, workflow_scope

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.refs import Ref

    from .git_client import WireGitClient

T = TypeVar("T")

#: How far back a commit is looked for after a worker was lost.
LOOKED_BACK = 200

#: What git servers say of a branch that somebody else has moved meanwhile.
MOVED_WORDS = (
    "non-fast-forward", "fetch first", "stale info", "failed to update ref", "cannot lock ref", "already exists",
    "reference broken", "unable to resolve reference", "but expected", "failed to lock",
)  # fmt: skip


class Head(msgspec.Struct, frozen=True):
    """Where a branch is, or where it would begin. `at` None: there is no such branch.

    `base` None: the repository is empty, so the first commit has no parent.
    """

    at: str | None
    base: str | None


class GitPush:
    """One repository, over the wire of one call. The methods block; call them in a thread."""

    def __init__(self, web_base: str, owner: str, repo: str, wire: BlockingWire, token: str, folder: Path) -> None:
        from .git_client import WireGitClient

        self.client: WireGitClient = WireGitClient(web_base, wire, token, folder)
        self.path = f"{owner}/{repo}.git"
        self.folder = folder
        self.fetched = 0

    def head(self, branch: str, base_branch: str | None = None) -> Head:
        """Where a branch is; one that is not there begins at `base_branch`, or at the repository's default branch."""
        ref = ref_of(branch)
        base_ref = None if base_branch is None else ref_of(base_branch)
        wanted = [b"HEAD", ref, *([base_ref] if base_ref else [])]

        def read() -> Head:
            refs = {bytes(name): at for name, at in self.client.get_refs(self.path, ref_prefix=wanted).refs.items()}
            at = refs.get(ref)
            base = at or refs.get(base_ref or b"HEAD")
            return Head(text_of(at), text_of(base))

        return guarded(read)

    def plan(self, base: str | None, archive: Archive, mode: Mode, facts: CommitFacts) -> Plan:
        """The commit on `base`. Folders of the repository are fetched, and no files if the server can do that."""
        if base is None:
            return plan_commit(archive, mode, facts, parent=None, there={}, known={}, parent_tree=None)
        from dulwich.objects import Commit, Tree

        store = self.fetch(base, depth=1, only=b"blob:none")
        there: Entries = {}
        known: dict[str, object] = {}

        def walk() -> str:
            commit = store[base.encode()]
            if not isinstance(commit, Commit):
                raise unreadable()
            waiting = [(b"", commit.tree)]
            while waiting:
                prefix, identity = waiting.pop()
                tree = store[identity]
                if not isinstance(tree, Tree):
                    raise unreadable()
                known[identity.decode()] = None
                for entry in tree.iteritems():
                    path = prefix + entry.path
                    if entry.mode == 0o040000:
                        waiting.append((path + b"/", entry.sha))
                    else:
                        there[path] = (entry.mode, entry.sha.decode())
                        if entry.mode != SUBMODULE:
                            known[entry.sha.decode()] = None
            return str(commit.tree.decode())

        try:
            parent_tree = guarded(walk)
        finally:
            store.close()
        return plan_commit(archive, mode, facts, parent=base, there=there, known=known, parent_tree=parent_tree)

    def push(self, branch: str, expected: str | None, plan: Plan, archive: Archive, *, force: bool = False) -> str:
        """Move the branch from `expected` (None: it is not there) to the commit; its id.

        Raises `BranchMoved`, `Failure` where GitHub refuses. `force`: wherever the branch is.
        """
        ref = ref_of(branch)

        def update(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
            if not force and text_of(refs.get(ref)) != expected:
                raise BranchMoved
            return {ref: plan.commit.id}

        def objects(*_: object, **__: object) -> tuple[int, Iterator[Any]]:
            return plan.object_count, plan.objects(archive)

        words: list[bytes] = []

        def send() -> None:
            result = self.client.send_pack(self.path, update, objects, progress=words.append)
            problem = (result.ref_status or {}).get(ref)
            if problem is not None:
                raise refused_push(problem, b"".join(words)[:20_000].decode("utf-8", "replace"))

        guarded(send)
        return plan.commit_id

    def contains(self, head: str, commit_id: str) -> bool:
        """Whether a commit is `head`, or lies not far behind it."""
        if head == commit_id:
            return True
        from dulwich.objects import Commit

        store = self.fetch(head, depth=LOOKED_BACK, only=b"tree:0")

        def look() -> bool:
            waiting, seen = [head.encode()], set()
            while waiting:
                identity = waiting.pop()
                if identity in seen or identity not in store:
                    continue
                seen.add(identity)
                if identity == commit_id.encode():
                    return True
                commit = store[identity]
                if isinstance(commit, Commit):
                    waiting += commit.parents
            return False

        try:
            return guarded(look)
        finally:
            store.close()

    def fetch(self, commit: str, *, depth: int, only: bytes) -> Any:
        """A commit with what is wanted of it, in a store of its own. The caller closes it."""
        from dulwich.object_store import DiskObjectStore, ObjectStoreGraphWalker
        from dulwich.objects import ObjectID

        self.fetched += 1
        folder = self.folder / f"objects-{self.fetched}"
        folder.mkdir()

        def wants(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [ObjectID(commit.encode())]

        def fetch() -> Any:
            store = DiskObjectStore.init(str(folder))
            stream, finish, give_up = store.add_pack()
            try:
                self.client.fetch_pack(
                    self.path,
                    wants,
                    ObjectStoreGraphWalker([], lambda _: []),
                    stream.write,
                    depth=depth,
                    filter_spec=only,
                    ref_prefix=[b"HEAD"],
                )
            except BaseException:
                give_up()
                store.close()
                raise
            finish()
            return store

        return guarded(fetch)


def guarded(work: Callable[[], T]) -> T:
    """What `work` returns. A git server's nonsense is its failure and no bug of ours. Raises `UpstreamError`."""
    try:
        return work()
    except (KaixuError, BranchMoved, GitUnreachable):
        raise
    except (
        AssertionError, EOFError, LookupError, TypeError, ValueError, AttributeError, NotImplementedError, OSError,
        zlib.error, struct.error, binascii.Error,
    ) as error:  # fmt: skip
        raise unreadable() from error
    except Exception as error:
        if type(error).__module__.startswith("dulwich."):
            if is_moved(str(error)):
                raise BranchMoved from error
            raise unreadable() from error
        raise


def is_moved(words: str) -> bool:
    """Whether a git server's words mean that the branch has moved."""
    plain = words.lower()
    return any(one in plain for one in MOVED_WORDS)


def refused_push(problem: str, words: str) -> Exception:
    """The error for a branch that the server did not move. Its words decide, and are not shown."""
    both = f"{problem} {words}".lower()
    if "workflow" in both and ("scope" in both or "permission" in both):
        return workflow_scope()
    if "push protection" in both or "gh013" in both or "secret" in both:
        return Failure(
            422,
            "GITHUB_PUSH_PROTECTION",
            "GitHub's push protection or a rule of the repository refuses this push",
            hint="Remove secrets from the files, or ask the repository's owner.",
        )
    if "protected" in both or "gh006" in both or "hook declined" in both:
        return Failure(
            403,
            "GITHUB_PROTECTED_BRANCH",
            "The branch is protected: its rules refuse this push",
            hint="Push with `pull_request`, or to another branch.",
        )
    if is_moved(both):
        return BranchMoved()
    return Failure(422, "GITHUB_REFUSED", "GitHub refuses this push", hint="See the repository's rules.")


def ref_of(branch: str) -> Ref:
    """The full name of a branch."""
    from dulwich.refs import Ref

    return Ref(b"refs/heads/" + branch.encode())


def text_of(identity: bytes | None) -> str | None:
    """An id as text."""
    return None if identity is None else identity.decode()
