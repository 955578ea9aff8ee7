"""The rules for paths of files and for digests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kaixu.plugin import Failure

from .errors import bad

#: Of a whole path, in UTF-16 units, as the older clients count.
MOST_PATH = 1024

SHA1 = re.compile(r"[0-9a-f]{40}")
REFUSED = re.compile(r"[#?\x00-\x1f\x7f]")
REFUSED_IN_NAME = re.compile(r'[<>:"|*]')
SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")


def path_of(raw: object) -> str:
    """A path as it is stored and compared: with a slash at its beginning. Raises `Failure` BAD_PATH."""
    if not isinstance(raw, str):
        raise bad("A path must be text", "BAD_PATH")
    path = "/" + re.sub(r"/{2,}", "/", raw.strip().replace("\\", "/")).removeprefix("/")
    if len(path) > MOST_PATH or len(path.encode("utf-16-le", "surrogatepass")) > 2 * MOST_PATH:
        raise bad("Path is too long", "BAD_PATH")
    if REFUSED.search(path):
        raise bad("Path has a character that Netlify does not allow", "BAD_PATH")
    if path != "/" and path.endswith("/"):
        raise bad("Path must not end in a slash", "BAD_PATH")
    for name in path[1:].split("/"):
        if name in (".", "..") or REFUSED_IN_NAME.search(name):
            raise bad("Path has a name that is not allowed", "BAD_PATH")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise bad("Path has half a character", "BAD_PATH") from None
    return path


def sha1_of(raw: object) -> str | None:
    """A digest in small letters; None where it is none."""
    text = raw.strip().lower() if isinstance(raw, str) else ""
    return text if SHA1.fullmatch(text) else None


def manifest_of(files: object, most_files: int) -> dict[str, str]:
    """The digests of all paths of a push. Raises `Failure`."""
    if not isinstance(files, Mapping):
        raise bad("Missing files mapping")
    if not files:
        raise bad("The manifest has no files", "BAD_MANIFEST")
    if len(files) > most_files:
        raise Failure(
            413, "BAD_MANIFEST", f"The manifest has {len(files)} files; at most {most_files} are allowed",
            hint="Publish fewer files, or ask your operator for a higher limit.",
        )  # fmt: skip
    manifest: dict[str, str] = {}
    for raw, digest in files.items():
        path, sha1 = path_of(raw), sha1_of(digest)
        if sha1 is None:
            raise Failure(400, "BAD_MANIFEST", "Invalid SHA1 in the manifest", fields={"path": path})
        if manifest.setdefault(path, sha1) != sha1:
            raise Failure(400, "BAD_MANIFEST", "Two digests for one path", fields={"path": path})
    return manifest


def site_of(raw: object) -> str | None:
    """The id or the domain of a site; None where it can be neither."""
    text = raw.strip() if isinstance(raw, str) else ""
    return text if SITE.fullmatch(text) else None


def text_of(value: Any, most: int, default: str = "") -> str:
    """A text without space around it, cut; numbers count as they are written."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return default
    return str(value).strip().replace("\0", "")[:most] or default


def whole_number(value: Any) -> int | None:
    """A whole number from a number or its text; None where it is none."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
