from __future__ import annotations

import pytest

from .conftest import Folder

ECHO = "b: {plugin: echo, models: {n: {type: chat, price: {input: 1, output: 1}, cost: {input: 7, output: 7}}}}"


def model(fields: str) -> str:
    return f"lanes:\n  a: {{plugin: echo, models: {{m: {{type: chat, price: {{input: 1, output: 2}}, {fields}}}}}}}\n  {ECHO}\n"


def test_deployments_are_named_after_their_lanes_and_stand_by_priority(folder: Folder) -> None:
    catalog = folder.build(
        model("deployments: [{lane: b, priority: 2}, {upstream: x}, {upstream: y, weight: 3, name: best}, {}]")
    )
    [found] = [one for one in catalog.deployments if one.model == "m"]
    assert [(one.name, one.upstream, one.weight) for one in found.choices] == [
        ("a-1", "x", 1), ("best", "y", 3), ("a-2", "m", 1), ("b", "m", 1),
    ]  # fmt: skip
    assert {one.price for one in found.choices} == {found.price}


def test_a_fallback_is_served_as_the_other_model_is_and_paid_for_as_this_one(folder: Folder) -> None:
    catalog = folder.build(model("fallback: [b/n]"))
    [found] = [one for one in catalog.deployments if one.model == "m"]
    first, second = found.choices
    assert (first.name, second.name, second.upstream) == ("a", "b", "n")
    assert (second.price, second.provider, second.model) == (first.price, "a", "m")
    assert second.cost is not None
    assert second.cost.input == 7_000_000_000


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("deployments: [{lane: c}]", "no such lane: `c`"),
        ("fallback: [b/x]", "lane `b` has no model `x`"),
        ("fallback: [n]", "no such model: `n`"),
        ("fallback: [a/m]", "cannot stand in for itself"),
        ("deployments: [{name: x}, {name: x}]", "`x` already means another deployment"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(folder: Folder, fields: str, says: str) -> None:
    catalog = folder.build(model(fields))
    [mistake] = catalog.mistakes
    assert says in str(mistake)
    assert str(mistake).startswith("kaixu.yaml:2:") or "kaixu.yaml:2:" in str(mistake)
    assert any(one.model == "m" for one in catalog.deployments)


def test_a_price_of_a_batch_is_a_part_of_the_model_s_rounded_up(folder: Folder) -> None:
    text = model("cache: {ttl: 10m}").replace(
        "plugin: echo, models: {m", "plugin: echo, batch_price_factor: 0.3333, models: {m"
    )
    [found] = [one for one in folder.build(text).deployments if one.model == "m"]
    assert found.prices["batch"].input == 333_300_000
    assert found.prices["cached"].output == 0
    assert found.priced("batch").price == found.prices["batch"]
    assert found.cache is not None
    assert found.cache.ttl == 600
