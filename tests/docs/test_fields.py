"""docs/clients/fields.md names every field of the official clients, and none that they do not have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

PAGE = (Path(__file__).parents[2] / "docs" / "clients" / "fields.md").read_text()


def rows(door: str) -> list[str]:
    """The fields in the first column of a door's table."""
    section = PAGE.split(f"## `{door}`\n")[1].split("\n## ")[0]
    return [name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]  # fmt: skip


@pytest.mark.parametrize(
    ("door", "request_type"),
    [("/v1/chat/completions", CompletionCreateParamsBase), ("/v1/responses", ResponseCreateParamsBase)],
)
def test_every_field_is_named_once(door: str, request_type: Any) -> None:
    assert sorted(rows(door)) == sorted({*request_type.__annotations__, "stream"})
