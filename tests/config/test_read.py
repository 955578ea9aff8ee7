from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.config.mistakes import ConfigError, Place
from kaixu.config.read import MOST_BYTES, Reading, Value, read_file, read_text


def read(text: str, **environ: str) -> Reading:
    return read_text(text, "kaixu.yaml", environ)


def complaints(text: str) -> list[str]:
    try:
        return [str(one) for one in sorted(read(text).mistakes)]
    except ConfigError as error:
        return [str(one) for one in error.mistakes]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("4_194_304", 4_194_304),
        ("0", 0),
        ("0.1965", Decimal("0.1965")),
        ("2e-7", Decimal("2e-7")),
        (".5", Decimal("0.5")),
        ("1.", Decimal(1)),
        ("12:30:00", "12:30:00"),
        ("0x1F", "0x1F"),
        ("2024-01-31", "2024-01-31"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("9" * 31, "9" * 31),
        ('"7"', "7"),
        ("'true'", "true"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("", None),
        ("~", None),
        ("null", None),
        ("gpt-4o-mini", "gpt-4o-mini"),
    ],
)
def test_value_is_what_is_written(text: str, value: Value) -> None:
    reading = read(f"a: {text}")
    assert (reading.value, reading.mistakes) == ({"a": value}, [])
    assert type(reading.value["a"]) is type(value)


@pytest.mark.parametrize("text", ["012", "-012", "00", "007.5", "0_1"])
def test_number_with_a_leading_zero_is_a_mistake_and_not_octal(text: str) -> None:
    assert complaints(f"a:\n  b: {text}") == [
        f"kaixu.yaml:2:3: `{text}` begins with 0; remove the 0, or put it in quotes"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", ["kaixu.yaml:3:1: `a` is written twice"]),
        ("a:\n  b: 1\n  'b': 2", ["kaixu.yaml:3:3: `b` is written twice"]),
        ("a: &x 1\nb: *x", ["kaixu.yaml:1:4: anchors and aliases are not used here"]),
        ("b: *x", ["kaixu.yaml:1:4: anchors and aliases are not used here"]),
        ("a: !!python/object:os.system x", ["kaixu.yaml:1:4: tags are not used here"]),
        ("a: !!int '3'", ["kaixu.yaml:1:4: tags are not used here"]),
        ("? [a]\n: 1", ["kaixu.yaml:1:3: a key must be plain text"]),
        ("- a\n- b", ["kaixu.yaml:1:1: the file must be a mapping of sections: `lanes:`, `plugins:` …"]),
        ("just text", ["kaixu.yaml:1:1: the file must be a mapping of sections: `lanes:`, `plugins:` …"]),
        ("[" * 50, ["kaixu.yaml:1:22: nested deeper than 20 levels"]),
        ("a: 1\n---\nb: 2", ["kaixu.yaml:2:1: this is not YAML: but found another document"]),
        ('a: "\\UFFFFFFFF"', ["kaixu.yaml:1:1: this is not YAML: an escape or a directive is out of range"]),
        ("a: 1\nb: \x01", ["kaixu.yaml:2:4: this character is not allowed here"]),
        ('a:\n  b: "\\0"', ["kaixu.yaml:2:3: this text contains a character that is not allowed"]),
        ('a: "\\ud800"', ["kaixu.yaml:1:1: this text contains a character that is not allowed"]),
        (
            "a: ${A:-${B}}",
            ["kaixu.yaml:1:1: write ${NAME}, ${NAME:-a default} or ${file:PATH}; they cannot be nested"],
        ),
        (
            "a: ${not-a-name}",
            ["kaixu.yaml:1:1: write ${NAME}, ${NAME:-a default} or ${file:PATH}; they cannot be nested"],
        ),
        (
            "lanes:\n\tcore: 1",
            ["kaixu.yaml:2:1: this is not YAML: found character '\\t' that cannot start any token; indent with spaces"],
        ),
        (
            "a: {b: ${KEY}}",
            [
                "kaixu.yaml:1:9: this is not YAML: expected ',' or '}', but got '{'; "
                'inside {…} and […] write "${NAME}" in quotes'
            ],
        ),
    ],
    ids=lambda value: value.replace("\n", " / ")[:24] if isinstance(value, str) else None,
)
def test_mistake_says_its_line_and_column(text: str, expected: list[str]) -> None:
    assert complaints(text) == expected


def test_all_mistakes_come_at_once() -> None:
    assert [one.partition(": ")[0] for one in complaints("a: 01\nb: 02\na: 3\nc: ${")] == [
        "kaixu.yaml:1:1",
        "kaixu.yaml:2:1",
        "kaixu.yaml:3:1",
        "kaixu.yaml:4:1",
    ]


def test_variable_is_replaced_by_its_value_or_its_default() -> None:
    reading = read("a: ${A}\nb: x-${B:-b}-${A}\nc: '${C:-}'", A="1")
    assert reading.value == {"a": "1", "b": "x-b-1", "c": ""}
    assert (reading.unset, reading.mistakes) == ({}, [])


def test_variable_that_is_not_set_or_empty_is_noted_with_its_place() -> None:
    reading = read("a:\n  b: [x, '${NO}']\n  c: ${EMPTY}\n  d: ${EMPTY:-d}", EMPTY="")
    assert reading.unset == {("a", "b", 1): "NO", ("a", "c"): "EMPTY"}
    assert reading.place(("a", "b", 1)) == Place("kaixu.yaml", 2, 10)
    assert reading.value["a"] == {"b": ["x", ""], "c": "", "d": "d"}


def test_what_stands_in_a_variable_is_not_read_again() -> None:
    assert read("a: ${A}", A="${B} # not a comment: [").value == {"a": "${B} # not a comment: ["}


def test_a_reading_does_not_show_what_variables_held() -> None:
    assert "sk-secret" not in repr(read("a: ${A}", A="sk-secret"))


def test_empty_file_has_no_sections() -> None:
    assert read("").value == read("# nothing\n").value == read("---\n").value == {}


def test_place_of_what_is_missing_is_that_of_what_is_around_it() -> None:
    reading = read("a:\n  b: {c: 1}")
    assert reading.place(("a", "b", "z", 3)) == Place("kaixu.yaml", 2, 3)
    assert reading.place(("z",)) == Place("kaixu.yaml", 1, 1)


def test_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xff")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    expected = {
        "none.yaml": f"{tmp_path}/none.yaml:1:1: no such file",
        "latin.yaml": "latin.yaml:2:4: the file is not UTF-8",
        "huge.yaml": "huge.yaml:1:1: the file is larger than 1048576 bytes",
        ".": f"{tmp_path}:1:1: this is a folder; name the file in it",
    }
    for name, message in expected.items():
        with pytest.raises(ConfigError) as caught:
            read_file(tmp_path / name, {})
        assert str(caught.value) == message


def test_byte_order_mark_moves_no_column(tmp_path: Path) -> None:
    (tmp_path / "kaixu.yaml").write_bytes(b"\xef\xbb\xbfa: 012")
    assert [one.column for one in read_file(tmp_path / "kaixu.yaml", {}).mistakes] == [1]


YAMLISH = st.text(st.sampled_from("ab: -\n\t'\"{}[],&*!|>%@`#?$~\\0123.eEx_<=\x00\ud800é\u2028\ufeff"), max_size=60)


@given(st.one_of(YAMLISH, st.text(max_size=80)))
def test_no_text_makes_a_traceback(text: str) -> None:
    try:
        mistakes = read(text, A="1").mistakes
    except ConfigError as error:
        mistakes = error.mistakes
    assert all(one.line > 0 and one.column > 0 and one.message for one in mistakes)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=9))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    assert read(f"a: {number:f}").value == {"a": number}
