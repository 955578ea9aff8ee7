"""Reads a secret from a file that kaixu.yaml names: `${file:/run/secrets/openai}`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

#: The longest secret; service accounts of clouds are a few thousand bytes.
MOST_BYTES = 64 * 1024


class SecretFileError(Exception):
    """The file cannot be used. The message names the file, never its content."""


class SecretFile(NamedTuple):
    """The content of a file without the line break at its end, and what its owner should know about it."""

    text: str
    note: str | None


def read_secret_file(path: Path) -> SecretFile:
    """Read a secret. Raises `SecretFileError`."""
    try:
        # A pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SecretFileError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise SecretFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'no valid path'}") from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise SecretFileError(f"{path} is not a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SecretFileError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return SecretFile(text_of(path, content), note_on(path, about.st_mode))


def text_of(path: Path, content: bytes) -> str:
    """The secret in a file's content. Raises `SecretFileError`."""
    if len(content) > MOST_BYTES:
        raise SecretFileError(f"{path} is larger than {MOST_BYTES >> 10} KiB")
    try:
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} is not UTF-8") from None
    if not text.strip():
        raise SecretFileError(f"{path} is empty")
    if "\0" in text:
        raise SecretFileError(f"{path} contains a character that is not allowed")
    return text


def note_on(path: Path, mode: int) -> str | None:
    """A note where every user of this machine can read the file, also through its folders."""
    if not mode & stat.S_IROTH:
        return None
    try:
        folders = path.resolve().parents
        if not all(folder.stat().st_mode & stat.S_IXOTH for folder in folders):
            return None
    except OSError:
        return None
    return f"every user of this machine can read the secret in {path}: chmod 600 it"
