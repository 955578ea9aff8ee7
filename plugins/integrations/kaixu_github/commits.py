"""A commit, made of what the repository has and of the files of a ZIP. It is the same one each time that it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from .archive import EXECUTABLE, FILE, Archive, ArchivedFile
from .names import require_apart

if TYPE_CHECKING:
    from dulwich.objects import Commit, Tree
    from dulwich.pack import UnpackedObject

Mode = Literal["merge", "replace"]

SUBMODULE = 0o160000

#: What a repository has: mode and id of each file, by its path.
Entries = dict[bytes, tuple[int, str]]


class CommitFacts(msgspec.Struct, frozen=True):
    """What a commit says besides its files. `at`: seconds since 1970."""

    message: str
    author_name: str
    author_email: str
    at: int


class Plan(msgspec.Struct, frozen=True):
    """A commit that is not pushed yet. `is_unchanged`: the files are those of `parent` already.

    `blobs`: the files whose content the repository does not have; `trees`: the folders that are new.
    """

    commit: Commit
    parent: str | None
    trees: list[Tree]
    blobs: list[ArchivedFile]
    is_unchanged: bool

    @property
    def commit_id(self) -> str:
        """The id of the commit."""
        return str(self.commit.id.decode())

    @property
    def object_count(self) -> int:
        """How many objects are sent."""
        return 1 + len(self.trees) + len(self.blobs)

    def objects(self, archive: Archive) -> Iterator[UnpackedObject]:
        """The objects to send, one at a time."""
        from dulwich.objects import Blob
        from dulwich.pack import full_unpacked_object

        yield full_unpacked_object(self.commit)
        for tree in self.trees:
            yield full_unpacked_object(tree)
        for _, data in archive.contents(self.blobs):
            yield full_unpacked_object(Blob.from_string(data))


def plan_commit(
    archive: Archive,
    mode: Mode,
    facts: CommitFacts,
    *,
    parent: str | None,
    there: Entries,
    known: Mapping[str, object],
    parent_tree: str | None,
) -> Plan:
    """Make the commit on `parent`, whose files are `there`; `known` are the trees and blobs that the repository has.

    Raises `BadArchive` where a file and one of the repository would be the same on Windows or macOS.
    """
    entries = merged_entries(archive, there, mode)
    trees: dict[str, Tree] = {}
    root = build_tree(entries, trees)
    wanted: dict[str, ArchivedFile] = {}
    for file in archive.files:
        if file.blob not in known:
            wanted.setdefault(file.blob, file)
    new_trees = [tree for identity, tree in trees.items() if identity not in known]
    commit = make_commit(root, parent, facts)
    return Plan(commit, parent, new_trees, list(wanted.values()), root == parent_tree)


def merged_entries(archive: Archive, there: Entries, mode: Mode) -> Entries:
    """All files that the commit has."""
    old = dict(there)
    new: Entries = {}
    for file in archive.files:
        path = file.path.encode()
        before = old.get(path)
        file_mode = file.mode
        if file_mode is None:  # the ZIP does not know, so what can be run stays so
            file_mode = EXECUTABLE if before is not None and before[0] == EXECUTABLE else FILE
        new[path] = (file_mode, file.blob)
    if mode == "replace":
        return new
    folders = {parent for path in new for parent in parents_of(path)}
    kept = {
        path: entry
        for path, entry in old.items()
        if path not in new and path not in folders and not any(parent in new for parent in parents_of(path))
    }
    require_apart((file.path for file in archive.files), (path.decode("utf-8", "surrogateescape") for path in kept))
    return kept | new


def parents_of(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in."""
    at = path.rfind(b"/")
    while at > 0:
        yield path[:at]
        at = path.rfind(b"/", 0, at)


def build_tree(entries: Entries, trees: dict[str, Tree]) -> str:
    """Make the trees of `entries`; returns the id of the root."""
    from dulwich.objects import ObjectID, Tree

    folders: dict[bytes, Entries] = {}
    tree = Tree()
    for path, (mode, identity) in entries.items():
        first, slash, rest = path.partition(b"/")
        if slash:
            folders.setdefault(first, {})[rest] = (mode, identity)
        else:
            tree.add(first, mode, ObjectID(identity.encode()))
    for name, inner in folders.items():
        tree.add(name, 0o040000, ObjectID(build_tree(inner, trees).encode()))
    identity = tree.id.decode()
    trees[identity] = tree
    return identity


def make_commit(tree: str, parent: str | None, facts: CommitFacts) -> Commit:
    """The commit object."""
    from dulwich.objects import Commit, ObjectID

    person = f"{facts.author_name} <{facts.author_email}>".encode()
    commit = Commit()
    commit.tree = ObjectID(tree.encode())
    commit.parents = [] if parent is None else [ObjectID(parent.encode())]
    commit.author = commit.committer = person
    commit.author_time = commit.commit_time = facts.at
    commit.author_timezone = commit.commit_timezone = 0
    commit.message = facts.message.encode() + b"\n"
    return commit
