"""Write config/kaixu.schema.json: the fields of the core and of the built-in lanes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from kaixu.assets import asset
from kaixu.catalog.find import installed
from kaixu.catalog.load import Loader
from kaixu.config.json_schema import json_schema


def schema_text() -> str:
    """The schema file's text. Raises `PluginError` if a built-in lane does not load."""
    loader = Loader(Path.cwd())
    options: dict[str, type[BaseModel]] = {}
    for name, plugin in installed().items():
        if plugin.source == "built-in":
            options |= {lane: kind.options for lane, kind in loader.load(name, "lane").lanes.items()}
    return json.dumps(json_schema(options), indent=2) + "\n"


def write_schema(path: Path) -> None:
    """Write the schema to `path`. Raises `PluginError`."""
    path.write_text(schema_text())


if __name__ == "__main__":
    write_schema(Path(sys.argv[1]) if len(sys.argv) > 1 else asset("config") / "kaixu.schema.json")
