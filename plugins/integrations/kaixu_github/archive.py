"""A ZIP, read without trusting it: everything that it says of itself is checked while it is unpacked."""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from .names import clean_name, is_git_folder, require_apart, shown_name
from .options import GitHubOptions
from .refusals import BadArchive
from .secret_shapes import secret_in

FILE, EXECUTABLE, LINK = 0o100644, 0o100755, 0o120000

#: A file that unpacks to more than this, and to more than `MOST_RATIO` times its size in the ZIP, is a bomb.
SMALL_BYTES = 1 << 20
MOST_RATIO = 200

#: Bytes of the directory of a ZIP for each file that it may have.
DIRECTORY_BYTES = 1200

#: The longest target of a symbolic link.
MOST_TARGET_BYTES = 4096

PIECE_BYTES = 1 << 18

#: The longest secret of a known shape, with what stands around it: so much of a piece is searched with the next one.
SECRET_BYTES = 512
UNIX = 3


class ArchiveLimits(NamedTuple):
    """What a ZIP may have. `allow_secrets`: files are not searched for secrets."""

    most_files: int
    most_total_bytes: int
    most_file_bytes: int
    allow_secrets: bool

    @classmethod
    def of(cls, options: GitHubOptions, *, allow_secrets: bool) -> ArchiveLimits:
        """Those of the operator."""
        return cls(options.most_files, options.most_total_bytes, options.most_file_bytes, allow_secrets)


class ArchivedFile(msgspec.Struct, frozen=True):
    """A file of a ZIP as git sees it. `blob`: its id, as 40 hexadecimal digits. `mode` None: the ZIP does not say."""

    path: str
    mode: int | None
    size: int
    blob: str
    position: int


class Archive:
    """The files of a ZIP, all of them checked. `left_out`: how many were not taken."""

    def __init__(self, path: Path, files: list[ArchivedFile], left_out: int) -> None:
        self.path = path
        self.files = files
        self.left_out = left_out

    def contents(self, wanted: list[ArchivedFile]) -> Iterator[tuple[ArchivedFile, bytes]]:
        """The contents of some files, one at a time."""
        with zipfile.ZipFile(self.path) as archive:
            entries = archive.infolist()
            for file in wanted:
                yield file, archive.read(entries[file.position])


def read_archive(path: Path, limits: ArchiveLimits) -> Archive:
    """Read a ZIP through, without keeping its contents. Raises `BadArchive`."""
    try:
        with path.open("rb") as stream:
            require_small_directory(stream, limits)
        with zipfile.ZipFile(path) as archive:
            return read_entries(path, archive, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError,
            OverflowError, struct.error) as error:  # fmt: skip
        raise BadArchive("ZIP_BROKEN", "the upload is not a ZIP, or a broken one") from error


def require_small_directory(stream: BinaryIO, limits: ArchiveLimits) -> None:
    """Look at the end of the file before its directory is read into memory. Raises `BadArchive`, `BadZipFile`."""
    size = stream.seek(0, 2)
    start = max(0, size - (22 + 0xFFFF + 20))
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise zipfile.BadZipFile("no end of the directory")
    count, directory = struct.unpack_from("<HI", tail, at + 10)
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":  # `zipfile` believes it, whatever the shorter figures say
        end = start + at - 20 - 56  # where `zipfile` looks, too
        if end < 0 or struct.unpack_from("<Q", tail, at - 12) != (end,):
            raise zipfile.BadZipFile("the ZIP64 locator does not point to the record before it")
        stream.seek(end)
        record = stream.read(56)
        if not record.startswith(b"PK\x06\x06"):
            raise zipfile.BadZipFile("no ZIP64 record")
        count, directory = struct.unpack_from("<QQ", record, 32)
    elif count == 0xFFFF or directory == 0xFFFFFFFF:
        raise zipfile.BadZipFile("no ZIP64 locator")
    if directory > (limits.most_files + 1000) * DIRECTORY_BYTES or count > 4 * (limits.most_files + 1000):
        raise too_many_files(limits)


def read_entries(path: Path, archive: zipfile.ZipFile, limits: ArchiveLimits) -> Archive:
    """Check and hash every file. Raises `BadArchive`, and what `zipfile` raises."""
    wanted: list[tuple[int, zipfile.ZipInfo, str]] = []
    left_out = 0
    for position, entry in enumerate(archive.infolist()):
        name = clean_name(name_of(entry))
        if name is None:
            left_out += not entry.is_dir()
            continue
        if len(wanted) == limits.most_files:
            raise too_many_files(limits)
        require_plain(entry, name, limits)
        wanted.append((position, entry, name))
    if not wanted:
        raise BadArchive("ZIP_EMPTY", "the ZIP has no files")
    require_no_overlap(path, [entry for _, entry, _ in wanted])
    if sum(entry.file_size for _, entry, _ in wanted) > limits.most_total_bytes:
        raise too_many_bytes(limits)
    if len({name for _, _, name in wanted}) < len(wanted):
        raise BadArchive("ZIP_SAME_NAME", "the ZIP has two files of the same name")
    require_apart(name for _, _, name in wanted)
    files, total, found = [], 0, []
    for position, entry, name in wanted:
        file, kind = read_file(archive, position, entry, name, limits)
        total += file.size
        if total > limits.most_total_bytes:
            raise too_many_bytes(limits)
        files.append(file)
        if kind is not None:
            found.append(f"{shown_name(name)} has {kind}")
    if found:
        more = f", and {len(found) - 5} more files" if len(found) > 5 else ""
        raise BadArchive(
            "SECRETS_FOUND",
            f"secrets would be published: {', '.join(found[:5])}{more}",
            hint="Remove them, or push again with `allow_secrets`. GitHub itself refuses many of them.",
        )
    return Archive(path, files, left_out)


def name_of(entry: zipfile.ZipInfo) -> str:
    """An entry's name. Without the flag for UTF-8, many programs write UTF-8 all the same."""
    if entry.flag_bits & 0x800:
        return entry.orig_filename
    try:
        return entry.orig_filename.encode("cp437").decode()
    except UnicodeError:
        return entry.orig_filename


def require_plain(entry: zipfile.ZipInfo, name: str, limits: ArchiveLimits) -> None:
    """What the directory says of a file, before it is unpacked. Raises `BadArchive`."""
    if entry.flag_bits & 0x1:
        raise BadArchive("ZIP_ENCRYPTED", f"{shown_name(name)} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadArchive(
            "ZIP_METHOD", f"{shown_name(name)} is packed in an uncommon way", hint="Pack the ZIP with deflate."
        )
    if entry.file_size > limits.most_file_bytes:
        raise file_too_large(name, limits)
    if entry.file_size > SMALL_BYTES and entry.file_size > MOST_RATIO * max(1, entry.compress_size):
        raise BadArchive("ZIP_BOMB", f"{shown_name(name)} unpacks to more than {MOST_RATIO} times its size")
    kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == UNIX else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
        raise BadArchive("ZIP_SPECIAL_FILE", f"{shown_name(name)} is neither a file nor a symbolic link")


def require_no_overlap(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse files that share bytes of the ZIP: that is how small ones unpack to gigabytes. Raises `BadArchive`."""
    size = path.stat().st_size
    end = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        if entry.header_offset < end:
            raise BadArchive("ZIP_BOMB", "files of the ZIP overlap")
        end = entry.header_offset + 30 + entry.compress_size
    if end > size:
        raise zipfile.BadZipFile("a file lies beyond the end")


def read_file(
    archive: zipfile.ZipFile, position: int, entry: zipfile.ZipInfo, name: str, limits: ArchiveLimits
) -> tuple[ArchivedFile, str | None]:
    """Hash one file as git does, and search it for secrets; the kind of secret that it has."""
    mode = mode_of(entry)
    most_bytes = MOST_TARGET_BYTES + 1 if mode == LINK else limits.most_file_bytes
    hashed = hashlib.sha1(b"blob %d\0" % entry.file_size, usedforsecurity=False)
    size, found, window = 0, None, b""
    with archive.open(entry) as stream:
        while piece := stream.read(PIECE_BYTES):
            size += len(piece)
            if size > most_bytes:
                raise file_too_large(name, limits)
            hashed.update(piece)
            window = window[-SECRET_BYTES:] + piece
            if found is None and not limits.allow_secrets:
                found = secret_in(window)
    if size != entry.file_size:
        raise zipfile.BadZipFile("a file has another size than the directory says")
    if mode == LINK:
        require_target_inside(name, window)
    return ArchivedFile(name, mode, size, hashed.hexdigest(), position), found


def mode_of(entry: zipfile.ZipInfo) -> int | None:
    """The mode in git. None: the ZIP was not made on Unix, and does not say."""
    if entry.create_system != UNIX or not entry.external_attr >> 16:
        return None
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        return LINK
    return EXECUTABLE if mode & 0o111 else FILE


def require_target_inside(name: str, target: bytes) -> None:
    """A symbolic link may lead to nothing outside of the repository, nor into `.git`. Raises `BadArchive`."""
    shown = shown_name(name)
    try:
        text = target.decode()
    except UnicodeDecodeError:
        raise BadArchive("ZIP_LINK", f"the symbolic link {shown} cannot be read") from None
    if not text or len(target) > MOST_TARGET_BYTES or "\0" in text:
        raise BadArchive("ZIP_LINK", f"the symbolic link {shown} leads nowhere")
    if name.rpartition("/")[2].lower() in (".gitmodules", ".gitattributes", ".gitignore", ".mailmap"):
        raise BadArchive("ZIP_LINK", f"{shown} may not be a symbolic link")
    if text.startswith(("/", "\\")) or text[1:2] == ":":
        raise BadArchive("ZIP_SLIP", f"the symbolic link {shown} leads out of the repository")
    segments = [one for one in text.replace("\\", "/").split("/") if one not in ("", ".")]
    rising = next((at for at, one in enumerate(segments) if one != ".."), len(segments))
    if rising > name.count("/"):
        raise BadArchive("ZIP_SLIP", f"the symbolic link {shown} leads out of the repository")
    if ".." in segments[rising:]:  # after a name that may be a link itself, nobody can say where `..` leads
        raise BadArchive(
            "ZIP_SLIP", f"the symbolic link {shown} goes up again after a name", hint="Shorten the target of the link."
        )
    if any(is_git_folder(one) for one in segments):
        raise BadArchive("ZIP_HAS_GIT", f"the symbolic link {shown} leads into .git")


def too_many_files(limits: ArchiveLimits) -> BadArchive:
    """The error for too many files."""
    return BadArchive("ZIP_TOO_MANY_FILES", f"the ZIP has more than {limits.most_files} files")


def too_many_bytes(limits: ArchiveLimits) -> BadArchive:
    """The error for files that are too large together."""
    return BadArchive("ZIP_TOO_LARGE", f"the files of the ZIP have more than {limits.most_total_bytes} bytes")


def file_too_large(name: str, limits: ArchiveLimits) -> BadArchive:
    """The error for a file that is too large."""
    return BadArchive(
        "FILE_TOO_LARGE",
        f"{shown_name(name)} is larger than {limits.most_file_bytes} bytes",
        hint="Keep large files elsewhere; GitHub refuses those above 100 MiB.",
    )
