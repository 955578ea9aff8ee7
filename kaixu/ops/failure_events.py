"""Monitor events of calls that were refused or have failed, with all that is known about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from .call_facts import CallFacts
from .events import MonitorEvent
from .request_end import RequestEnd

#: Functions that belong to no customer.
OPERATORS = ("admin-", "monitor-", "health", "gateway-heartbeat", "client-error-report", "metrics")


def failure_event(end: RequestEnd) -> MonitorEvent:
    """The event of a request that has failed."""
    extra: dict[str, Any] = {"began_at": (end.ended_at - timedelta(milliseconds=end.duration_ms)).isoformat()}
    if end.is_client_gone:
        extra["client_gone"] = True
    return call_event(
        end.facts,
        level="error" if status_of(end.facts) >= 500 else "warn",
        extra=extra,
        is_unbilled_call=not end.facts.has_usage_event and not is_operators(end),
        **request_fields(end),
    )


def slow_event(end: RequestEnd) -> MonitorEvent:
    """The event of a request that succeeded, and took long."""
    facts = end.facts
    return MonitorEvent(
        kind="slow",
        level="warn",
        customer_id=facts.customer_id,
        key_id=facts.key_id,
        provider=facts.provider,
        model=facts.model,
        deployment=facts.deployment,
        app_id=facts.app_id,
        build_id=facts.build_id,
        http_status=end.status,
        error_message=f"{end.duration_ms:,} ms",
        upstream_status=facts.upstream_status,
        extra={} if facts.trace is None else {"traceparent": facts.trace.traceparent},
        **request_fields(end),
    )


def is_operators(end: RequestEnd) -> bool:
    """Whether the request is none of a customer's."""
    return end.function.startswith(OPERATORS)


def request_fields(end: RequestEnd) -> dict[str, Any]:
    """What every event of a request says about the request, cut to the columns' sizes."""
    return {
        "request_id": end.request_id,
        "function_name": end.function[:200],
        "method": end.method,
        "path": end.path,
        "origin": cut(end.origin, 500),
        "referer": cut(None if end.referer is None else without_query(end.referer), 800),
        "user_agent": cut(end.user_agent, 800),
        "ip_hash": end.ip_hash,
        "duration_ms": end.duration_ms,
        "request_bytes": end.request_bytes,
        "response_bytes": end.response_bytes,
    }


def cut(value: str | None, most: int) -> str | None:
    """At most the first `most` characters."""
    return None if value is None else value[:most]


def job_failure_event(
    facts: CallFacts, *, request_id: str, kind: str, job_id: UUID, attempt: int, is_final: bool
) -> MonitorEvent:
    """The event of a job's attempt that has failed. `is_final`: there is no further attempt."""
    return call_event(
        facts,
        level="error" if is_final else "warn",
        extra={"job": str(job_id), "attempt": attempt, "is_final": is_final},
        request_id=request_id,
        function_name=f"job:{kind}"[:200],
        is_unbilled_call=is_final and not facts.has_usage_event,
    )


def late_failure_event(facts: CallFacts, *, request_id: str, function: str) -> MonitorEvent:
    """The event of a call that has failed after its client had disconnected, while its answer was read to the end."""
    return call_event(
        facts,
        level="error",
        extra={"client_gone": True},
        request_id=request_id,
        function_name=function[:200],
        is_unbilled_call=not facts.has_usage_event,
    )


def background_failure_event(facts: CallFacts, *, request_id: str, function: str) -> MonitorEvent:
    """The event of a call that the gateway makes in the background; it is made again."""
    return call_event(facts, level="warn", extra={}, request_id=request_id, function_name=function)


def call_event(
    facts: CallFacts, *, level: Literal["warn", "error"], extra: dict[str, Any], **fields: Any
) -> MonitorEvent:
    """An event with the facts of a call. `extra` gets what has no column: times, the vendor's words, the tries."""
    if facts.trace is not None:
        extra["traceparent"] = facts.trace.traceparent
    if facts.ticket is not None:
        extra["ticket"] = str(facts.ticket)
    if facts.admitted_at is not None:
        extra["admitted_at"] = facts.admitted_at.isoformat()
    return MonitorEvent(
        kind=kind_of(facts),
        level=level,
        customer_id=facts.customer_id,
        key_id=facts.key_id,
        provider=facts.provider,
        model=facts.model,
        deployment=facts.deployment,
        http_status=facts.error_status,
        error_code=facts.error_code,
        error_message=(facts.error_message or "")[:4000],
        upstream_status=facts.upstream_status,
        upstream_body=cut(facts.upstream_words, 2000),
        app_id=facts.app_id,
        build_id=facts.build_id,
        extra={"failed_at": datetime.now(UTC).isoformat()} | extra | failure_details(facts),
        **fields,
    )


def without_query(address: str) -> str:
    """An address without its query and fragment, which may hold secrets."""
    return address.partition("#")[0].partition("?")[0]


def status_of(facts: CallFacts) -> int:
    """The status that belongs to the error."""
    return facts.error_status or 500


def kind_of(facts: CallFacts) -> str:
    """The event's kind. What a vendor refuses is an error here, whatever its status."""
    status = status_of(facts)
    if facts.is_upstream_error:
        return "error"
    if status == 429:
        return "rate_limited"
    return "blocked" if status in (401, 402, 403) else "error"


def failure_details(facts: CallFacts) -> dict[str, Any]:
    """The vendor's own words, cut and without secrets, and the tries."""
    details: dict[str, Any] = {}
    if facts.upstream_words is not None:
        details["vendor"] = {
            "status": facts.upstream_status,
            "reason": facts.upstream_reason,
            "words": facts.upstream_words,
        }
    if tries := facts.failed_tries():
        details["tried"] = tries
    return details
