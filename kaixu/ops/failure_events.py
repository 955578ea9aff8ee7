"""Monitor events of calls that were refused or have failed, with all that is known about them."""

from __future__ import annotations

from typing import Any

from .call_facts import CallFacts
from .events import MonitorEvent
from .request_end import RequestEnd


def failure_event(end: RequestEnd) -> MonitorEvent:
    """The event of a request that has failed."""
    facts = end.facts
    extra = failure_details(facts)
    if end.traceparent is not None:
        extra["traceparent"] = end.traceparent
    if end.is_client_gone:
        extra["client_gone"] = True
    return MonitorEvent(
        kind=kind_of(facts),
        level="error" if status_of(facts) >= 500 else "warn",
        request_id=end.request_id,
        function_name=end.function[:200],
        method=end.method,
        path=end.path[:500],
        user_agent=(end.user_agent or "")[:240],
        customer_id=facts.customer_id,
        key_id=facts.key_id,
        provider=facts.provider,
        model=facts.model,
        http_status=facts.error_status,
        duration_ms=end.duration_ms,
        error_code=facts.error_code,
        error_message=(facts.error_message or "")[:4000],
        upstream_status=facts.upstream_status,
        extra=extra,
    )


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
    """What the columns do not have: the vendor's own words, cut and without secrets, and the tries."""
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
