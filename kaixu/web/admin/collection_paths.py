"""The addresses of the pages about collections, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping

from kaixu.plugin.errors import Invalid
from kaixu.web.api_calls import QueryValue
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

TAB = TABS["embeddings"]
GENERATE = "/gateway/embeddings/generate"
SEARCH = "/gateway/embeddings/search"
CREATE = "/gateway/embeddings/create"
IMPORT = "/gateway/embeddings/import"
EXPORT = "/gateway/embeddings/export"
COLLECTION = "/gateway/embeddings/collection"
REEMBED = "/gateway/embeddings/reembed"
DOCUMENTS = "/gateway/embeddings/documents"
DOCUMENT = "/gateway/embeddings/document"
DELETE_DOCUMENT = "/gateway/embeddings/delete-document"
PURGE = "/gateway/embeddings/purge"

#: The function of collections.
FUNCTION = "gateway-embed-collections"


def where(visit: Visit, **more: QueryValue) -> dict[str, QueryValue]:
    """The customer and the collection of a page, as fields of an address. Raises `Invalid` without a customer."""
    if visit.customer is None:
        raise Invalid("choose a customer first", hint="Open Embeddings, and choose one.")
    return {"customer_id": visit.customer_id, "name": visit.query.get("name") or visit.form.get("name"), **more}


def query_of(values: Mapping[str, QueryValue]) -> dict[str, str]:
    """Fields of an address as hidden fields of a form."""
    return {name: str(value) for name, value in values.items() if value is not None}


def who_pays() -> str:
    """Who pays for what is done here."""
    return (
        "Embedding and searching here cost the customer what its own calls would: its oldest key is used, with that "
        "key's limits. Where that needs an install id, they take the seat operator."
    )
