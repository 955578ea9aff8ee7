from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from kaixu.assets import asset
from kaixu.config import document, gateway_section, operators_section, plans_section, sections
from kaixu.config.document import Document
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.plans_section import PlanSection
from kaixu.config.sections import LaneSection, ModelSection, PriceSection, TimeoutSection

EXAMPLES = [asset("kaixu.yaml"), *sorted(asset("config").glob("examples/*.yaml"))]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_loads(path: Path) -> None:
    assert load(path, {}).lanes
    assert path.read_text().startswith("# yaml-language-server: $schema=")


def test_the_example_of_everything_names_every_field_with_its_default() -> None:
    path = asset("config") / "examples" / "everything.yaml"
    whole, text = load(path, {}), path.read_text()
    assert whole.gateway == GatewaySection()
    assert whole.lanes["kaixu"].timeouts == TimeoutSection()
    assert whole.lanes["kaixu"].retries == LaneSection.model_fields["retries"].default
    for model in (GatewaySection, LaneSection, ModelSection, PriceSection, TimeoutSection, PlanSection, Document):
        for name in model.model_fields:
            assert f"{name}:" in text, f"{model.__name__}.{name}"


def test_every_field_says_what_it_is() -> None:
    modules = (document, gateway_section, operators_section, plans_section, sections)
    found = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    models = [one for one in found if issubclass(one, BaseModel)]
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def test_sections_have_the_defaults_that_the_documentation_states(tmp_path: Path) -> None:
    path = tmp_path / "kaixu.yaml"
    path.write_text("lanes: {a: {plugin: echo, models: {m: {type: chat}}}}")
    lane = load(path, {}).lanes["a"]
    assert (lane.required, lane.on_disconnect, lane.retries, lane.aliases, lane.off) == (
        False,
        None,
        2,
        [],
        None,
    )
    assert lane.timeouts.model_dump() == {
        "connect_s": 10,
        "first_byte_s": 60,
        "between_bytes_s": 60,
        "total_s": 600,
    }
    model = lane.models["m"]
    assert (model.upstream, model.price, model.cost, model.max_output_tokens) == (None, None, None, 8192)
    assert (model.dimensions, model.image_tokens, model.aliases) == (None, None, [])


def test_what_the_core_does_not_own_belongs_to_the_plugin(tmp_path: Path) -> None:
    path = tmp_path / "kaixu.yaml"
    path.write_text("lanes: {a: {plugin: p, speed: 1.5, deep: {x: [1]}, models: {m: {type: chat}}}}")
    assert load(path, {}).lanes["a"].options == {"speed": Decimal("1.5"), "deep": {"x": [1]}}


def test_document_cannot_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "kaixu.yaml"
    path.write_text("lanes: {a: {plugin: p, models: {m: {type: chat}}}}")
    document = load(path, {})
    with pytest.raises(ValueError, match="frozen"):
        document.gateway.grace_s = 3


def test_loading_says_every_mistake_with_the_file_s_name(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("gatway: {}\nplugins: 3\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == (
        "broken.yaml:1:1: `gatway` is not a field; did you mean `gateway`?\nbroken.yaml:2:1: `plugins` must be a list"
    )
