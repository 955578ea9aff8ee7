"""Names of files in a ZIP: which are refused, which are left out, and which would be one file on another system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from .refusals import BadArchive

MOST_NAME_BYTES = 1024
MOST_SEGMENT_BYTES = 255
MOST_DEPTH = 50

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DRIVE = re.compile(r"[A-Za-z]:")

#: Code points that HFS+ ignores in names: `.g\u200cit` would be `.git` on a Mac.
IGNORED_BY_HFS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


def clean_name(name: str) -> str | None:
    """The path in the repository for a name in a ZIP; None for what is left out.

    Raises `BadArchive` for a name that leads out of the repository, into `.git`, or that no system could store.
    """
    path = name.replace("\\", "/")
    shown = shown_name(path)
    if CONTROL.search(path):
        raise BadArchive("ZIP_BAD_NAME", f"the name {shown} has control characters")
    if path.startswith("/") or DRIVE.match(path):
        raise BadArchive("ZIP_SLIP", f"the name {shown} is an absolute path")
    if path.startswith("./"):
        path = path[2:]
    if not path or path.endswith("/"):
        return None
    segments = path.split("/")
    if ".." in segments:
        raise BadArchive("ZIP_SLIP", f"the name {shown} leads out of the repository")
    if "" in segments or "." in segments:
        raise BadArchive("ZIP_BAD_NAME", f"the name {shown} has an empty part")
    if is_left_out(segments):
        return None
    try:
        sizes = [len(segment.encode()) for segment in segments]
    except UnicodeEncodeError:
        raise BadArchive("ZIP_BAD_NAME", f"the name {shown} is not text") from None
    if sum(sizes) + len(sizes) > MOST_NAME_BYTES or max(sizes) > MOST_SEGMENT_BYTES:
        raise BadArchive("ZIP_BAD_NAME", f"the name {shown} is too long")
    if len(segments) > MOST_DEPTH:
        raise BadArchive("ZIP_TOO_DEEP", f"{shown} lies deeper than {MOST_DEPTH} folders")
    if any(is_git_folder(segment) for segment in segments):
        raise BadArchive("ZIP_HAS_GIT", f"{shown} belongs to git itself", hint="Leave the folder .git out of the ZIP.")
    return path


def is_left_out(segments: list[str]) -> bool:
    """What nobody wants in a repository: installed packages, and files of macOS's Finder."""
    return segments[0] in ("node_modules", "__MACOSX") or segments[-1].lower() == ".ds_store"


def is_git_folder(segment: str) -> bool:
    """Whether a segment is `.git` on any system: git's own rules for HFS+ and NTFS, where `git~1` is its short name."""
    plain = segment.translate(IGNORED_BY_HFS).casefold().partition(":")[0].rstrip(" .")
    return plain in (".git", "git~1")


def merged_name(path: str) -> str:
    """What Windows and macOS make of a path: paths with the same one are the same file there."""
    return "/".join(
        unicodedata.normalize("NFC", unicodedata.normalize("NFC", segment).casefold()).rstrip(" .")
        for segment in path.translate(IGNORED_BY_HFS).split("/")
    )


def require_apart(paths: Iterable[str], others: Iterable[str] = ()) -> None:
    """Refuse paths of which two would be one, or one would be a folder of another.

    `others`: what is in the repository already; they are not compared with each other. Raises `BadArchive`.
    """
    spelled: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in others:
        note_path(path, spelled, folders, compare=False)
    for path in paths:
        note_path(path, spelled, folders, compare=True)


def note_path(path: str, spelled: dict[str, str], folders: dict[str, str], *, compare: bool) -> None:
    """Note a file with its folders. `folders` and `spelled` map what other systems make of a path to its spelling."""
    merged = merged_name(path)
    if compare and (merged in folders or spelled.get(merged, path) != path):
        raise same_name(path, folders.get(merged) or spelled[merged])
    spelled[merged] = path
    while "/" in path:
        path, merged = path.rpartition("/")[0], merged.rpartition("/")[0]
        if compare and (other := folders.get(merged, path)) != path:
            raise same_name(path, other)
        if compare and merged in spelled:
            raise same_name(path, spelled[merged])
        if merged in folders:
            return
        folders[merged] = path


def same_name(path: str, other: str) -> BadArchive:
    """The error for two paths that are one on another system."""
    return BadArchive(
        "ZIP_SAME_NAME",
        f"{shown_name(path)} and {shown_name(other)} would be the same file on Windows or macOS",
        hint="Rename one of them.",
    )


def shown_name(path: str) -> str:
    """A name for a message: short, and nothing that a terminal would obey."""
    plain = "".join(one if one.isprintable() else "\ufffd" for one in path[:120])
    return f"`{plain}…`" if len(path) > 120 else f"`{plain}`"
