"""The values of fields: read in the same way from JSON and from the command line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.accounts import fields
from kaixu.plugin.errors import Invalid, Unprocessable

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (fields.identifier, 12, 12),
        (fields.identifier, "12", 12),
        (fields.identifier, 12.0, 12),
        (fields.cents, 2000, 20_000_000_000),
        (fields.cents, "2000", 20_000_000_000),
        (fields.cents, "", None),
        (fields.cents, None, None),
        (fields.flag, True, True),
        (fields.flag, None, None),
        (fields.email, " Ada@Example.COM ", "ada@example.com"),
        (fields.email, "ada@xn--e1afmkfd.xn--p1ai", "ada@xn--e1afmkfd.xn--p1ai"),
        (fields.role, "Owner", "owner"),
        (fields.month, "2026-02", date(2026, 2, 1)),
        (fields.providers, ["kAIxu", " openai", "kaixu", ""], ["kaixu", "openai"]),
        (fields.providers, "kAIxu, openai", ["kaixu", "openai"]),
        (fields.providers, [], []),
        (fields.providers, "", None),
        (fields.models, {"kAIxu": ["a", "b"], "kaixu": "b,c"}, {"kaixu": ["a", "b", "c"]}),
        (fields.models, '{"*": ["*"]}', {"*": ["*"]}),
        (fields.models, {}, {}),
        (fields.models, " ", None),
        (fields.models, "null", None),
        (fields.collections, ["My docs", " my.docs_2 ", "My-docs", ""], ["My-docs", "my.docs_2"]),
        (fields.collections, "docs, wiki/english", ["docs", "wiki-english"]),
        (fields.collections, [], []),
        (fields.collections, None, None),
        (fields.collections, " ", None),
        (fields.install_id, " id ", "id"),
        (fields.install_id, "", ""),
    ],
)
def test_a_value_is_read(read: Callable[[object, str], object], value: object, expected: object) -> None:
    assert read(value, "field") == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (fields.identifier, "x"),
        (fields.identifier, 0),
        (fields.identifier, -3),
        (fields.identifier, 2**63),
        (fields.identifier, True),
        (fields.identifier, "12; drop table"),
        (fields.cents, -1),
        (fields.cents, 1.5),
        (fields.cents, 10**9 + 1),
        (fields.cents, float("nan")),
        (fields.cents, True),
        (fields.cents, [1]),
        (fields.flag, "true"),
        (fields.flag, 1),
        (fields.email, "nobody"),
        (fields.email, "a@b"),
        (fields.email, "a b@example.com"),
        (fields.email, "a@example.com\nbcc: b@example.com"),
        (fields.email, "a" * 300 + "@example.com"),
        (fields.role, "root"),
        (fields.month, "2026-13"),
        (fields.month, "2026-1"),
        (fields.month, "2026-01-01"),
        (fields.month, 202601),
        (fields.providers, {"a": 1}),
        (fields.providers, [1]),
        (fields.providers, ["a\x00"]),
        (fields.models, "{"),
        (fields.models, ["*"]),
        (fields.models, {"a": 1}),
        (fields.models, {" ": ["a"]}),
        (fields.collections, {"docs": 1}),
        (fields.collections, ["docs", None, 7]),
        (fields.collections, ["c" * 121]),
        (fields.collections, [f"c{number}" for number in range(1001)]),
        (fields.install_id, "a\x00"),
        (fields.install_id, "a" * 81),
        (fields.install_id, 7),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    read: Callable[[object, str], object], value: object
) -> None:
    with pytest.raises(Unprocessable) as caught:
        read(value, "the_field")
    assert "the_field" in caught.value.message


@pytest.mark.parametrize("value", [None, ""])
def test_an_id_cannot_be_missing(value: object) -> None:
    with pytest.raises(Invalid) as caught:
        fields.identifier(value, "customer_id")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "read",
    [
        fields.identifier,
        fields.whole,
        fields.cents,
        fields.flag,
        fields.email,
        fields.role,
        fields.month,
        fields.providers,
        fields.models,
        fields.collections,
        fields.install_id,
    ],
    ids=lambda read: read.__name__,
)
@given(value=ANYTHING)
def test_whatever_comes_is_read_or_refused(read: Callable[[object, str], object], value: object) -> None:
    with suppress(Invalid):
        read(value, "field")
