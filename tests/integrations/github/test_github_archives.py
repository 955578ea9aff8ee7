"""ZIPs that are refused, each with its reason, and what such a refusal leaves: nothing, and no charge."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile
from pathlib import Path

import pytest
from kaixu_github.archive import ArchiveLimits, read_archive
from kaixu_github.names import require_apart
from kaixu_github.refusals import BadArchive
from kaixu_github.secret_shapes import SHAPES, secret_in

from .pusher import Pusher, link, zipped

LIMITS = ArchiveLimits(most_files=20, most_total_bytes=8 << 20, most_file_bytes=4 << 20, allow_secrets=False)

#: Assembled here, so that no scanner takes this file for one with secrets.
GITHUB_TOKEN = "gh" + "p_" + "a1B2" * 9


def truncated_name(data: bytes, name: bytes, other: bytes) -> bytes:
    """The same ZIP, with another name of the same length in both places."""
    assert len(name) == len(other)
    return data.replace(name, other)


def with_flag(data: bytes, flag: int) -> bytes:
    """The first file of a ZIP says that it is encrypted."""
    at = data.index(b"PK\x01\x02")
    flags = struct.unpack_from("<H", data, at + 8)[0] | flag
    return data[:6] + struct.pack("<H", flags) + data[8 : at + 8] + struct.pack("<H", flags) + data[at + 10 :]


def with_method(method: int) -> bytes:
    return zipped({"a.txt": "a" * 100}, method=method)


def overlapping() -> bytes:
    """Two entries of the directory that use the same bytes."""
    data = zipped({"a.txt": "a" * 100, "b.txt": "b" * 100})
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    return data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :]


def with_count(count: int) -> bytes:
    """A directory that says it has many files."""
    data = zipped({"a.txt": "a"})
    end = data.rindex(b"PK\x05\x06")
    return data[: end + 8] + struct.pack("<HH", count, count) + data[end + 12 :]


def with_two_of_the_same() -> bytes:
    return truncated_name(zipped({"a.txt": "a", "b.txt": "b"}), b"b.txt", b"a.txt")


def with_longer_end(directory: int, *, points_to: int | None = None, sign: bytes = b"PK\x06\x06") -> bytes:
    """A ZIP with a small directory in its end, and a ZIP64 record before it that says another size."""
    data = zipped({"a.txt": "a"})
    at = data.rindex(b"PK\x05\x06")
    record = sign + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, directory, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, at if points_to is None else points_to, 1)
    return data[:at] + record + locator + data[at:]


CASES: dict[str, tuple[bytes, str]] = {
    "no-zip": (b"this is no ZIP", "ZIP_BROKEN"),
    "empty": (b"", "ZIP_BROKEN"),
    "cut-off": (zipped({"a.txt": "a" * 1000})[:-30], "ZIP_BROKEN"),
    "damaged": (zipped({"a.txt": "the truth"}, method=zipfile.ZIP_STORED).replace(b"the truth", b"the lies!"), "ZIP_BROKEN"),
    "no-files": (zipped({}), "ZIP_EMPTY"),
    "junk-only": (zipped({"node_modules/a.js": "a"}), "ZIP_EMPTY"),
    "slip": (zipped({"../evil.txt": "a"}), "ZIP_SLIP"),
    "slip-inside": (zipped({"a/../../evil.txt": "a"}), "ZIP_SLIP"),
    "slip-windows": (zipped({"..\\evil.txt": "a"}), "ZIP_SLIP"),
    "absolute": (zipped({"/etc/passwd": "a"}), "ZIP_SLIP"),
    "drive": (zipped({"C:/evil.txt": "a"}), "ZIP_SLIP"),
    "link-out": (zipped({"a/link": link("../../etc/passwd")}), "ZIP_SLIP"),
    "link-through-a-link": (zipped({"a/up": link(".."), "a/out": link("up/../etc/passwd")}), "ZIP_SLIP"),
    "link-into-git-by-its-short-name": (zipped({"link": link("GIT~1/config")}), "ZIP_HAS_GIT"),
    "link-absolute": (zipped({"link": link("/etc/passwd")}), "ZIP_SLIP"),
    "link-into-git": (zipped({"link": link(".git/config")}), "ZIP_HAS_GIT"),
    "link-modules": (zipped({".gitmodules": link("a")}), "ZIP_LINK"),
    "git": (zipped({".git/config": "a"}), "ZIP_HAS_GIT"),
    "git-below": (zipped({"a/.GIT/hooks/pre-commit": "a"}), "ZIP_HAS_GIT"),
    "git-short-name": (zipped({"git~1/config": "a"}), "ZIP_HAS_GIT"),
    "git-with-dot": (zipped({".git./config": "a"}), "ZIP_HAS_GIT"),
    "git-stream": (zipped({".git::$INDEX_ALLOCATION/config": "a"}), "ZIP_HAS_GIT"),
    "git-invisible": (zipped({".g\u200cit/config": "a"}), "ZIP_HAS_GIT"),
    "control": (zipped({"a\nb.txt": "a"}), "ZIP_BAD_NAME"),
    "empty-part": (zipped({"a//b.txt": "a"}), "ZIP_BAD_NAME"),
    "dot-part": (zipped({"a/./b.txt": "a"}), "ZIP_BAD_NAME"),
    "long-part": (zipped({"a" * 256: "a"}), "ZIP_BAD_NAME"),
    "long-name": (zipped({"/".join(["abcdefghi"] * 110): "a"}), "ZIP_BAD_NAME"),
    "deep": (zipped({"a/" * 50 + "b": "a"}), "ZIP_TOO_DEEP"),
    "case": (zipped({"Readme.md": "a", "README.md": "b"}), "ZIP_SAME_NAME"),
    "case-of-folders": (zipped({"Src/a.txt": "a", "src/b.txt": "b"}), "ZIP_SAME_NAME"),
    "accents": (zipped({"caf\u00e9.txt": "a", "cafe\u0301.txt": "b"}), "ZIP_SAME_NAME"),
    "invisible": (zipped({"a.txt": "a", "a\u200c.txt": "b"}), "ZIP_SAME_NAME"),
    "dots-at-the-end": (zipped({"a.txt": "a", "a.txt.": "b"}), "ZIP_SAME_NAME"),
    "file-and-folder": (zipped({"a": "a", "a/b": "b"}), "ZIP_SAME_NAME"),
    "file-and-folder-by-case": (zipped({"A": "a", "a/b": "b"}), "ZIP_SAME_NAME"),
    "same-name": (with_two_of_the_same(), "ZIP_SAME_NAME"),
    "many-files": (zipped({f"{at}.txt": "a" for at in range(21)}), "ZIP_TOO_MANY_FILES"),
    "many-announced": (with_count(60_000), "ZIP_TOO_MANY_FILES"),
    "many-behind-a-longer-directory": (with_longer_end(2**40), "ZIP_TOO_MANY_FILES"),
    "longer-directory-elsewhere": (with_longer_end(2**40, points_to=0), "ZIP_BROKEN"),
    "longer-directory-without-its-sign": (with_longer_end(50, sign=b"PK\x06\x00"), "ZIP_BROKEN"),
    "large-file": (zipped({"a.bin": bytes(5 << 20)}, method=zipfile.ZIP_STORED), "FILE_TOO_LARGE"),
    "large-together": (
        zipped({f"{at}.bin": bytes(3 << 20) for at in range(3)}, method=zipfile.ZIP_STORED), "ZIP_TOO_LARGE",
    ),
    "bomb": (zipped({"a.txt": bytes(4 << 20)}), "ZIP_BOMB"),
    "overlap": (overlapping(), "ZIP_BOMB"),
    "encrypted": (with_flag(zipped({"a.txt": "a"}), 1), "ZIP_ENCRYPTED"),
    "bzip2": (with_method(zipfile.ZIP_BZIP2), "ZIP_METHOD"),
    "lzma": (with_method(zipfile.ZIP_LZMA), "ZIP_METHOD"),
    "device": (zipped({"dev": (0o020644, "")}), "ZIP_SPECIAL_FILE"),
    "secret": (zipped({"config.py": f'TOKEN = "{GITHUB_TOKEN}"\n'}), "SECRETS_FOUND"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_for_its_reason(name: str, tmp_path: Path) -> None:
    data, code = CASES[name]
    (tmp_path / "upload.zip").write_bytes(data)
    with pytest.raises(BadArchive) as refused:
        read_archive(tmp_path / "upload.zip", LIMITS)
    assert (refused.value.code, refused.value.status) == (code, 422), refused.value.message
    assert "\n" not in refused.value.message
    assert GITHUB_TOKEN not in f"{refused.value.message} {refused.value.hint}"


def test_what_is_odd_and_harmless_is_taken(tmp_path: Path) -> None:
    files = {"./a.txt": "a", "b\\c.txt": "c", "ünï/ß.txt": "d", "e/": "", "link": link("b/c.txt"), "f.git/g": "g"}
    (tmp_path / "upload.zip").write_bytes(zipped(files))
    archive = read_archive(tmp_path / "upload.zip", LIMITS)
    assert [file.path for file in archive.files] == ["a.txt", "b/c.txt", "ünï/ß.txt", "link", "f.git/g"]


def test_a_zip_of_more_than_65535_entries_is_read_by_its_longer_directory(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for at in range(65_600):
            archive.writestr(f"node_modules/{at}", b"")
        archive.writestr("a.txt", b"a")
    (tmp_path / "upload.zip").write_bytes(target.getvalue())
    with pytest.raises(BadArchive) as refused:
        read_archive(tmp_path / "upload.zip", LIMITS)
    assert refused.value.code == "ZIP_TOO_MANY_FILES"
    roomy = LIMITS._replace(most_files=20_000)
    assert [file.path for file in read_archive(tmp_path / "upload.zip", roomy).files] == ["a.txt"]


def test_names_of_the_repository_count_too_but_not_against_each_other() -> None:
    require_apart(["new.txt"], ["README.md", "readme.md"])
    require_apart(["README.md"], [])
    with pytest.raises(BadArchive):
        require_apart(["src/new.txt"], ["SRC/old.txt"])


def test_secrets_are_found_across_pieces_and_allowed_if_asked_for(tmp_path: Path) -> None:
    padding = b"\n".join(b"%d" % at for at in range(40_000))[: (1 << 18) - 20]
    (tmp_path / "upload.zip").write_bytes(zipped({"a.txt": padding + b" " + GITHUB_TOKEN.encode() + b"\n"}))
    with pytest.raises(BadArchive):
        read_archive(tmp_path / "upload.zip", LIMITS)
    assert len(read_archive(tmp_path / "upload.zip", LIMITS._replace(allow_secrets=True)).files) == 1


def test_texts_that_only_look_like_secrets_are_no_secrets() -> None:
    for text in (
        b"ghp_short",
        b"sk-" + b"a" * 10,
        b"AKIAshort",
        b"-----BEGIN PUBLIC KEY-----\nabc",
        b"task-proj-" + b"a" * 50,
    ):
        assert secret_in(text) is None
    key = b"-----BEGIN " + b"OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA"
    assert secret_in(key) == "a private key"
    assert {one.kind for one in SHAPES} >= {"a GitHub token", "an AWS access key", "a Stripe key", "a private key"}


async def test_a_refused_zip_ends_the_push_and_leaves_nothing(ada: Pusher) -> None:
    async def push(name: str) -> None:
        data, code = CASES[name]
        job = await ada.push(zipped({"a.txt": bytes(8 << 20)}) if name == "bomb" else data, branch=name)
        assert (job["status"], job["error_code"]) == ("error", code), job
        assert job["last_error"]

    await asyncio.gather(*map(push, ["slip", "bomb", "git", "case", "secret", "no-zip"]))
    assert not ada.server.git(ada.repo, "for-each-ref")
    assert (await ada.billed(), await ada.held(), await ada.blobs()) == ([], 0, 0)


async def test_secrets_are_pushed_if_asked_for(ada: Pusher) -> None:
    assert (await ada.push(CASES["secret"][0], allow_secrets=True))["status"] == "done"


async def test_a_name_that_the_repository_has_in_other_letters_is_refused(ada: Pusher) -> None:
    ada.server.commit(ada.repo, {"README.md": b"a"})
    assert (await ada.push({"readme.md": "b"}))["error_code"] == "ZIP_SAME_NAME"
    assert (await ada.push({"readme.md": "b"}, mode="replace"))["status"] == "done"
