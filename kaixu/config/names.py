"""Names that are used in URLs and file names."""

from __future__ import annotations

import re

#: The maximum length of a collection's name.
MOST_NAME = 120

UNNAMED = re.compile(r"[^A-Za-z0-9._-]")


def plain_name(text: str) -> str:
    """A collection's name as it is stored: other characters than letters, digits, `.`, `_` and `-` become `-`."""
    return UNNAMED.sub("-", text.strip())
