from __future__ import annotations

import pytest

from kaixu.config.check import check
from kaixu.config.document import Document
from kaixu.config.mistakes import ConfigError
from kaixu.config.read import read_text
from kaixu.config.sections import LaneSection
from kaixu.config.wording import described, fields_at

MODEL = "lanes:\n  core:\n    plugin: p\n    models:\n      m: {type: chat, %s}"
LANE = "lanes:\n  core:\n    plugin: p\n    %s\n    models: {m: {type: chat}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lane: {}", "1:1: `lane` is not a field; did you mean `lanes`?"),
        ("xyz: {}", "1:1: `xyz` is not a field"),
        ("gateway: {grase_s: 1}", "1:11: `grase_s` is not a field of `gateway`; did you mean `grace_s`?"),
        (
            MODEL % "max_tokens: 5",
            "5:23: `max_tokens` is not a field of model `m` of lane `core`; did you mean `image_tokens`?",
        ),
        (
            MODEL % "price: {input: 1, output: 2, outputs: 3}",
            "5:52: `outputs` is not a field of `price` of model `m` of lane `core`; did you mean `output`?",
        ),
        (
            LANE % "timeouts: {total: 3}",
            "4:16: `total` is not a field of `timeouts` of lane `core`; did you mean `total_s`?",
        ),
        ("lanes:\n  core:\n    plugin: p", "2:3: lane `core` needs `models`"),
        (
            "lanes:\n  core:\n    plugin: p\n    modles: {}",
            "2:3: lane `core` needs `models`; did you mean that by `modles`?",
        ),
        (
            "lanes:\n  core:\n    plugin: p\n    models:",
            "4:5: `models` must be a section with fields of its own",
        ),
        ("lanes:\n  core:\n    plugin: p\n    models: {}", "4:5: `models` must not be empty"),
        ("lanes:\n  core: 3", "2:3: `core` must be a section with fields of its own"),
        ("plugins: a", "1:1: `plugins` must be a list"),
        ("plugins: [a, 2]", "1:14: entry 2 of `plugins` must be text; put it in quotes"),
        ("plugins: ['']", "1:11: entry 1 of `plugins` must not be empty"),
        (MODEL % "upstream: 4", "5:23: `upstream` must be text; put it in quotes"),
        (MODEL % "price: {input: a, output: 1}", "5:31: `input` must be a number"),
        (MODEL % "price: {input: true, output: 1}", "5:31: `input` must be a number"),
        (MODEL % "price: {input: 0x1F, output: 1}", "5:31: `input` must be a number"),
        (MODEL % "price: {input: 12:30:00, output: 1}", "5:31: `input` must be a number"),
        (MODEL % "price: {input: .nan, output: 1}", "5:31: `input` must be a number"),
        (MODEL % "price: {input: 'nan', output: 1}", "5:31: `input` must be a number"),
        (
            MODEL % "price: {input: -1, output: 1}",
            "5:31: `input`: a price is a number of US dollars, 0 or more",
        ),
        (MODEL % "price: {input: 1e-10, output: 1}", "5:31: `input`: a price has at most 9 decimals"),
        (MODEL % "price: {input: 2e6, output: 1}", "5:31: `input`: a price is at most 1000000 US dollars"),
        (MODEL % "max_output_tokens: 2.5", "5:23: `max_output_tokens` must be a whole number"),
        (MODEL % "max_output_tokens: true", "5:23: `max_output_tokens` must be a number"),
        (MODEL % "max_output_tokens: 0", "5:23: `max_output_tokens` must be greater than or equal to 1"),
        (LANE % "retries: 11", "4:5: `retries` must be less than or equal to 10"),
        (LANE % "required: 3", "4:5: `required` must be true or false"),
        (LANE % "on_disconnect: stop", "4:5: `on_disconnect` must be 'cancel' or 'drain'"),
        (LANE % "timeouts: {connect_s: 0}", "4:16: `connect_s` must be greater than 0"),
        (LANE % "timeouts: {connect_s: inf}", "4:16: `connect_s` must be less than or equal to 7200"),
        (
            "integrations: {x: {price: {a: -1}}}",
            "1:20: `price`: a price is a number of US dollars, 0 or more",
        ),
    ],
    ids=lambda value: value.rpartition("\n")[2][:40],
)
def test_mistake_in_an_operator_s_words(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(read_text(text, "kaixu.yaml", {}))
    assert str(caught.value) == f"kaixu.yaml:{expected}"


def test_mistake_never_repeats_a_value() -> None:
    text = LANE % "required: sk-secret\n    aliases: [sk-secret, 3]\n    timeouts: sk-secret"
    with pytest.raises(ConfigError) as caught:
        check(read_text(text, "kaixu.yaml", {}))
    assert "sk-secret" not in str(caught.value)


def test_section_is_described_from_the_inside_out() -> None:
    assert described(("lanes", "a", "models", "b", "price")) == "`price` of model `b` of lane `a`"
    assert described(("lanes", "models", "models", "lanes")) == "model `lanes` of lane `models`"
    assert described(("gateway",)) == "`gateway`"
    assert described(()) == ""


def test_known_fields_are_those_of_the_section_around() -> None:
    assert "lanes" in fields_at(Document, ("x",))
    assert fields_at(Document, ("lanes", "a", "x")) == list(LaneSection.model_fields)
    assert "cached_input" in fields_at(Document, ("lanes", "a", "models", "m", "cost", "x"))
    assert fields_at(Document, ("plugins", 0)) == []
    assert fields_at(Document, ("no", "such", "thing")) == []
