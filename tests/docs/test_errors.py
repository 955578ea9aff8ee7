"""docs/clients/errors.md has every error code once, with its meaning and what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.openai_errors import openai_error
from kaixu.metering.verdict import ERRORS
from kaixu.plugin import errors

from .pages import blocks, same_shape

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients" / "errors.md").read_text(encoding="utf-8")
TEXTS = yaml.safe_load((ROOT / "docs" / "errors.yaml").read_text(encoding="utf-8"))
ROW = re.compile(r"^\| \d{3}[^|]*\| `([A-Z_]+)` \| ([^|]*) \| ([^|]*) \|", re.MULTILINE)
#: However a code is written into an error: as its class's, or where it is raised.
WRITTEN = re.compile(r"""\bcode\s*=\s*["']([A-Z][A-Z_]+)["']""")
SENT = {
    code
    for folder in ("kaixu", "plugins")
    for path in (ROOT / folder).rglob("*.py")
    for code in WRITTEN.findall(path.read_text(encoding="utf-8"))
}


def test_every_code_is_listed_once() -> None:
    listed = [code for code, *_ in ROW.findall(PAGE)]
    assert sorted(listed) == sorted(SENT)


@pytest.mark.parametrize("code", sorted(SENT))
def test_every_code_says_what_it_means_and_what_to_do(code: str) -> None:
    assert TEXTS[code]["means"].endswith((".", ")")), code
    assert TEXTS[code]["do"].endswith((".", "`")), code


def test_no_text_is_left_of_a_code_that_is_gone() -> None:
    assert set(TEXTS) == SENT


def test_admission_s_order_is_the_programs() -> None:
    told = PAGE.split("Decided by admission, in this order: ")[1].split(". ")[0]
    # A revoked key is told as one that is not known: whoever tries keys learns nothing.
    assert re.findall(r"`([A-Z_]+)`", told) == [code for code in ERRORS if code != "KEY_REVOKED"]


def test_the_tree_at_the_top_of_the_errors_names_every_class() -> None:
    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert {name for name in classes if name not in (errors.__doc__ or "")} == set()


def test_the_shapes_of_the_sdks_are_as_shown() -> None:
    envelope = {"error": "…", "code": "CAP_REACHED", "request_id": "…", "hint": "…", "scope": "key", "month": {}}
    _, theirs, others = (json.loads(block) for block in blocks(PAGE, "json"))
    for told, (real, status) in ((theirs, openai_error(envelope, 402)), (others, anthropic_error(envelope, 402))):
        same_shape(told, real)
        assert told["error"]["type"] == real["error"]["type"]
        assert status == 402
