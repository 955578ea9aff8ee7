from __future__ import annotations

from pydantic import SecretStr

from kaixu.catalog.redact import redacted, secret_texts, texts
from kaixu.plugin import Options


class Demo(Options):
    key: SecretStr
    place: str


def test_every_value_is_taken_out_of_a_message_longest_first() -> None:
    assert redacted("key sk-abcdef failed at sk-abc", {"sk-abc", "sk-abcdef"}) == "key … failed at …"


def test_short_values_do_not_spoil_the_sentence() -> None:
    assert redacted("it is not on", {"on", "it", ""}) == "it is not on"


def test_texts_are_found_however_deep() -> None:
    assert texts({"a": ["x", {"b": "y"}], "c": 3, "d": None}) == {"x", "y"}


def test_secret_fields_are_known_by_their_type() -> None:
    assert secret_texts(Demo(key=SecretStr("sk-1234"), place="home")) == {"sk-1234"}
