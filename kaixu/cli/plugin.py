"""`kaixu plugin new`: create a working package with tests, as a start for a plugin of one's own."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from .examples import example
from .failure import fail
from .report import print_json
from .session import AsJson

TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MAX_NAME = 40

commands = typer.Typer(no_args_is_help=True, help="Create a plugin of your own.")


class Kind(StrEnum):
    """The kind of the new plugin."""

    lane = "lane"
    integration = "integration"


#: The files of a new plugin, and their templates. MODULE is the name of its module.
FILES = {
    Kind.lane: {"MODULE/__init__.py": "lane/module.py", "tests/test_MODULE.py": "lane/test.py"},
    Kind.integration: {
        **{
            f"MODULE/{name}.py": f"integration/module/{name}.py"
            for name in ("__init__", "board", "notes", "options", "printer")
        },
        "MODULE/schema/0001_notes.sql": "integration/module/0001_notes.sql",
        "tests/test_contract.py": "integration/tests/test_contract.py",
        "tests/test_gateway.py": "integration/tests/test_gateway.py",
    },
}

Name = Annotated[str, typer.Argument(help="Its name in kaixu.yaml: lower-case letters, digits, dashes.")]
Where = Annotated[Path, typer.Option("--path", help="The folder in which the package's folder is created.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="plugin")


@commands.command(epilog=example("plugin new lane mistral"))
def new(
    kind: Annotated[
        Kind, typer.Argument(help="lane: a vendor's protocol, translated; integration: operations of your own.")
    ],
    name: Name,
    path: Where = Path(),
    as_json: AsJson = False,
) -> None:
    """Create a working package with tests: a lane, or an integration."""
    folder, files = write(kind.value, name, path, f"The {kind.value} `{name}` for the kAIxU Gateway.")
    if as_json:
        print_json({"folder": str(folder), "files": files})
        return
    article = "an" if kind is Kind.integration else "a"
    typer.echo(f"{folder} contains {article} {kind.value} that works:")
    for target in files:
        typer.echo(f"  {target}")
    typer.echo(f"\nNext:\n  cd {folder}\n  {Path(sys.executable).name} -m pip install -e '.[test]'\n  pytest")


def write(kind: str, name: str, path: Path, description: str) -> tuple[Path, list[str]]:
    """Create the package; return its folder and its files."""
    require_name(kind, name)
    folder = path / f"kaixu-{name}"
    if folder.exists():
        raise fail(f"{folder} exists already", hint="Choose another name, or --path.")
    module = f"kaixu_{name.replace('-', '_')}"
    words = {
        "name": name,
        "module": module,
        "type": "".join(part.capitalize() for part in name.split("-")),
        "project": f"kaixu-{name}",
        "variable": name.replace("-", "_").upper(),
        "description": description,
    }
    words["config"] = fill_template(f"{kind}/kaixu.yaml", words).rstrip()
    files = {"pyproject.toml": "pyproject.toml", "README.md": "README.md"} | FILES[Kind(kind)]
    files = {target.replace("MODULE", module): template for target, template in files.items()}
    try:
        for target, template in files.items():
            file = folder / target
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(fill_template(template, words), encoding="utf-8")
        (folder / module / "py.typed").write_text("")
        (folder / ".gitignore").write_text("__pycache__/\n*.egg-info/\ndist/\n.venv/\n")
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    return folder, sorted(files)


def fill_template(template: str, words: dict[str, str]) -> str:
    """Fill a template."""
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(words)


def require_name(kind: str, name: str) -> None:
    """Raises `CommandFailed` for a name that is invalid or in use."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise fail(
            f"`{name[:80]}` is not a valid name", hint="Use lower-case letters, digits and dashes, as in `my-vendor`."
        )
    if kind == "integration" and "-" in name:
        raise fail("an integration's name is part of its paths and of its tables' schema", hint="Leave dashes out.")
    if any(entry.name == name for entry in entry_points(group="kaixu")):
        raise fail(f"`{name}` is a plugin already", hint="`kaixu plugins` lists them.")
