"""Where the project's data files lie: inside an installed wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def asset(name: str) -> Path:
    """The packaged file or folder `name` ("schema", "config", "docs/clients", "kaixu.yaml")."""
    packaged = PACKAGE / "_assets" / name
    return packaged if packaged.exists() else PACKAGE.parent / name
