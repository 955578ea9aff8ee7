"""Tags of calls: cleaned, cut, never an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.tags import end_user_tag, program_tag


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (None, None),
        ("", None),
        ("  \t ", None),
        (" shop ", "shop"),
        ("a\x00b\x1fc", "abc"),
        ("x" * 121, "x" * 120),
        ("käse", "käse"),
        ("\ud800", None),
        ("\x00 \x00", None),
        ("gpj.\u202eexe\u2066\u2028", "gpj.exe"),
    ],
    ids=[
        "none",
        "empty",
        "blank",
        "trimmed",
        "controls",
        "cut",
        "letters",
        "half-a-character",
        "nothing-left",
        "directions",
    ],
)
def test_programs_are_cleaned_and_cut(text: str | None, tag: str | None) -> None:
    assert program_tag(text) == tag


def test_end_users_have_200_characters() -> None:
    assert end_user_tag("🙂" * 300) == "🙂" * 200


@given(text=st.text(st.characters(), max_size=400))
def test_every_tag_can_be_stored(text: str) -> None:
    for tag in (program_tag(text), end_user_tag(text)):
        assert tag is None or (tag.encode() and "\x00" not in tag and len(tag) <= 200)
