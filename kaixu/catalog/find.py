"""A plugin's name → exactly one entry point or file, imported."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from kaixu.config.mistakes import did_you_mean
from kaixu.plugin.errors import PluginError

GROUP = "kaixu"
FOLDERS = ("plugins/lanes", "plugins/integrations")


@dataclass(frozen=True)
class Found:
    """Where a plugin comes from; `wanted` is the one lane of a file that was asked for as `./file.py:name`."""

    name: str
    source: Literal["built-in", "package", "file"]
    where: str
    version: str | None
    entry: EntryPoint | None
    file: Path | None
    wanted: str | None = None


def find(name: str, folder: Path) -> Found:
    """Look a plugin up: a path beside kaixu.yaml, an entry point, or a file in plugins/ beside kaixu.yaml.

    Raises `PluginError` when there is none, or more than one (naming all).
    """
    path, _, wanted = name.partition(":")
    if path.startswith(("./", "../", "/")) or path.endswith(".py"):
        file = (folder / path).resolve()
        if not file.exists():
            raise PluginError(f"there is no file {path} beside kaixu.yaml")
        return Found(name, "file", path, None, None, file, wanted or None)
    hits = [of_entry(entry) for entry in sorted(entry_points(group=GROUP, name=name), key=lambda entry: entry.value)]
    hits = list({hit.where: hit for hit in hits}.values())
    for place in FOLDERS:
        for candidate in (folder / place / f"{name}.py", folder / place / name / "__init__.py"):
            if candidate.exists():
                hits.append(Found(name, "file", str(candidate.relative_to(folder)), None, None, candidate.resolve()))
    if not hits:
        known = sorted({entry.name for entry in entry_points(group=GROUP)})
        raise PluginError(f"there is no plugin `{name}`{did_you_mean(name, known)}")
    if len(hits) > 1:
        raise PluginError(f"`{name}` is {' and '.join(hit.where for hit in hits)}: name the one you mean by its file")
    return hits[0]


def of_entry(entry: EntryPoint) -> Found:
    """An installed plugin; ours come in through the same door as everyone's."""
    distribution = entry.dist
    project = distribution.metadata["Name"] if distribution else "?"
    source: Literal["built-in", "package"] = "built-in" if project == "kaixu" else "package"
    return Found(entry.name, source, f"{project}: {entry.value}", distribution.version if distribution else None, entry, None)


def load(found: Found) -> ModuleType:
    """Import a plugin. Whatever goes wrong in it is a `PluginError` that names it."""
    try:
        if found.entry is not None:
            module = found.entry.load()
            if not isinstance(module, ModuleType):
                raise PluginError(f"entry point {found.where} is not a module")
            return module
        assert found.file is not None
        return import_file(found.file)
    except PluginError:
        raise
    except ModuleNotFoundError as error:
        raise PluginError(f"plugin `{found.name}` ({found.where}) needs the package `{error.name}`") from error
    except Exception as error:
        # A stranger's module can raise anything; that must not take the gateway down.
        raise PluginError(f"plugin `{found.name}` ({found.where}) cannot be imported: {type(error).__name__}: {error}") from error


def import_file(file: Path) -> ModuleType:
    """Import one file under a name of its own, so that it can never shadow an installed package."""
    if file.is_dir():
        file = file / "__init__.py"
    folder = file.name == "__init__.py"
    name = f"kaixu_file_{file.parent.name if folder else file.stem}_{abs(hash(str(file))):x}"
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(file.parent)] if folder else None
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
