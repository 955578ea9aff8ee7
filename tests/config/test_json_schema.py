from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from kaixu.assets import asset
from kaixu.config.json_schema import json_schema
from kaixu.plugin import Options


class DemoOptions(Options):
    """Options of these tests."""

    speed: int = 1
    key: str


SCHEMA = json_schema({"demo": DemoOptions})
MODELS = {"m": {"type": "chat", "price": {"input": 0.1, "output": 1}}}


def lane(**fields: Any) -> dict[str, Any]:
    return {"lanes": {"a": {"plugin": "demo", "key": "k", "models": MODELS} | fields}}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"lanes": None, "plugins": None, "integrations": None, "gateway": None},
        lane(),
        lane(speed=3, retries=1, aliases=["b"]),
        lane(speed="${SPEED:-3}", retries="${RETRIES}", required="${R:-true}"),
        lane(plugin="./mine.py", anything={"goes": [1]}),
        {"integrations": {"stripe": {"secret": "x", "price": {"call": 0.5}}}},
    ],
)
def test_editor_accepts(document: dict[str, Any]) -> None:
    jsonschema_rs.validate(SCHEMA, document)


@pytest.mark.parametrize(
    "document",
    [
        {"lane": {}},
        lane(sped=3),
        lane(retries=11),
        lane(retries="many"),
        lane(models={"m": {"type": "chot"}}),
        {"lanes": {"a": {"plugin": "demo", "models": MODELS}}},
        {"gateway": {"grace": 3}},
    ],
)
def test_editor_underlines(document: dict[str, Any]) -> None:
    assert not jsonschema_rs.is_valid(SCHEMA, document)


def test_committed_schema_accepts_every_example() -> None:
    schema = json.loads((asset("config") / "kaixu.schema.json").read_text())
    for path in [asset("kaixu.yaml"), *(asset("config") / "examples").glob("*.yaml")]:
        jsonschema_rs.validate(schema, yaml.safe_load(path.read_text()))


def test_examples_point_to_the_schema() -> None:
    for path in [asset("kaixu.yaml"), *(asset("config") / "examples").glob("*.yaml")]:
        named = path.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / Path(named)).resolve() == (asset("config") / "kaixu.schema.json").resolve()
