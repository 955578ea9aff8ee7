"""Reads kaixu.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .check import check
from .document import Document
from .mistakes import ConfigError, Mistake, Place
from .read import read_file


def load(path: Path, environ: Mapping[str, str]) -> Document:
    """Read and check a kaixu.yaml. Raises `ConfigError` with every mistake at once."""
    if not path.exists():
        message = "no such file; create it, or set KAIXU_CONFIG to the path of yours"
        raise ConfigError([Mistake.at(Place(str(path), 1, 1), message)])
    document = check(read_file(path, environ), path.parent)
    document._public_name = environ.get("KAIXU_PUBLIC_PROVIDER_NAME", "").strip() or None
    return document
