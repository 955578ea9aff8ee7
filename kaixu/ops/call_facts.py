"""What is learned about a call while it runs: who made it, where it went, and why it failed.

Each part of the gateway writes what it learns: the edge the client's tags, admission the customer and the key, the
gate the model, routing the tries, and whoever answers with an error that error.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from kaixu.plugin.errors import KaixuError, UpstreamError

from .trace_context import TraceContext

#: Calls of many batches make many tries; an event lists this many of them.
MAX_TRIES = 20


class Try(msgspec.Struct):
    """One try: the deployment, when it began and how long it took, and how it failed.

    The vendor's status, its meaning and its message are for the operator's monitor; the usage event does not store
    them.
    """

    deployment: str
    at_ms: int
    took_ms: int
    error: str | None = None
    upstream_status: int | None = None
    reason: str | None = None
    vendor_words: str | None = None
    key: str | None = None  # the label of the lane's key that was accepted, where the lane has several

    def failed(self, error: Exception) -> None:
        """Record the reason."""
        self.error = error.code if isinstance(error, KaixuError) else type(error).__name__
        if isinstance(error, UpstreamError):
            self.upstream_status, self.reason = error.upstream_status, error.reason
            self.vendor_words = error.vendor_words


class CallFacts(msgspec.Struct):
    """The facts of one call, as far as they are known. A request of several calls has those of the last one.

    `has_usage_event`: it was settled, with a usage event.
    `provider` is the lane; `error_status` the status that belongs to the error, also where a stream had begun with 200.
    """

    app_id: str | None = None
    build_id: str | None = None
    trace: TraceContext | None = None
    customer_id: int | None = None
    key_id: int | None = None
    key_last4: str | None = None
    ticket: UUID | None = None
    admitted_at: datetime | None = None
    has_usage_event: bool = False
    provider: str | None = None
    model: str | None = None
    tries: list[Try] = []
    error_code: str | None = None
    error_message: str | None = None
    error_status: int | None = None
    is_upstream_error: bool = False
    upstream_status: int | None = None
    upstream_reason: str | None = None
    upstream_words: str | None = None

    @property
    def deployment(self) -> str | None:
        """The deployment that was called last."""
        return self.tries[-1].deployment if self.tries else None

    def failed(self, error: KaixuError) -> None:
        """Note the error that the call ends with."""
        self.error_code, self.error_message, self.error_status = error.code, error.message, error.status
        if isinstance(error, UpstreamError):
            self.is_upstream_error = True
            self.upstream_status, self.upstream_reason = error.upstream_status, error.reason
            self.upstream_words = error.vendor_words

    def failed_tries(self) -> list[dict[str, Any]]:
        """The tries as events store them, if one of them has failed: with the vendors' own words."""
        if not any(one.error for one in self.tries):
            return []
        return [
            {name: value for name, value in msgspec.structs.asdict(one).items() if value is not None}
            for one in self.tries[:MAX_TRIES]
        ]
