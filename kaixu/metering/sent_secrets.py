"""The secrets in the headers of a request to a vendor: a vendor may quote them in its errors."""

from __future__ import annotations

import httpx

#: Headers without a secret.
PLAIN_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "anthropic-beta", "anthropic-version", "connection", "content-length"),
        *("content-type", "host", "traceparent", "tracestate", "transfer-encoding", "user-agent"),
        "x-client-request-id",
    }
)


def secrets_in(headers: httpx.Headers) -> set[str]:
    """The values of headers that may hold a credential, and their parts: of `Bearer …` the second."""
    values = {value for name, value in headers.items() if name.lower() not in PLAIN_HEADERS}
    return values | {part for value in values for part in value.split()}
