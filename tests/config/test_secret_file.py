"""Secrets in files that kaixu.yaml names: what they may be, and that nothing shows them."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kaixu.config.mistakes import ConfigError
from kaixu.config.price_list import read_price_list
from kaixu.config.read import Reading, read_file
from kaixu.config.secret_file import MOST_BYTES

SECRET = "sk-secret-of-a-vendor"


def read(folder: Path, text: str, **environ: str) -> Reading:
    (folder / "kaixu.yaml").write_text(text)
    return read_file(folder / "kaixu.yaml", environ)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_secret_is_the_content_without_the_line_break_at_its_end(tmp_path: Path, ending: str) -> None:
    (tmp_path / "key").write_bytes(f" {SECRET} ".encode() + ending.encode())
    reading = read(tmp_path, f"a: ${{file:{tmp_path}/key}}\nb: Bearer ${{file:key}} ${{A:-or}}\nc: '${{file: key }}'\n")
    assert reading.mistakes == []
    assert reading.value == {"a": f" {SECRET} ", "b": f"Bearer  {SECRET}  or", "c": f" {SECRET} "}
    assert f" {SECRET} " in reading.given
    assert SECRET not in repr(reading)


def test_content_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("${HOME}: [")
    assert read(tmp_path, "a: ${file:key}", HOME="no").value == {"a": "${HOME}: ["}


def test_every_file_that_cannot_be_used_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin").write_bytes(SECRET.encode() + b"\xff")
    (tmp_path / "large").write_text("x" * (MOST_BYTES + 1))
    (tmp_path / "zero").write_text(f"{SECRET}\0")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    reasons = {
        "none": "there is no file {path}",
        "empty": "{path} is empty",
        "latin": "{path} is not UTF-8",
        "large": "{path} is larger than 64 KiB",
        "zero": "{path} contains a character that is not allowed",
        "pipe": "{path} is not a file",
        ".": "{folder} is not a file",
        "loop": "{path} cannot be read: Too many levels of symbolic links",
        "x" * 300: "{path} cannot be read: File name too long",
        "": "${{file:…}} needs a path",
    }
    reading = read(
        tmp_path, "lanes:\n" + "".join(f"  - {{k{at}: '${{file:{name}}}'}}\n" for at, name in enumerate(reasons))
    )
    assert [str(one) for one in sorted(reading.mistakes)] == [
        f"kaixu.yaml:{at + 2}:6: {reason.format(path=tmp_path / name, folder=tmp_path)}"
        for at, (name, reason) in enumerate(reasons.items())
    ]
    assert SECRET not in str(reading)


def test_a_file_that_everybody_can_read_is_noted_once() -> None:
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        key = folder / "key"
        key.write_text(SECRET)
        key.chmod(0o644)
        assert read(folder, "a: ${file:key}").notes == []  # only its owner can open the folder
        folder.chmod(0o755)
        note = f"every user of this machine can read the secret in {key}: chmod 600 it"
        assert read(folder, "a: ${file:key}\nb: ${file:key}").notes == [note]
        key.chmod(0o640)
        assert read(folder, "a: ${file:key}").notes == []


def test_a_price_list_names_no_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "prices.yaml").write_text(
        "vendor: ${file:key}\nas_of: 2026-01-01\nmodels: {a: {input: 1, output: 1}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_price_list(tmp_path / "prices.yaml")
    assert "${file:…} is read in kaixu.yaml only" in str(caught.value)
    assert SECRET not in str(caught.value)
