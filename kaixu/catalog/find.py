"""Finds a plugin by its name: exactly one entry point or file. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal

from kaixu.config.mistakes import did_you_mean
from kaixu.plugin.errors import PluginError

GROUP = "kaixu"
FOLDERS = ("plugins/lanes", "plugins/integrations")
INSTALL_HINT = "; install its package, or check the name with `kaixu plugins`"
Source = Literal["built-in", "package", "file"]


class NoSuchPlugin(PluginError):
    """kaixu.yaml names a plugin that does not exist or is ambiguous."""


class NotInstalled(NoSuchPlugin):
    """kaixu.yaml names a plugin that no package and no file brings."""


@dataclass(frozen=True)
class FoundPlugin:
    """The source of a plugin: an entry point or a file, never both."""

    source: Source
    where: str
    version: str | None
    entry: EntryPoint | None
    file: Path | None


def find(name: str, folder: Path) -> FoundPlugin:
    """Find `plugin: name`; `folder` is the folder of kaixu.yaml.

    A path means that file or folder. Any other name is an entry point in the group
    `kaixu`, or `plugins/lanes/NAME.py` or `…/NAME/` beside kaixu.yaml.

    Raises `NoSuchPlugin` if there is none, or more than one (with all of them).
    """
    path = path_in(name)
    if path is not None:
        return of_path(path, folder)
    hits = {hit.where: hit for hit in map(of_entry, entry_points(group=GROUP, name=name))}
    for place in FOLDERS:
        for file in (folder / place / f"{name}.py", folder / place / name / "__init__.py"):
            if file.is_file():
                where = str(file.relative_to(folder))
                hits[where] = FoundPlugin("file", where, None, None, file.resolve())
    if not hits:
        known = {entry.name for entry in entry_points(group=GROUP)}
        raise NotInstalled(f"there is no plugin `{name}`{did_you_mean(name, sorted(known)) or INSTALL_HINT}")
    if len(hits) > 1:
        raise NoSuchPlugin(f"plugin `{name}` could be {' or '.join(hits)}; rename one, or name a file by its path")
    return next(iter(hits.values()))


def path_in(name: str) -> str | None:
    """The path in `./acme.py` and `./acme.py:one-of-its-lanes`, or None if `name` is not a path."""
    path = name.partition(":")[0]
    return path if "/" in path or path.endswith(".py") else None


def lane_in(name: str) -> str | None:
    """The lane in `./acme.py:lane`, or None."""
    return name.partition(":")[2] or None


def of_path(path: str, folder: Path) -> FoundPlugin:
    """A file, or a folder with an `__init__.py`. Raises `NoSuchPlugin`."""
    file = (folder / path).resolve()
    if file.is_dir():
        file /= "__init__.py"
    if not file.is_file():
        raise NoSuchPlugin(f"there is no plugin file {path} beside kaixu.yaml")
    return FoundPlugin("file", path, None, None, file)


def of_entry(entry: EntryPoint) -> FoundPlugin:
    """An installed plugin; the gateway's own are found in the same way."""
    project = entry.dist.name if entry.dist is not None else "?"
    version = entry.dist.version if entry.dist is not None else None
    source: Source = "built-in" if project == "kaixu" else "package"
    return FoundPlugin(source, f"{entry.module} ({project})", version, entry, None)


def installed() -> dict[str, FoundPlugin]:
    """Every installed plugin by its name, whether or not kaixu.yaml names it."""
    return {entry.name: of_entry(entry) for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name)}


def plugins_in(name: str, folder: Path) -> list[str]:
    """The plugins of one entry of `plugins:`: itself, or all plugins in a folder that is not a plugin itself."""
    path = folder / name
    if path_in(name) is None and not path.is_dir():
        return [name]
    if not path.is_dir() or (path / "__init__.py").is_file():
        return [name if "/" in name else f"./{name}"]
    inside = [file for file in sorted(path.iterdir()) if not file.name.startswith((".", "_"))]
    return [f"./{name}/{file.name}" for file in inside if file.suffix == ".py" or (file / "__init__.py").is_file()]
