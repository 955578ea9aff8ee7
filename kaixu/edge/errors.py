"""Errors → the envelope `{error, code, hint, request_id}`; anything unexpected → 500 without detail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException

from kaixu.edge.month_reply import month_reply
from kaixu.metering.ticket import Ticket
from kaixu.metering.verdict import Refusal
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import Invalid, KaixuError, LaneOff, MethodNotAllowed, NotFound, TooLarge, UpstreamError

from .openai_errors import openai_error
from .request import IncomingRequest, incoming_of
from .response import Reply, json_reply
from .throttle import Throttle

log = logging.getLogger(__name__)

#: So many errors a minute of callers without a key are told to the monitor, from one address.
MOST_TOLD = 60

#: Turns an envelope and its status into what a door's clients expect.
Shape = Callable[[dict[str, Any], int], tuple[dict[str, Any], int]]


def envelope_as_it_is(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """The native shape: the envelope itself."""
    return body, status


def shape_at(path: str) -> Shape:
    """How errors look at a path that has no door."""
    return openai_error if path.startswith("/v1/") else envelope_as_it_is


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
    # The official SDKs try again on 409 and 5xx unless told not to; where nothing will change, they are told.
    lasting = error.status == 409 or isinstance(error, LaneOff) or is_operators(error)
    return {"x-should-retry": "false"} if lasting else {}


def is_operators(error: KaixuError) -> bool:
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

    Bodies, paths and queries are looked at before (`characters.py`, `paths.py`); this is for what they do not see.
    """
    if isinstance(raised, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return True
    return isinstance(raised, asyncpg.DataError) and isinstance(raised.__cause__, UnicodeEncodeError)


def kind_of(status: int) -> str:
    """The monitor's word for a refused or failed call."""
    if status == 429:
        return "rate_limited"
    return "blocked" if status in (401, 402, 403) else "error"


class Billed(Exception):
    """A call that failed after a vendor had worked for it: the client's error, and what is owed all the same."""

    def __init__(self, error: KaixuError, money: dict[str, Any]) -> None:
        super().__init__(error.message)
        self.error = error
        self.money = money


class Failures:
    """Turns what was raised into a reply, and tells the monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.strangers = Throttle(per_address=MOST_TOLD, in_all=10 * MOST_TOLD, window_s=60)

    def reply(self, raised: Exception, asked: IncomingRequest, shape: Shape = envelope_as_it_is) -> Reply:
        """The reply to a request that raised. What nobody foresaw is logged, and shown to nobody."""
        if isinstance(raised, HTTPException):
            return of_http(raised, asked, shape)
        if isinstance(raised, Refusal):
            error = raised.error
            self.record(error, asked, raised)
            headers = error_headers(error)
            if error.status == 429:
                headers |= rate_headers(raised.verdict.rate_limit, 0, error.retry_after_s or 0)
            return json_reply(*shape(refusal_body(raised, asked.request_id), error.status), headers)
        if isinstance(raised, Billed):
            error = raised.error
            self.record(error, asked)
            body = envelope(error, asked.request_id) | raised.money
            return json_reply(*shape(body, error.status), error_headers(error))
        if isinstance(raised, KaixuError):
            error = raised
        elif is_unstorable(raised):
            error = Invalid("a text holds a character that cannot be kept", hint="Leave NUL characters out.")
        else:
            log.error("request %s failed", asked.request_id, exc_info=raised)
            error = KaixuError("something went wrong here", hint="Quote the request id to your operator.")
        self.record(error, asked)
        return json_reply(*shape(envelope(error, asked.request_id), error.status), error_headers(error))

    def record(self, error: KaixuError, asked: IncomingRequest, refusal: Refusal | None = None) -> None:
        """Tell the monitor of a request that was refused or failed; of strangers' only so many a minute."""
        stranger = refusal is None or refusal.verdict.customer_id is None
        if isinstance(error, UpstreamError):
            stranger = False  # a call was admitted before a vendor could say no
        if stranger and error.status < 500 and self.strangers.wait_s(asked.address) is not None:
            return
        self.monitor.record(
            MonitorEvent(
                kind="error" if isinstance(error, UpstreamError) else kind_of(error.status),
                level="error" if error.status >= 500 else "warn",
                request_id=asked.request_id,
                function_name=asked.path.rsplit("/", 1)[-1][:200],
                method=asked.method,
                path=asked.path[:500],
                user_agent=asked.headers.get("user-agent", "")[:240],
                customer_id=refusal.verdict.customer_id if refusal else None,
                key_id=refusal.verdict.key_id if refusal else None,
                http_status=error.status,
                error_code=error.code,
                error_message=error.message[:4000],
                upstream_status=error.upstream_status if isinstance(error, UpstreamError) else None,
                extra=vendor_said(error),
            )
        )


def vendor_said(error: KaixuError) -> dict[str, Any]:
    """What a vendor said when it refused, for the operator: its own words, bounded and without secrets."""
    if not isinstance(error, UpstreamError) or error.vendor_words is None:
        return {}
    return {"vendor": {"status": error.upstream_status, "reason": error.reason, "words": error.vendor_words}}


def stream_failed(error: KaixuError, ticket: Ticket) -> MonitorEvent:
    """What the monitor is told of a stream that failed when part of it was out."""
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
        extra=vendor_said(error),
    )


def of_http(raised: HTTPException, asked: IncomingRequest, shape: Shape) -> Reply:
    """What Quart itself refuses, before any view."""
    headers = {}
    if raised.code == 404:
        error: KaixuError = NotFound("there is nothing at this path")
    elif raised.code == 405:
        error = MethodNotAllowed(f"{asked.method} is not for this path")
        if methods := getattr(raised, "valid_methods", None):
            headers["allow"] = ", ".join(methods)
    elif raised.code == 413:
        error = TooLarge("the body is too large")
    else:
        error = KaixuError(raised.name)
        error.status = raised.code or 500
        error.code = "BAD_REQUEST" if error.status < 500 else "INTERNAL"
    return json_reply(*shape(envelope(error, asked.request_id), error.status), headers)


def install(app: Quart, failures: Failures) -> None:
    """Handle every error of Quart's views."""

    @app.errorhandler(Exception)
    async def failed(raised: Exception) -> Response:
        made = failures.reply(raised, incoming_of(request, g.request_id), shape_at(request.path))
        return Response(made.body, status=made.status, headers=made.headers)
