from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.check import check
from kaixu.config.document import Document
from kaixu.config.mistakes import ConfigError
from kaixu.config.read import read_text

MODELS = "    models: {m: {type: chat}}\n"


def checked(text: str, **environ: str) -> Document:
    return check(read_text(text, "kaixu.yaml", environ))


def complaints(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        checked(text, **environ)
    return [str(one) for one in caught.value.mistakes]


def test_credential_that_is_not_set_switches_its_lane_off_and_no_other() -> None:
    text = f"lanes:\n  a:\n    plugin: openai\n    api_key: ${{A_KEY}}\n{MODELS}  b:\n    plugin: echo\n{MODELS}"
    lanes = checked(text).lanes
    assert (lanes["a"].off, lanes["b"].off) == ("A_KEY is not set", None)
    assert lanes["a"].options == {}
    assert checked(text, A_KEY="").lanes["a"].off == "A_KEY is not set"
    assert (checked(text, A_KEY="k").lanes["a"].off, checked(text, A_KEY="k").lanes["a"].options) == (
        None,
        {"api_key": "k"},
    )


def test_first_variable_that_is_not_set_is_the_reason() -> None:
    text = f"lanes:\n  a:\n    plugin: p\n    x: ${{FIRST}}\n    y: ${{SECOND}}\n{MODELS}"
    assert checked(text).lanes["a"].off == "FIRST is not set"


def test_integration_without_its_variable_is_off() -> None:
    sections = checked("integrations:\n  github: {client_id: '${ID}', price: {call: '${PRICE:-0.5}'}}").integrations
    assert (sections["github"].off, str(sections["github"].price["call"])) == ("ID is not set", "0.5")


@pytest.mark.parametrize(
    "model",
    [
        "{type: chat, upstream: '${X}'}",
        "{type: chat, price: {input: '${X}', output: 1}}",
        "{type: chat, price: {input: 1, output: '${X}'}}",
        "{type: chat, aliases: [a, '${X}']}",
    ],
)
def test_variable_anywhere_in_a_lane_switches_it_off(model: str) -> None:
    lane = checked(f"lanes:\n  a:\n    plugin: p\n    models:\n      m: {model}").lanes["a"]
    assert lane.off == "X is not set"
    assert lane.models["m"].price is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("gateway: {grace_s: '${X}'}", "1:11"),
        ("plugins: ['${X}']", "1:11"),
        ("lanes: '${X}'", "1:1"),
        ("lanes:\n  a: ${X}", "2:3"),
        (f"lanes:\n  a:\n    plugin: ${{X}}\n{MODELS}", "3:5"),
        ("lanes:\n  a:\n    plugin: p\n    models: ${X}", "4:5"),
        ("lanes:\n  a:\n    plugin: p\n    models: {m: {type: '${X}'}}", "4:18"),
    ],
)
def test_variable_that_the_file_cannot_do_without_is_a_mistake(text: str, place: str) -> None:
    said = complaints(text)
    assert f"kaixu.yaml:{place}: X is not set; set it, or write ${{X:-a default}}" in said
    assert len(said) == 1


def test_numbers_may_come_from_variables() -> None:
    document = checked("gateway: {grace_s: '${GRACE:-7}', max_messages: '${M}'}", M="12")
    assert (document.gateway.grace_s, document.gateway.max_messages) == (7, 12)


def test_empty_sections_are_sections() -> None:
    assert checked("lanes:\nplugins:\nintegrations:\ngateway:\n").model_dump() == checked("").model_dump()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["  'b b':", "    plugin: p", MODELS.rstrip()],
            "2:3: `b b` is not a name: use 1 to 80 letters, digits,",
        ),
        (["  a:", "    plugin: p", "    models: {'m/n': {type: chat}}"], "4:14: `m/n` is not a name"),
        (["  a:", "    plugin: p", f"    models: {{{'m' * 81}: {{type: chat}}}}"], "4:14: `mmm"),
        (
            ["  a:", "    plugin: p", MODELS.rstrip(), "  A:", "    plugin: p", MODELS.rstrip()],
            "5:3: `A` already means lane `a`",
        ),
        (
            [
                "  a:",
                "    plugin: p",
                MODELS.rstrip(),
                "  b:",
                "    plugin: p",
                "    aliases: [x, A]",
                MODELS.rstrip(),
            ],
            "8:14: `a/m` already means a model of lane `a`",
        ),
        (
            [
                "  a:",
                "    plugin: p",
                "    models:",
                "      m: {type: chat, aliases: [n]}",
                "      n: {type: chat}",
            ],
            "6:7: `n` already means model `m`",
        ),
    ],
)
def test_name_that_clients_cannot_send_or_that_means_two_things_is_a_mistake(lines: list[str], expected: str) -> None:
    said = complaints("\n".join(["lanes:", *lines]))
    assert len(said) == 1
    assert said[0].startswith(f"kaixu.yaml:{expected}")


def test_lane_may_be_its_own_alias_and_models_differ_by_case() -> None:
    text = "lanes:\n  kaixu: {plugin: p, aliases: [kAIxu], models: {m: {type: chat}, M: {type: chat}}}"
    assert list(checked(text).lanes["kaixu"].models) == ["m", "M"]


def test_chat_price_without_output_is_a_mistake_and_an_embedding_s_is_not() -> None:
    text = "lanes:\n  a:\n    plugin: p\n    models:\n      m: {type: %s, price: {input: 1}, cost: {input: 1}}"
    assert complaints(text % "chat") == [
        "kaixu.yaml:5:23: `price` of model `m` of lane `a` needs `output`",
        "kaixu.yaml:5:42: `cost` of model `m` of lane `a` needs `output`",
    ]
    price = checked(text % "embed").lanes["a"].models["m"].price
    assert price is not None
    assert price.output == 0


def test_mistakes_of_every_kind_come_together() -> None:
    said = complaints("a: 1\na: 2\nlanes:\n  'x y': {plugin: p, models: {m: {type: chat, price: {input: 1}}}}\n")
    assert [one.split(": ")[0] for one in said] == [
        "kaixu.yaml:1:1",
        "kaixu.yaml:2:1",
        "kaixu.yaml:4:3",
        "kaixu.yaml:4:47",
    ]


NAMES = [
    "lanes",
    "gateway",
    "plugins",
    "integrations",
    "models",
    "type",
    "price",
    "input",
    "aliases",
    "plugin",
    "a",
]
SCALARS = st.sampled_from(["1", "-1", "true", "''", "chat", "${X}", "${X:-1}", "012", "~", "1e9", "[a, 1]"])


@given(
    st.recursive(
        SCALARS,
        lambda inside: st.dictionaries(st.sampled_from(NAMES), inside, max_size=4).map(
            lambda values: "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"
        ),
        max_leaves=25,
    )
)
def test_no_file_makes_a_traceback(text: str) -> None:
    problem: ConfigError | None = None
    try:
        check(read_text(text.replace("${X}", "'${X}'").replace("${X:-1}", "'${X:-1}'"), "f", {}))
    except ConfigError as error:
        problem = error
    assert problem is None or problem.mistakes
