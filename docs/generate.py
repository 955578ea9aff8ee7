"""Writes the generated parts of the docs from the code; `--check` says which are stale."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kaixu.cli import app
from kaixu.cli.lazy import COMMANDS
from kaixu.config import document
from kaixu.config.environment import Settings
from kaixu.metering.verdict import ERRORS
from kaixu.plugin import errors
from kaixu.plugin.errors import KaixuError

HERE = Path(__file__).parent
SECTIONS = (
    ("The whole file", document.Document),
    ("`gateway:`", document.GatewaySection),
    ("A lane: `lanes: NAME:`", document.LaneSection),
    ("Its time limits: `timeouts:`", document.TimeoutSection),
    ("A model: `models: NAME:`", document.ModelSection),
    ("`price:` and `cost:`", document.PriceSection),
    ("An integration: `integrations: NAME:`", document.IntegrationSection),
)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def default_of(field: FieldInfo) -> str:
    """A default as people read it."""
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "–"
    if isinstance(value, BaseModel) or value in ([], {}, ""):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def fields_of(model: type[BaseModel]) -> str:
    """The fields of a section."""
    return table(
        ["field", "default", "what it is"],
        [[f"`{name}`", default_of(field), field.description or ""] for name, field in model.model_fields.items()],
    )


def configuration() -> str:
    """kaixu.yaml, section by section."""
    return "\n\n".join(f"### {title}\n\n{fields_of(model)}" for title, model in SECTIONS)


def environment() -> str:
    """The environment variables."""
    return table(
        ["variable", "default", "what it is"],
        [
            [f"`{name.upper()}`", default_of(field), field.description or ""]
            for name, field in Settings.model_fields.items()
        ],
    )


def error_codes() -> str:
    """Every error a client may get."""
    rows = []
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, KaixuError):
            rows.append([str(kind.status), f"`{kind.code}`", (kind.__doc__ or "").splitlines()[0]])
    return table(["status", "code", "meaning"], sorted(rows))


def refusals() -> str:
    """The codes that admission decides."""
    return ", ".join(f"`{code}`" for code in ERRORS)


def command_list() -> str:
    """Every command with its first line of help."""
    rows: list[list[str]] = []

    def walk(command: Any, words: str) -> None:
        inner = getattr(command, "commands", {})
        for name in sorted(inner):
            walk(inner[name], f"{words} {name}")
        if not inner:
            rows.append([f"`{words}`", (command.help or "").strip().splitlines()[0]])

    group: Any = typer.main.get_group(app)
    for name in COMMANDS:
        walk(group.get_command(None, name), f"kaixu {name}")
    return table(["command", "what it does"], rows)


PARTS = {
    "configuration": configuration,
    "environment": environment,
    "errors": error_codes,
    "refusals": refusals,
    "commands": command_list,
}
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def renewed(text: str) -> str:
    """A page with its generated parts made anew."""
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def main() -> int:
    """Write, or check."""
    stale = []
    for page in sorted(HERE.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if renewed(text) != text:
            stale.append(page.relative_to(HERE.parent))
            if "--check" not in sys.argv:
                page.write_text(renewed(text), encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {', '.join(map(str, stale))}; run `python docs/generate.py`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
