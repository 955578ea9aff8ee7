"""Errors → the envelope `{error, code, hint?, request_id}`; anything unexpected → 500 without detail."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from quart import Quart, Response, g, request
from werkzeug.exceptions import HTTPException

from kaixu.metering.month import month_reply
from kaixu.metering.verdict import Refusal
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import KaixuError, MethodNotAllowed, NotFound, TooLarge

from .reply import reply

log = logging.getLogger(__name__)


def envelope(error: KaixuError) -> dict[str, Any]:
    """The body of an error's reply."""
    body: dict[str, Any] = {"error": error.message, "code": error.code, "request_id": g.request_id}
    if error.hint:
        body["hint"] = error.hint
    return body


def refusal_body(refusal: Refusal) -> dict[str, Any]:
    """The envelope, with what a refused client needs to see: whose cap, the month, the rate."""
    body = envelope(refusal.error)
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
    return {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}


def rate_headers(limit: int | None, remaining: int | None, reset_s: int) -> dict[str, str]:
    """The `x-ratelimit-*` headers; the reset is when the whole limit is free again, in seconds."""
    if limit is None:
        return {}
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining or 0),
        "x-ratelimit-reset-requests": f"{reset_s}s",
    }


def kind_of(status: int) -> str:
    """The monitor's word for a refused or failed call."""
    if status == 429:
        return "rate_limited"
    return "blocked" if status in (401, 402, 403) else "error"


def install(app: Quart, monitor: Monitor) -> None:
    """Handle every error of `app`."""

    def record(error: KaixuError, refusal: Refusal | None = None) -> None:
        monitor.record(
            MonitorEvent(
                kind=kind_of(error.status),
                level="error" if error.status >= 500 else "warn",
                request_id=g.request_id,
                function_name=request.path.rsplit("/", 1)[-1][:200],
                method=request.method,
                path=request.path[:500],
                user_agent=(request.headers.get("user-agent") or "")[:240],
                customer_id=refusal.verdict.customer_id if refusal else None,
                key_id=refusal.verdict.key_id if refusal else None,
                http_status=error.status,
                error_code=error.code,
                error_message=error.message[:4000],
            )
        )

    @app.errorhandler(Refusal)
    async def refused(refusal: Refusal) -> Response:
        error = refusal.error
        record(error, refusal)
        verdict = refusal.verdict
        headers = error_headers(error)
        if error.status == 429:
            headers |= rate_headers(verdict.rate_limit, 0, error.retry_after_s or 0)
        return reply(refusal_body(refusal), error.status, headers)

    @app.errorhandler(KaixuError)
    async def known(error: KaixuError) -> Response:
        record(error)
        return reply(envelope(error), error.status, error_headers(error))

    @app.errorhandler(HTTPException)
    async def of_http(error: HTTPException) -> Response:
        if error.code == 404:
            return reply(envelope(NotFound("there is nothing at this path")), 404)
        if error.code == 405:
            headers = {"allow": ", ".join(error.valid_methods or ())} if hasattr(error, "valid_methods") else {}
            return reply(envelope(MethodNotAllowed(f"{request.method} is not for this path")), 405, headers)
        if error.code == 413:
            return reply(envelope(TooLarge("the body is too large")), 413)
        status = error.code or 500
        made = KaixuError(error.name)
        made.code = "BAD_REQUEST" if status < 500 else "INTERNAL"
        return reply(envelope(made), status)

    @app.errorhandler(Exception)
    async def unexpected(error: Exception) -> Response:
        log.error("request %s failed", g.request_id, exc_info=error)
        made = KaixuError("something went wrong here", hint="Quote the request id to your operator.")
        record(made)
        return reply(envelope(made), 500)
