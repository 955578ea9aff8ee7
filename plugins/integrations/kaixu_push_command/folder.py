"""The files of a folder that are published: all but those that an ignore file, or custom, leaves out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
from pathspec import GitIgnoreSpec

from kaixu.plugin import CommandError

#: What belongs to no site. An ignore file can take them in again, with `!`.
USUAL = (".git/", ".hg/", ".svn/", "node_modules/", ".netlify/", ".DS_Store", "Thumbs.db", ".env", ".env.*")

#: Netlify's own files in the root of a site: kept, whatever the ignore file says.
ALWAYS = ("_headers", "_redirects")

READ_BYTES = 2**20


class SiteFile(msgspec.Struct, frozen=True):
    """A file that is published."""

    place: Path
    size: int
    sha1: str


class Folder(msgspec.Struct, frozen=True):
    """What is published, by path, and how many files are not."""

    files: dict[str, SiteFile]
    ignored: int

    @property
    def size(self) -> int:
        """All bytes."""
        return sum(file.size for file in self.files.values())


def read_folder(folder: Path, ignore_file: str) -> Folder:
    """The files below a folder, with their digests. Raises `CommandError`."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder", hint="Give the folder with the finished site, such as dist.")
    root = folder.resolve()
    spec = ignoring(root, ignore_file)
    files: dict[str, SiteFile] = {}
    ignored = 0
    for where, names, leaves in os.walk(root):
        below = Path(where).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        kept = [name for name in names if not spec.match_file(f"{prefix}{name}/")]
        ignored += len(names) - len(kept)
        names[:] = sorted(kept)
        for name in sorted(leaves):
            path = prefix + name
            place = Path(where, name)
            if path == ignore_file or (spec.match_file(path) and path not in ALWAYS) or not is_inside(place, root):
                ignored += 1
                continue
            files["/" + path] = read_file(place)
    return Folder(dict(sorted(files.items())), ignored)


def ignoring(root: Path, ignore_file: str) -> GitIgnoreSpec:
    """What is left out. Raises `CommandError`."""
    lines = [*USUAL]
    try:
        lines += (root / ignore_file).read_text().splitlines()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeError) as error:
        raise CommandError(f"{ignore_file} cannot be read: {type(error).__name__}") from None
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise CommandError(f"{ignore_file} has a pattern that is none: {error}") from None


def is_inside(place: Path, root: Path) -> bool:
    """Whether it is a file of the folder: no link that leads out of it, no pipe, no device."""
    return place.is_file() and place.resolve().is_relative_to(root)


def read_file(place: Path) -> SiteFile:
    """A file with its digest. Raises `CommandError`."""
    digest, size = hashlib.sha1(usedforsecurity=False), 0
    try:
        with place.open("rb") as file:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise CommandError(f"{place} cannot be read: {type(error).__name__}") from None
    return SiteFile(place, size, digest.hexdigest())
