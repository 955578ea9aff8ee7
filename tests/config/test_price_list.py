"""`price: list + 31%`: from a price list to whole nano-dollars, or to a mistake with its position."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from textwrap import dedent

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.json_schema import json_schema
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.price import NUSD_PER_USD, Price, marked_up, rate_nusd
from kaixu.config.price_list import packaged, percent_of, read_price_list
from kaixu.config.sections import LaneSection, Listed, ModelSection

LIST = """
vendor: Acme
as_of: 2026-11-01
models:
  big: {input: 3, output: 15, cached_input: 0.3, cache_write: 3.75, aliases: [big-2026-10-01], note: dear}
  small: {input: 0.15, output: 0.6}
  odd: {input: 0.000000001, output: 0.000000003}
  vectors: {input: 0.02}
"""
LANE = "lanes:\n  a:\n    plugin: p\n    price_list: ./acme.yaml\n    models:\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with kaixu.yaml and a price list."""
    (tmp_path / "acme.yaml").write_text(LIST)
    return tmp_path


def lane(folder: Path, text: str, **environ: str) -> LaneSection:
    """Lane `a` of a kaixu.yaml."""
    (folder / "kaixu.yaml").write_text(text)
    return load(folder / "kaixu.yaml", environ).lanes["a"]


def model(folder: Path, fields: str, **environ: str) -> ModelSection:
    """Model `m` of a lane that uses the list above."""
    return lane(folder, f"{LANE}      m: {{{fields}}}\n", **environ).models["m"]


def complaints(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        lane(folder, text)
    return [str(one) for one in caught.value.mistakes]


def nusd(price: Price) -> tuple[int, int]:
    return price.input, price.output


@pytest.mark.parametrize(
    ("terms", "expected", "shown"),
    [
        ("list", (150_000_000, 600_000_000), "list"),
        ("list + 31%", (196_500_000, 786_000_000), "list + 31 %"),
        ("list+31%", (196_500_000, 786_000_000), "list + 31 %"),
        ("list - 2.5 %", (146_250_000, 585_000_000), "list - 2.5 %"),
        ("list - 100%", (0, 0), "list - 100 %"),
        ("list + 0%", (150_000_000, 600_000_000), "list"),
    ],
)
def test_price_is_the_list_s_with_something_on_top_or_off(
    folder: Path, terms: str, expected: tuple[int, int], shown: str
) -> None:
    one = model(folder, f"type: chat, upstream: small, price: {terms}")
    assert one.price is not None
    assert nusd(one.price.price()) == expected
    assert one.price.listed == Listed("./acme.yaml", date(2026, 11, 1), shown, None)


def test_every_rate_of_the_list_is_marked_up_and_what_it_lacks_takes_its_default(folder: Path) -> None:
    one = model(folder, "type: chat, upstream: big, price: list + 10%")
    assert one.price is not None
    assert one.cost is not None
    usd = NUSD_PER_USD
    assert one.price.price() == Price(33 * usd // 10, 165 * usd // 10, 33 * usd // 100, 4_125_000_000, 165 * usd // 10)
    assert one.cost.price() == Price(3 * usd, 15 * usd, 3 * usd // 10, 3_750_000_000, 15 * usd)
    assert one.price.listed is not None
    assert one.price.listed.note == "dear"


def test_rate_is_rounded_half_up_to_the_nano_dollar(folder: Path) -> None:
    def of(terms: str) -> tuple[int, int]:
        one = model(folder, f"type: chat, upstream: odd, price: {terms}")
        assert one.price is not None
        return nusd(one.price.price())

    assert of("list + 50%") == (2, 5)  # of 1.5 and 4.5
    assert of("list + 49.999999%") == (1, 4)
    assert of("list - 50%") == (1, 2)  # of 0.5 and 1.5
    assert of("list - 50.000001%") == (0, 1)


@given(
    st.integers(0, 1_000_000 * NUSD_PER_USD),
    st.decimals(-100, 999_999, places=6, allow_nan=False, allow_infinity=False),
)
def test_mark_up_is_exact_and_then_rounded_once(amount: int, percent: Decimal) -> None:
    exact = amount * (1 + Fraction(percent) / 100)
    assert -Fraction(1, 2) < marked_up(amount, percent) - exact <= Fraction(1, 2)


def test_cost_is_the_list_price_unless_it_is_given(folder: Path) -> None:
    def cost(fields: str) -> tuple[tuple[int, int], str | None] | None:
        one = model(folder, f"type: chat, upstream: small, {fields}").cost
        return None if one is None else (nusd(one.price()), one.listed.terms if one.listed else None)

    assert cost("price: list + 31%") == ((150_000_000, 600_000_000), "list")
    assert cost("price: list, cost: list - 10%") == ((135_000_000, 540_000_000), "list - 10 %")
    assert cost("price: list, cost: {input: 0.1, output: 0.2}") == ((100_000_000, 200_000_000), None)
    assert cost("price: {input: 1, output: 2}, cost: list") == ((150_000_000, 600_000_000), "list")
    assert cost("price: {input: 1, output: 2}") is None


def test_model_is_found_by_its_upstream_name_by_its_own_and_by_the_vendor_s_aliases(folder: Path) -> None:
    text = f"{LANE}      x: {{type: chat, upstream: big-2026-10-01, price: list}}\n      small: {{type: chat, price: list}}\n"
    prices = {name: one.price for name, one in lane(folder, text).models.items()}
    assert {name: price and nusd(price.price()) for name, price in prices.items()} == {
        "x": (3 * NUSD_PER_USD, 15 * NUSD_PER_USD),
        "small": (150_000_000, 600_000_000),
    }


def test_list_is_the_plugin_s_or_the_one_that_the_lane_names(tmp_path: Path) -> None:
    models = "    models: {m: {type: chat, upstream: %s, price: list}}\n"
    for fields, upstream, name in (
        ("plugin: openai", "gpt-4o-mini", "openai"),
        ("plugin: ./mine.py\n    price_list: anthropic", "claude-haiku-4-5", "anthropic"),
        ("plugin: azure\n    price_list: openai", "gpt-4.1", "openai"),
    ):
        price = lane(tmp_path, f"lanes:\n  a:\n    {fields}\n{models % upstream}").models["m"].price
        assert price is not None
        assert price.listed is not None
        assert price.listed.name == name


def test_terms_may_come_from_a_variable(folder: Path) -> None:
    one = model(folder, "type: chat, upstream: small, price: '${TERMS:-list + 100%}'")
    other = model(folder, "type: chat, upstream: small, price: 'list + ${PERCENT}%'", PERCENT="50")
    assert one.price is not None
    assert other.price is not None
    assert (nusd(one.price.price())[0], nusd(other.price.price())[0]) == (300_000_000, 225_000_000)


@pytest.mark.parametrize(
    "fields",
    [
        "type: chat, upstream: '${X}', price: list",
        "type: chat, upstream: small, price: 'list + ${X}%'",
        "type: chat, upstream: small, price: '${X}'",
    ],
)
def test_variable_that_is_not_set_switches_the_lane_off_and_is_no_mistake(folder: Path, fields: str) -> None:
    section = lane(folder, f"{LANE}      m: {{{fields}}}\n")
    assert (section.off, section.models["m"].price) == ("X is not set", None)
    off = lane(folder, f"{LANE}      m: {{{fields}}}\n".replace("./acme.yaml", "${LIST}"))
    assert off.models["m"].price is None


def test_lane_that_is_off_has_its_prices_all_the_same(folder: Path) -> None:
    section = lane(folder, f"{LANE}      m: {{type: chat, upstream: small, price: list}}\n    key: ${{X}}\n")
    assert section.off == "X is not set"
    assert section.models["m"].price is not None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("type: chat, upstream: smal, price: list", "39: price list `./acme.yaml` of 2026-11-01 has no model `smal`; did you mean `small`?"),
        ("type: chat, upstream: bi, price: list", "37: price list `./acme.yaml` of 2026-11-01 has no model `bi`; did you mean `big`?"),
        ("type: chat, upstream: qq, cost: list", "37: price list `./acme.yaml` of 2026-11-01 has no model `qq`"),
        ("type: chat, upstream: vectors, price: list", "42: `price` of model `m` of lane `a` needs `output`, which price list `./acme.yaml` does not have for `vectors`"),
        ("type: chat, price: list * 1.31", "23: `price` must be a section of rates, `list`, `list + N%`, or `list - N%` with N up to 100"),
    ],
    ids=["nearest name", "near and short", "cost, nothing near", "no output", "no such terms"],
)  # fmt: skip
def test_what_the_list_cannot_say_is_one_mistake_with_its_place(folder: Path, fields: str, expected: str) -> None:
    assert complaints(folder, f"{LANE}      m: {{{fields}}}\n") == [f"kaixu.yaml:6:{expected}"]


def test_nearest_names_are_all_named(tmp_path: Path) -> None:
    said = complaints(
        tmp_path, "lanes:\n  a:\n    plugin: openai\n    models: {gpt-4o-mni: {type: chat, price: list}}\n"
    )
    assert len(said) == 1
    assert said[0].startswith("kaixu.yaml:4:39: price list `openai` of ")
    assert said[0].endswith(" has no model `gpt-4o-mni`; did you mean `gpt-4o-mini`, `gpt-5.4-mini` or `gpt-4.1-mini`?")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("plugin: opena", ["4:30: no such price list: `opena`; did you mean `openai`?"]),
        ("plugin: ./mine.py", ["4:30: no such price list: `./mine.py`; name one with `price_list`: anthropic, gemini, openai, voyage, or a file"]),
        ("plugin: p\n    price_list: gemni", ["4:5: no such price list: `gemni`; did you mean `gemini`?"]),
        ("plugin: p\n    price_list: ./none.yaml", ["4:5: no such price list beside kaixu.yaml: ./none.yaml"]),
        ("plugin: p\n    price_list: ../none", ["4:5: no such price list beside kaixu.yaml: ../none"]),
        ("plugin: p\n    price_list: 5", ["4:5: `price_list` must be text; put it in quotes"]),
    ],
    ids=["plugin without a list", "plugin that is a file", "name", "file", "path", "no text"],
)  # fmt: skip
def test_list_that_is_not_there_is_a_mistake(tmp_path: Path, lines: str, expected: list[str]) -> None:
    said = complaints(tmp_path, f"lanes:\n  a:\n    {lines}\n    models: {{m: {{type: chat, price: list}}}}\n")
    assert said == [f"kaixu.yaml:{one}" for one in expected]


def test_lane_that_takes_nothing_from_a_list_needs_none(tmp_path: Path) -> None:
    text = "lanes: {a: {plugin: p, price_list: ./none.yaml, models: {m: {type: chat, price: {input: 1, output: 2}}}}}"
    assert lane(tmp_path, text).models["m"].cost is None


def test_mistakes_of_a_list_are_said_once_and_in_its_own_file(folder: Path) -> None:
    (folder / "acme.yaml").write_text(
        dedent(
            """\
            vendor: Acme
            as_of: yesterday
            models:
              a: {input: -1, outputs: 2}
              b: {input: ${X}}
            """
        ).replace("${X}", "'${X}'")
    )
    models = "".join(f"      {name}: {{type: chat, price: list}}\n" for name in "ab")
    assert complaints(folder, LANE + models) == [
        "acme.yaml:2:1: `as_of` must be a date such as 2026-10-31",
        "acme.yaml:4:7: `input`: a price is a number of US dollars, 0 or more",
        "acme.yaml:4:18: `outputs` is not a field of model `a`; did you mean `output`?",
        "acme.yaml:5:7: a price list cannot use variables",
    ]


def test_name_that_means_two_models_of_a_list_is_a_mistake(folder: Path) -> None:
    (folder / "acme.yaml").write_text(
        "vendor: A\nas_of: 2026-11-01\nmodels:\n  a: {input: 1, aliases: [b]}\n  b: {input: 2}\n"
    )
    assert complaints(folder, f"{LANE}      a: {{type: embed, price: list}}\n") == [
        "acme.yaml:5:3: `b` is listed twice"
    ]


@pytest.mark.parametrize("name", packaged())
def test_packaged_list_is_right(name: str) -> None:
    prices = read_price_list(packaged()[name])
    assert date(2026, 1, 1) < prices.as_of <= date.today()
    for model, one in prices.models.items():
        rates = one.price()
        assert 0 < rates.input < 1000 * NUSD_PER_USD, model
        assert rates.cached_input <= rates.input <= rates.cache_write, model
        embeds = "embed" in model or name == "voyage"
        assert embeds == ("output" not in one.model_fields_set), model
        assert embeds or rates.output > rates.input, model


def test_packaged_lists_have_the_models_that_operators_ask_for() -> None:
    wanted = {
        "openai": ["gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5", "gpt-5-mini", "o3", "o4-mini"],
        "anthropic": ["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-3-5-haiku-20241022"],
        "gemini": ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-embedding-001"],
        "voyage": ["voyage-3", "voyage-3-lite", "voyage-3.5", "voyage-3.5-lite", "voyage-3-large"],
    }  # fmt: skip
    assert {name: set(models) - set(read_price_list(packaged()[name]).names) for name, models in wanted.items()} == {
        name: set() for name in wanted
    }


def test_a_few_prices_as_their_vendors_publish_them() -> None:
    def rates(name: str, model: str) -> list[str]:
        one = read_price_list(packaged()[name]).price_of(model)
        assert one is not None
        return [str(getattr(one, rate)) for rate in ("input", "output", "cached_input", "cache_write")]

    assert rates("openai", "gpt-4o-mini-2024-07-18") == ["0.15", "0.6", "0.075", "None"]
    assert rates("anthropic", "claude-haiku-4-5") == ["1", "5", "0.1", "1.25"]
    assert rates("gemini", "gemini-2.5-flash") == ["0.3", "2.5", "0.03", "None"]
    assert rates("voyage", "voyage-3.5") == ["0.06", "0", "None", "None"]


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        ("list", "0"),
        (" list ", "0"),
        ("list +5 %", "5"),
        ("list - 100%", "-100"),
        ("list + 999999.999999%", "999999.999999"),
        ("list - 100.1%", None),
        ("list + -5%", None),
        ("list + 5", None),
        ("list + .5%", None),
        ("list + 5e1%", None),
        ("list + 1234567%", None),
        ("list + 1.1234567%", None),
        ("List", None),
        ("list list", None),
        ("", None),
    ],
)
def test_terms_are_read_exactly_or_not_at_all(text: str, percent: str | None) -> None:
    assert percent_of(text) == (None if percent is None else Decimal(percent))


@given(st.text("lit +-%0159.", max_size=14).map(lambda text: f"list{text}"))
def test_no_terms_make_a_price_below_zero_or_a_traceback(text: str) -> None:
    percent = percent_of(text)
    assert percent is None or marked_up(rate_nusd(Decimal(3)), percent) >= 0


@pytest.mark.parametrize(
    ("price", "accepted"),
    [("list", True), ("list + 31%", True), ("${TERMS}", True), ("lst", False), ("list * 2", False), (5, False)],
)
def test_editor_knows_what_may_stand_for_a_price(price: str | int, accepted: bool) -> None:
    for field in ("price", "cost"):
        document = {
            "lanes": {"a": {"plugin": "p", "price_list": "openai", "models": {"m": {"type": "chat", field: price}}}}
        }
        assert jsonschema_rs.is_valid(json_schema({}), document) == accepted


@pytest.mark.parametrize("name", sorted(packaged()))
def test_figures_of_images_say_where_they_come_from(name: str) -> None:
    prices = read_price_list(packaged()[name])
    if any(one.image_tokens for one in prices.models.values()):
        assert prices.images is not None
        assert re.search(r"20\d\d-\d\d-\d\d", prices.images)


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("{type: chat, upstream: gpt-4o-mini, price: list}", 48169),
        ("{type: chat, upstream: gpt-4o-mini, price: list, image_tokens: 9}", 9),
        ("{type: chat, upstream: gpt-4o-mini, price: {input: 1, output: 2}, cost: list}", 48169),
        ("{type: chat, upstream: gpt-4o-mini, price: {input: 1, output: 2}}", None),
        ("{type: chat, upstream: o3-mini, price: list}", None),
    ],
)
def test_a_model_takes_images_by_what_its_list_says_of_them(tmp_path: Path, model: str, most: int | None) -> None:
    path = tmp_path / "kaixu.yaml"
    path.write_text(f"lanes: {{a: {{plugin: openai, api_key: k, models: {{m: {model}}}}}}}")
    assert load(path, {}).lanes["a"].models["m"].most_image_tokens == most
