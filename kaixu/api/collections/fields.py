"""Read and validate fields of requests about collections: names, ids, metadata, texts, vectors."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import msgspec

from kaixu.api.native.chat_request import read_model_names
from kaixu.catalog.catalog import Catalog, RequestedModel
from kaixu.collections.filters import is_storable
from kaixu.config.names import MOST_NAME, plain_name
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, TooLarge, Unprocessable

MAX_DOC_ID = 200
MAX_METADATA_BYTES = 16 * 1024
MAX_TEXT = 2 * 1024 * 1024
MAX_INPUTS = 2048
MAX_NUMBERS = 16_000

#: Limits for the largest number of a vector, so that the sum of the squares fits a 32-bit float.
MIN_NUMBER, MAX_NUMBER = 1e-15, 1e15


#: An escaped NUL in JSON.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

#: The languages with a stemmer in Postgres; "simple" has none.
LANGUAGES = (
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german",
    "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian",
    "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish",
)  # fmt: skip

ENCODER = msgspec.json.Encoder()


def collection_name(value: Any, field: str = "collection") -> str:
    """A collection's name: characters other than letters, digits, `.`, `_` and `-` become `-`. Raises `Invalid`."""
    if value is None or value == "":
        raise Invalid(f"`{field}` is missing", hint=f"Send `{field}` as text.", field=field)
    if not isinstance(value, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    name = plain_name(value)
    if not name:
        raise Invalid(f"`{field}` is missing", hint=f"Send `{field}` as text.", field=field)
    if len(name) > MOST_NAME:
        raise Unprocessable(f"`{field}` is longer than {MOST_NAME} characters", field=field)
    return name


def resolve_embedding_model(catalog: Catalog, body: dict[str, Any]) -> RequestedModel:
    """The embedding model that a body names. Raises `Invalid`, `Unprocessable`, `UnknownModel`, `LaneOff`."""
    provider, model = read_model_names(body)
    requested = catalog.resolve(provider, model, "embed")
    catalog.ready(requested.deployment)
    return requested


def read_language(fields: Fields) -> str:
    """The language of a new collection, for word search."""
    return fields.one_of("language", LANGUAGES) or "english"


def check_doc_id(value: Any, field: str) -> str:
    """A document's id. Raises `Unprocessable`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Unprocessable(f"`{field}` must be printable text", field=field)
    if len(value) > MAX_DOC_ID:
        raise Unprocessable(f"`{field}` is longer than {MAX_DOC_ID} characters", field=field)
    return value


def read_doc_ids(fields: Fields, count: int) -> list[str]:
    """`doc_ids`, one for each text, or new ids. Raises `Unprocessable`."""
    value = fields.get("doc_ids")
    if value is None:
        return [str(uuid4()) for _ in range(count)]
    if isinstance(value, str | int):
        value = [value]
    if not isinstance(value, list) or len(value) != count:
        raise Unprocessable(f"`doc_ids` must name each of the {count} inputs, in their order", field="doc_ids")
    ids = [check_doc_id(one, f"doc_ids[{at}]") for at, one in enumerate(value)]
    if len(set(ids)) < len(ids):
        duplicate = next(one for at, one in enumerate(ids) if one in ids[:at])
        raise Unprocessable(
            f"`doc_ids` has `{duplicate[:80]}` twice", hint="Send each document once.", code="DUPLICATE_DOC_ID",
            field="doc_ids",
        )  # fmt: skip
    return ids


def check_metadata(value: Any, field: str) -> dict[str, Any]:
    """A document's metadata. Raises `Unprocessable`, `TooLarge`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unprocessable(f"`{field}` must be an object", field=field)
    try:
        encoded = ENCODER.encode(value)
    except (RecursionError, UnicodeEncodeError, OverflowError, TypeError):
        raise Unprocessable(f"`{field}` cannot be stored", field=field) from None
    if len(encoded) > MAX_METADATA_BYTES:
        raise TooLarge(f"`{field}` is longer than {MAX_METADATA_BYTES} bytes", field=field)
    if NUL.search(encoded):
        raise Unprocessable(f"`{field}` contains a NUL character, which cannot be stored", field=field)
    return value


def read_metadata(fields: Fields, count: int) -> list[dict[str, Any]]:
    """`metadata`: one object for all documents, or a list with one for each."""
    value = fields.get("metadata")
    if not isinstance(value, list):
        return [check_metadata(value, "metadata")] * count
    if len(value) != count:
        raise Unprocessable(f"`metadata` must be one object, or one for each of the {count} inputs", field="metadata")
    return [check_metadata(one, f"metadata[{at}]") for at, one in enumerate(value)]


def read_texts(fields: Fields, *, stored: bool) -> list[str]:
    """`input`: a text, or a list of them; none may be empty. Raises `Unprocessable`, `TooLarge`."""
    value = fields.get("input")
    if value is None:
        raise Invalid("`input` is missing", hint="Send `input` as text, or as a list of texts.", field="input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_INPUTS:
        raise Unprocessable(f"`input` must be text, or a list of 1 to {MAX_INPUTS} texts", field="input")
    for at, text in enumerate(texts):
        check_text(text, "input" if isinstance(value, str) else f"input[{at}]", stored=stored)
    return texts


def check_text(text: Any, field: str, *, stored: bool) -> str:
    """A text that is not empty. Raises `Unprocessable`, `TooLarge`."""
    if not isinstance(text, str):
        raise Unprocessable(f"`{field}` must be text", field=field)
    if not text.strip():
        raise Unprocessable(f"`{field}` is empty", hint="Remove empty texts.", field=field)
    if len(text) > MAX_TEXT:
        raise TooLarge(f"`{field}` is longer than {MAX_TEXT} characters", field=field)
    if stored and not is_storable(text):
        raise Unprocessable(f"`{field}` contains a NUL character, which cannot be stored", field=field)
    return text


def check_vector(value: Any, field: str) -> tuple[float, ...]:
    """A vector that the client sent. Raises `Unprocessable`."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_NUMBERS:
        raise Unprocessable(f"`{field}` must be a list of 1 to {MAX_NUMBERS} numbers", field=field)
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        raise Unprocessable(f"`{field}` must be a list of numbers", field=field)
    if not MIN_NUMBER <= max(map(abs, value)) <= MAX_NUMBER:
        raise Unprocessable(
            f"`{field}` must not be zero, with numbers up to {MAX_NUMBER:g}", hint="Vectors need not be normalized.",
            field=field,
        )  # fmt: skip
    return tuple(map(float, value))
