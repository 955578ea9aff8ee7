"""A deployment and a settled ticket, without a gateway."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from kaixu.catalog.catalog import Deployment, LaneState
from kaixu.config.sections import LaneSection, TimeoutSection
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import Usage
from kaixu.store.admission import Settlement

NUMBER = UUID(int=7)
#: 10 in, of which 3 were read from the cache and 2 written to it; 4 out, of which 1 was thought.
SETTLED = Usage(10, 4, 3, 2, 1)
USAGE = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "output_tokens": 4,
    "output_tokens_details": {"thinking_tokens": 1},
}
BILL = {
    "provider": "lane", "model": "m", "cost_usd": "0.000012345", "usage_source": "provider", "end": "complete",
    "deployment": None, "tries": 0,
}  # fmt: skip


class Plain(Lane):
    """A lane that speaks nobody's protocol, and cannot be told how much to think."""


class Thinking(Lane):
    """A lane that speaks nobody's protocol, and can."""

    supports = frozenset({"reasoning"})


class Native(Lane):
    """A lane that speaks Anthropic's."""

    native = "anthropic.messages"


def deployment(lane: type[Lane] = Plain) -> Deployment:
    """A model behind a lane."""
    section = LaneSection.model_validate({"plugin": "p", "models": {"m": {"type": "chat"}}})
    opened = lane()
    state = LaneState("lane", section, "on", None, opened)
    return Deployment(
        "lane", "m", "chat", "upstream", opened, state, None, None, 8192, 1024, None, None, False, "cancel",
        TimeoutSection(), 0,
    )  # fmt: skip


def ticket(
    finish: str | None = "stop", *, stop_sequence: str | None = None, end_reason: str | None = None
) -> ChatTicket:
    """A call that has been settled."""
    settled = Settlement(
        NUMBER, 1, 1, 1, date(2026, 1, 1), "ai", "chat", "lane", "m", 1, None, "r", datetime.now(UTC), 5,
        end_reason or "complete", "provider", 12_345, 0, SETTLED.input_tokens, SETTLED.output_tokens,
        SETTLED.cached_input_tokens, SETTLED.cache_write_tokens, SETTLED.reasoning_tokens, None,
    )  # fmt: skip
    made: Any = SimpleNamespace(
        id=NUMBER,
        settlement=settled,
        deployment=deployment(),
        lowered=False,
        served=None,
        tried=[],
        from_cache=False,
        request=None,
        usage=None,
        finish_reason=finish,
        stop_sequence=stop_sequence,
        end_reason=end_reason,
        ask=SimpleNamespace(request_id="r"),
    )
    return cast(ChatTicket, made)
