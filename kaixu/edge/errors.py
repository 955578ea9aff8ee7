"""Errors → the envelope `{error, code, hint, request_id}`; an unexpected error → 500 without detail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from kaixu.edge.month_reply import month_reply
from kaixu.metering.ticket import Ticket
from kaixu.metering.verdict import Refusal
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import Invalid, KaixuError, LaneOff, UpstreamError

from .request import IncomingRequest
from .response import Reply, json_reply
from .throttle import Throttle

log = logging.getLogger(__name__)

#: The most errors a minute of callers without a key that are recorded in the monitor, from one address.
MAX_RECORDED = 60

#: Turns an envelope and its status into what the clients of a route expect.
ErrorShape = Callable[[dict[str, Any], int], tuple[dict[str, Any], int]]


def native_error(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """The native shape: the envelope itself."""
    return body, status


def envelope(error: KaixuError, request_id: str) -> dict[str, Any]:
    """The body of an error's reply."""
    body: dict[str, Any] = {"error": error.message, "code": error.code, "request_id": request_id, **error.figures}
    if error.hint:
        body["hint"] = error.hint
    if error.field:
        body["field"] = error.field
    return body


def refusal_body(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """The envelope, with what a refused client needs to see: whose cap, the month, the rate."""
    body = envelope(refusal.error, request_id)
    if refusal.error.status == 402 and refusal.figures is not None:
        body["scope"] = refusal.verdict.scope
        body["month"] = month_reply(refusal.figures)
    if refusal.error.status == 429:
        free_at = datetime.now(UTC) + timedelta(seconds=refusal.error.retry_after_s or 0)
        body["scope"] = refusal.verdict.scope
        body["ratelimit"] = {"remaining": 0, "reset": free_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    return body


def error_headers(error: KaixuError) -> dict[str, str]:
    """`retry-after` where the error says when to come back (RFC 9110 §10.2.3)."""
    if error.retry_after_s is not None:
        return {"retry-after": str(error.retry_after_s)}
    # The official SDKs try again on 409 and 5xx unless this header says not to.
    is_lasting = error.status == 409 or isinstance(error, LaneOff) or is_operators_problem(error)
    return {"x-should-retry": "false"} if is_lasting else {}


def is_operators_problem(error: KaixuError) -> bool:
    """Whether a vendor refuses the operator, not the client: its credential, its quota, its region."""
    return isinstance(error, UpstreamError) and error.reason in ("credential", "quota", "region")


def rate_headers(limit: int | None, remaining: int | None, reset_s: int) -> dict[str, str]:
    """The `x-ratelimit-*` headers; the reset is when the whole limit is free again, in seconds."""
    if limit is None:
        return {}
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining or 0),
        "x-ratelimit-reset-requests": f"{reset_s}s",
    }


def is_unstorable(raised: Exception) -> bool:
    """Whether the database refused a text for a NUL, or asyncpg for half of a surrogate pair.

    Bodies, paths and queries are checked before (`characters.py`, `paths.py`); this catches what those do not see.
    """
    if isinstance(raised, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return True
    return isinstance(raised, asyncpg.DataError) and isinstance(raised.__cause__, UnicodeEncodeError)


def monitor_kind(status: int) -> str:
    """The monitor's word for a refused or failed call."""
    if status == 429:
        return "rate_limited"
    return "blocked" if status in (401, 402, 403) else "error"


class BilledError(Exception):
    """A call that failed after a vendor had done work: the client's error, and what it owes all the same."""

    def __init__(self, error: KaixuError, money: dict[str, Any]) -> None:
        super().__init__(error.message)
        self.error = error
        self.money = money


class Failures:
    """Turns exceptions into replies, and records them in the monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.strangers = Throttle(per_address=MAX_RECORDED, in_all=10 * MAX_RECORDED, window_s=60)

    def reply(self, raised: Exception, request: IncomingRequest, shape: ErrorShape = native_error) -> Reply:
        """The reply to a request whose handling raised. An unexpected exception is logged, and not shown."""
        if isinstance(raised, Refusal):
            error = raised.error
            self.record(error, request, raised)
            headers = error_headers(error)
            if error.status == 429:
                headers |= rate_headers(raised.verdict.rate_limit, 0, error.retry_after_s or 0)
            return json_reply(*shape(refusal_body(raised, request.request_id), error.status), headers)
        if isinstance(raised, BilledError):
            error = raised.error
            self.record(error, request)
            body = envelope(error, request.request_id) | raised.money
            return json_reply(*shape(body, error.status), error_headers(error))
        if isinstance(raised, KaixuError):
            error = raised
        elif is_unstorable(raised):
            error = Invalid("a text holds a character that cannot be kept", hint="Leave NUL characters out.")
        else:
            log.error("request %s failed", request.request_id, exc_info=raised)
            error = KaixuError("something went wrong here", hint="Quote the request id to your operator.")
        self.record(error, request)
        return json_reply(*shape(envelope(error, request.request_id), error.status), error_headers(error))

    def record(self, error: KaixuError, request: IncomingRequest, refusal: Refusal | None = None) -> None:
        """Record a request that was refused or failed; of callers without a key, only so many a minute."""
        is_stranger = refusal is None or refusal.verdict.customer_id is None
        if isinstance(error, UpstreamError):
            is_stranger = False  # a call was admitted before a vendor could say no
        if is_stranger and error.status < 500 and self.strangers.wait_s(request.address) is not None:
            return
        self.monitor.record(
            MonitorEvent(
                kind="error" if isinstance(error, UpstreamError) else monitor_kind(error.status),
                level="error" if error.status >= 500 else "warn",
                request_id=request.request_id,
                function_name=request.path.rsplit("/", 1)[-1][:200],
                method=request.method,
                path=request.path[:500],
                user_agent=request.headers.get("user-agent", "")[:240],
                customer_id=refusal.verdict.customer_id if refusal else None,
                key_id=refusal.verdict.key_id if refusal else None,
                http_status=error.status,
                error_code=error.code,
                error_message=error.message[:4000],
                upstream_status=error.upstream_status if isinstance(error, UpstreamError) else None,
                extra=vendor_refusal(error),
            )
        )


def vendor_refusal(error: KaixuError) -> dict[str, Any]:
    """A vendor's own words when it refused, for the operator: bounded and without secrets."""
    if not isinstance(error, UpstreamError) or error.vendor_words is None:
        return {}
    return {"vendor": {"status": error.upstream_status, "reason": error.reason, "words": error.vendor_words}}


def failed_stream_event(error: KaixuError, ticket: Ticket) -> MonitorEvent:
    """The monitor event of a stream that failed after part of it was sent."""
    ask, verdict = ticket.ask, ticket.verdict
    return MonitorEvent(
        kind="error",
        level="error",
        request_id=ask.request_id,
        function_name="stream",
        method="POST",
        user_agent=ask.agent,
        customer_id=verdict.customer_id,
        key_id=verdict.key_id,
        provider=ask.provider,
        model=ask.model,
        http_status=error.status,
        error_code=error.code,
        error_message=error.message[:4000],
        upstream_status=error.upstream_status if isinstance(error, UpstreamError) else None,
        extra=vendor_refusal(error),
    )
