"""What a screen reader is told of a page, compared with a file.

`KAIXU_WRITE_SNAPSHOTS=1` writes the files anew. Figures, times and names of the data are replaced, and a table is its
head: the files change with the page, not with its data or the day.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import Locator

FOLDER = Path(__file__).parent / "snapshots"

DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)"

#: In this order: what stands for a text that differs from run to run.
VOLATILE = (
    (re.compile(r"kx_(?:live|admin)_\w+"), "<key>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "<email>"),
    (re.compile(r"(?:…|\.\.\.|•+)\s?[A-Za-z0-9_-]{4}(?![A-Za-z0-9_-])"), "…<last4>"),  # also one that ends in "-"
    (re.compile(r"https?://127\.0\.0\.1:\d+"), "<gateway>"),
    (re.compile(r"(?<![/\w=-])[0-9a-f]{16,}\b"), "<id>"),
    (re.compile(rf"\b(?:{DAY},? )?(?:\d{{1,2}} )?{MONTH}\b(?: \d{{1,2}}\b)?(?:,? \d{{4}})?"), "<date>"),
    (re.compile(r"\b\d{4}-\d{2}(?:-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?Z?)?)?"), "<date>"),
    (re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\b"), "<time>"),
    (re.compile(r"(?<![\w\[=])[−-]?\$?\d[\d,.  ]*(?:%|[kMG]\b)?(?<![ ,.])"), "#"),
)

# A line is quoted as a whole where its text has a colon.
ROW = re.compile(r"^(\s*)- '?row\b")
GROUP = re.compile(r"^(\s*)- '?rowgroup")
TABLE = re.compile(r"^(\s*)- '?(?:table|grid|treegrid)\b")


def indent(line: str) -> int:
    """How far a line is indented."""
    return len(line) - len(line.lstrip())


def without_data(text: str) -> str:
    """A snapshot in which a table is its head, and one line where it has rows: which row comes first is data, too."""
    lines: list[str] = []
    table_at, skipped_at = None, None
    groups, has_row = 0, False
    for line in text.splitlines():
        at = indent(line)
        if skipped_at is not None and at > skipped_at:
            continue
        skipped_at = None
        if table_at is not None and at <= table_at:
            table_at = None
        if TABLE.match(line):
            table_at, groups, has_row = at, 0, False
        elif table_at is not None and GROUP.match(line):
            groups, has_row = groups + 1, False
        elif table_at is not None and groups > 1 and ROW.match(line):  # not the head
            skipped_at = at
            if has_row:
                continue
            line, has_row = " " * at + "- row", True
        lines.append(line)
    return "\n".join(lines)


def normal(text: str) -> str:
    """A snapshot without what differs from run to run."""
    text = without_data(text)
    for pattern, stands_for in VOLATILE:
        text = "\n".join(
            line if line.lstrip().startswith("- /url:") and stands_for == "#" else pattern.sub(stands_for, line)
            for line in text.splitlines()
        )
    # Addresses of records and pages: their numbers, cursors and dates.
    text = re.sub(r"(- /url: .*)", lambda match: re.sub(r"(?<=[=/])\d+\b", "#", match[1]), text)
    return text + "\n"


def assert_snapshot(part: Locator, name: str) -> None:
    """The accessibility tree of a part of a page is that of `snapshots/NAME.yaml`."""
    snapshot = normal(part.aria_snapshot())
    path = FOLDER / f"{name}.yaml"
    if os.environ.get("KAIXU_WRITE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(snapshot, encoding="utf-8")
    assert path.exists(), f"there is no {path.name}: run with KAIXU_WRITE_SNAPSHOTS=1, and look at what it wrote"
    assert snapshot == path.read_text(encoding="utf-8"), (
        f"the page reads differently from {path.name}; if it should, run with KAIXU_WRITE_SNAPSHOTS=1"
    )
