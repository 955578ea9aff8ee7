"""Reads kaixu.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .check import check
from .document import Document
from .read import read_file


def load(path: Path, environ: Mapping[str, str]) -> Document:
    """Read and check a kaixu.yaml. Raises `ConfigError` with every mistake at once."""
    document = check(read_file(path, environ), path.parent)
    document._public_name = environ.get("KAIXU_PUBLIC_PROVIDER_NAME", "").strip() or None
    return document
