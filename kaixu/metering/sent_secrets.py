"""The secrets in the headers of a request to a vendor: a vendor may quote them in its errors."""

from __future__ import annotations

from collections.abc import Iterable

#: Headers without a secret.
PLAIN_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "anthropic-beta", "anthropic-version", "connection", "content-length"),
        *("content-type", "host", "traceparent", "tracestate", "transfer-encoding", "user-agent"),
        "x-client-request-id",
    }
)


def secrets_in(headers: Iterable[tuple[bytes, bytes]]) -> set[str]:
    """The values of headers that may hold a credential, and their parts: of `Bearer …` the second."""
    text = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    values = {value for name, value in text if name.lower() not in PLAIN_HEADERS}
    return values | {part for value in values for part in value.split()}
