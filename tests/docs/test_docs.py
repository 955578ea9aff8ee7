"""The docs match the code: nothing missing, nothing stale, no dead links."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from kaixu.cli.lazy import COMMANDS
from kaixu.config.document import Document
from kaixu.config.environment import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "schema").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)#\s]+)")
ANCHOR = re.compile(r"\]\(([^)#\s:]*)#([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.DOTALL)


def test_generated_parts_are_fresh() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub and other viewers name them."""
    lines = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text()), re.MULTILINE)
    words = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line).strip().lower() for line in lines)
    return {re.sub(r"[^\w\- ]", "", line).replace(" ", "-") for line in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_find_them(page: Path) -> None:
    for link, anchor in ANCHOR.findall(CODE.sub("", page.read_text())):
        target = page.parent / link if link else page
        if target.suffix == ".md":
            assert anchor in headings(target), f"{link}#{anchor}"


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text()) if "://" not in link}
    folders = ("docs", "docs/operators", "docs/clients", "docs/plugin-authors")
    pages = {page for folder in folders for page in (ROOT / folder).glob("*.md")}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - linked) == []


def sections_of(model: type[BaseModel], found: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """The sections of kaixu.yaml below one, and itself."""

    def inside(kind: Any) -> Iterator[type[BaseModel]]:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        for one in get_args(kind):
            yield from inside(one)

    found.add(model)
    for field in model.model_fields.values():
        for one in inside(field.annotation):
            if one not in found:
                sections_of(one, found)
    return found


def test_every_section_of_the_file_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "operators" / "configuration.md").read_text()
    for section in sections_of(Document, set()):
        for name, field in section.model_fields.items():
            assert f"| `{field.alias or name}` |" in text, f"{section.__name__}.{name}"


def test_every_environment_variable_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "operators" / "configuration.md").read_text()
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in text


#: Commands that packages bring: those of integrations to come, and that of an example.
OF_PACKAGES = {"push", "git-push", "desk"}


def test_commands_in_the_docs_exist() -> None:
    for page in PAGES:
        for word in re.findall(r"(?:^|`|bin/)kaixu ([a-z]+(?:-[a-z]+)*)", page.read_text(), re.MULTILINE):
            assert word in COMMANDS or word in OF_PACKAGES, f"{page.name}: kaixu {word}"
