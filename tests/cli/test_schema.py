from __future__ import annotations

from pathlib import Path

from kaixu.assets import asset
from kaixu.cli.schema import schema_text, write_schema


def test_committed_schema_is_fresh(tmp_path: Path) -> None:
    assert (asset("config") / "kaixu.schema.json").read_text() == schema_text(), "run python -m kaixu.cli.schema"


def test_schema_knows_the_options_of_the_lanes_that_come_along(tmp_path: Path) -> None:
    write_schema(tmp_path / "schema.json")
    text = (tmp_path / "schema.json").read_text()
    for word in ('"const": "openai"', '"const": "local"', '"const": "echo"', '"base_url"', '"model_file"'):
        assert word in text
