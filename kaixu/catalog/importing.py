"""Imports a plugin. Every failure becomes a `PluginError` that names the plugin."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from kaixu.plugin.errors import PluginError

from .find import FoundPlugin

log = logging.getLogger(__name__)

#: The prefix of the module names of plugin files.
PREFIX = "kaixu_file_"


def import_plugin(name: str, found: FoundPlugin) -> ModuleType:
    """Import the plugin `name`. Raises `PluginError`."""
    try:
        module = found.entry.load() if found.entry is not None else import_file(found)
    except PluginError:
        raise
    except ModuleNotFoundError as error:
        raise PluginError(f"plugin `{name}` ({found.where}) needs the package `{error.name}`") from error
    except SyntaxError as error:
        raise PluginError(f"plugin `{name}` ({found.where}), line {error.lineno}: {error.msg}") from error
    except SystemExit as error:
        raise PluginError(f"plugin `{name}` ({found.where}) exited the program during its import") from error
    except Exception as error:  # third-party code can raise anything and must not stop the others
        log.debug("plugin %s cannot be imported", name, exc_info=True)
        raise PluginError(
            f"plugin `{name}` ({found.where}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, ModuleType):
        raise PluginError(f"plugin `{name}` ({found.where}) is not a module: its entry point must name a module")
    return module


def import_file(found: FoundPlugin) -> ModuleType:
    """Import a file under a unique name, so that it never shadows an installed package.

    The same file always has the same name: a reload replaces the module, and restores
    the old one if the new text cannot be imported.
    """
    assert found.file is not None
    name = module_name(found.file)
    folder = found.file.name == "__init__.py"
    spec = importlib.util.spec_from_file_location(
        name, found.file, submodule_search_locations=[str(found.file.parent)] if folder else None
    )
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin file {found.where} is not Python: its name must end in .py")
    before = {key: sys.modules.pop(key) for key in list(sys.modules) if f"{key}.".startswith(f"{name}.")}
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for key in [key for key in sys.modules if f"{key}.".startswith(f"{name}.")]:
            del sys.modules[key]
        sys.modules.update(before)
        raise
    return module


@contextmanager
def restored_on_failure() -> Iterator[None]:
    """If the block raises, restore the plugin files that were imported before it."""
    before = file_modules()
    try:
        yield
    except BaseException:
        for name in file_modules():
            del sys.modules[name]
        sys.modules.update(before)
        raise


def file_modules() -> dict[str, ModuleType]:
    """The imported plugin files and the modules in their folders."""
    return {name: module for name, module in list(sys.modules.items()) if name.startswith(PREFIX)}


def module_name(file: Path) -> str:
    """A readable and unique module name for `file`."""
    stem = file.parent.name if file.name == "__init__.py" else file.stem
    return f"{PREFIX}{stem}_{sha256(str(file).encode()).hexdigest()[:12]}"
