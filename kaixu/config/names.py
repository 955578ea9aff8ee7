"""Names that stand in addresses and file names."""

from __future__ import annotations

import re

#: The longest name of a collection.
MOST_NAME = 120

UNNAMED = re.compile(r"[^A-Za-z0-9._-]")


def plain_name(text: str) -> str:
    """A collection's name as it is kept: what is not a letter, a digit, `.`, `_` or `-` becomes `-`."""
    return UNNAMED.sub("-", text.strip())
