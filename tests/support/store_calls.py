"""Which functions of the store a file calls."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

STORE = "kaixu.store"


def store_calls(files: Iterable[Path]) -> set[str]:
    """The asynchronous functions of the store that these files name, as `module.function`."""
    found = set()
    for file in files:
        tree = ast.parse(file.read_text())
        modules, functions = {}, set()
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not f"{node.module}.".startswith(f"{STORE}."):
                continue
            for name in node.names:
                if node.module == STORE:
                    modules[name.asname or name.name] = name.name
                else:
                    functions.add(f"{str(node.module).removeprefix(STORE + '.')}.{name.name}")
        functions |= {
            f"{modules[node.value.id]}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
        }
        found |= {one for one in functions if is_asynchronous(one)}
    return found


def is_asynchronous(name: str) -> bool:
    """Whether a name of the store is that of an asynchronous function."""
    module, attribute = name.rsplit(".", 1)
    if find_spec(f"{STORE}.{module}") is None:
        return False
    return inspect.iscoroutinefunction(getattr(importlib.import_module(f"{STORE}.{module}"), attribute, None))
