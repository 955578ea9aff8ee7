"""The tags of a call: the client's program, and for whom the client makes the call. Reports group by them."""

from __future__ import annotations

import re

#: The longest app, build and end user that are stored; longer ones are cut.
MOST_PROGRAM = 120
MOST_END_USER = 200

#: Control characters, separators of lines, and what turns the direction of the text around it.
UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str, most: int) -> str:
    """Text without surrounding space and unprintable characters, cut to `most` characters."""
    return UNPRINTABLE.sub("", text.strip())[:most]


def program_tag(text: str | None) -> str | None:
    """The app or the build that a client names; None: it names none."""
    return printable(text, MOST_PROGRAM).strip() or None if text else None


def end_user_tag(text: str | None) -> str | None:
    """The end user whom a request names; None: it names none."""
    return printable(text, MOST_END_USER).strip() or None if text else None
