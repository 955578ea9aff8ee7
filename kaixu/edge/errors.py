"""Turn exceptions into error replies `{error, code, hint, request_id}`; unexpected ones become 500 without detail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg

from kaixu.edge.month_reply import end_user_reply, month_reply
from kaixu.metering.verdict import Refusal
from kaixu.ops.clock import utc_now
from kaixu.plugin.errors import Invalid, KaixuError, LaneOff, NotConfigured, UpstreamError

from .request import IncomingRequest
from .response import Reply, json_reply

log = logging.getLogger(__name__)

#: The rate window: after this time without calls the whole limit is available.
WINDOW_S = 60

#: Converts an error body and its status to the format that a route's clients expect.
ErrorShape = Callable[[dict[str, Any], int], tuple[dict[str, Any], int]]


def native_error(body: dict[str, Any], status: int) -> tuple[dict[str, Any], int]:
    """The native format: the error body as it is."""
    return body, status


def envelope(error: KaixuError, request_id: str) -> dict[str, Any]:
    """The body of an error reply."""
    body: dict[str, Any] = {"error": error.message, "code": error.code, "request_id": request_id, **error.figures}
    if error.hint:
        body["hint"] = error.hint
    if error.field:
        body["field"] = error.field
    return body


def refusal_body(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """The body of a refusal: with whose cap was reached, the month's figures, or the rate limit."""
    body = envelope(refusal.error, request_id)
    if refusal.error.status == 402 and refusal.figures is not None:
        body["scope"] = refusal.verdict.scope
        body["month"] = month_reply(refusal.figures)
        if refusal.verdict.scope == "end_user":
            body["end_user"] = end_user_reply(refusal.verdict)
    if refusal.error.status == 429:
        free_at = utc_now() + timedelta(seconds=refusal.error.retry_after_s or 0)
        body["scope"] = refusal.verdict.scope
        body["ratelimit"] = {"remaining": 0, "reset": free_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    return body


def error_headers(error: KaixuError) -> dict[str, str]:
    """`retry-after`, if the error has a time (RFC 9110 §10.2.3), or whether SDKs should retry."""
    if error.retry_after_s is not None:
        return {"retry-after": str(error.retry_after_s)}
    # The official SDKs retry 409 and 5xx unless this header forbids it.
    is_lasting = error.status == 409 or isinstance(error, LaneOff | NotConfigured) or is_operators_problem(error)
    return {"x-should-retry": "false"} if is_lasting else {}


def is_operators_problem(error: KaixuError) -> bool:
    """Whether a vendor refuses the operator, not the client: its credential, its quota, its region."""
    return isinstance(error, UpstreamError) and error.reason in ("credential", "quota", "region")


def rate_headers(limit: int | None, remaining: int | None, reset_s: int) -> dict[str, str]:
    """The `x-ratelimit-*` headers; `reset_s`: seconds until the whole limit is available again."""
    if limit is None:
        return {}
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(remaining or 0),
        "x-ratelimit-reset-requests": f"{reset_s}s",
    }


def token_headers(limit: int | None, remaining: int | None, reset_s: int) -> dict[str, str]:
    """The same for tokens, of the tightest limit that the call has; none without one."""
    if limit is None:
        return {}
    return {
        "x-ratelimit-limit-tokens": str(limit),
        "x-ratelimit-remaining-tokens": str(remaining or 0),
        "x-ratelimit-reset-tokens": f"{reset_s}s",
    }


def is_unstorable(raised: Exception) -> bool:
    """Whether the database refused a text because of a NUL or an unpaired surrogate.

    Bodies, paths and queries are checked earlier (`characters.py`, `paths.py`); this is the last resort.
    """
    if isinstance(raised, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return True
    return isinstance(raised, asyncpg.DataError) and isinstance(raised.__cause__, UnicodeEncodeError)


def limit_headers(refusal: Refusal) -> dict[str, str]:
    """The rate headers of a refusal by a rate; SDKs shall not repeat a call that can never run."""
    verdict, retry_after_s = refusal.verdict, refusal.error.retry_after_s
    if verdict.bound_limit is None:
        return rate_headers(verdict.rate_limit, 0, retry_after_s or 0)
    if not (verdict.scope or "").endswith("tokens"):
        return rate_headers(verdict.bound_limit, 0, retry_after_s or 0)
    lasting = {"x-should-retry": "false"} if retry_after_s is None else {}
    requests = rate_headers(verdict.rate_limit, verdict.rate_remaining, WINDOW_S)
    reset_s = WINDOW_S if retry_after_s is None else retry_after_s
    return requests | token_headers(verdict.token_limit, verdict.token_room, reset_s) | lasting


class BilledError(Exception):
    """A call that failed but is billed, because a vendor had done work: the error and the bill's fields."""

    def __init__(self, error: KaixuError, money: dict[str, Any]) -> None:
        super().__init__(error.message)
        self.error = error
        self.money = money


class Failures:
    """Turns exceptions into error replies, and notes the errors for the record of the request's end."""

    def reply(self, raised: Exception, request: IncomingRequest, shape: ErrorShape = native_error) -> Reply:
        """The reply for an exception. Unexpected exceptions are logged and not shown to the client."""
        if isinstance(raised, Refusal):
            error = raised.error
            request.facts.failed(error)
            headers = error_headers(error)
            if error.status == 429:
                headers |= limit_headers(raised)
            return json_reply(*shape(refusal_body(raised, request.request_id), error.status), headers)
        if isinstance(raised, BilledError):
            error = raised.error
            request.facts.failed(error)
            body = envelope(error, request.request_id) | raised.money
            return json_reply(*shape(body, error.status), error_headers(error))
        if isinstance(raised, KaixuError):
            error = raised
        elif is_unstorable(raised):
            error = Invalid("a text contains a character that cannot be stored", hint="Remove NUL characters.")
        else:
            log.error("request %s failed", request.request_id, exc_info=raised)
            error = KaixuError("something went wrong here", hint="Quote the request id to your operator.")
        request.facts.failed(error)
        return json_reply(*shape(envelope(error, request.request_id), error.status), error_headers(error))
