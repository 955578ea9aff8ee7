"""A deployment and a settled ticket, without a gateway."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast

from kaixu.catalog.catalog import Deployment, LaneState
from kaixu.config.sections import LaneSection, TimeoutSection
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.metering.identity import new_ticket
from kaixu.plugin.lane import Lane
from kaixu.store.admission import Settlement


class Plain(Lane):
    """A lane that speaks nobody's protocol."""


class Native(Lane):
    """A lane that speaks OpenAI's."""

    native = "openai.chat"


def deployment(*, native: bool = False) -> Deployment:
    """A model behind a lane that does, or does not, speak OpenAI's protocol."""
    lane = Native() if native else Plain()
    section = LaneSection.model_validate({"plugin": "p", "models": {"m": {"type": "chat"}}})
    state = LaneState("lane", section, "on", None, lane)
    return Deployment(
        "lane", "m", "chat", "upstream", lane, state, None, None, 8192, 1024, None, None, False, "cancel",
        TimeoutSection(), 0,
    )  # fmt: skip


def ticket(finish: str = "stop", end_reason: str | None = None) -> ChatTicket:
    """A call that has been settled: 3 tokens in, 4 out."""
    number = new_ticket()
    settled = Settlement(
        number, 1, 1, 1, date(2026, 1, 1), "ai", "chat", "lane", "m", 1, None, "r", datetime.now(UTC), 5,
        end_reason or "complete", "provider", 12_345, 0, 3, 4, 0, 0, 0, None,
    )  # fmt: skip
    made: Any = SimpleNamespace(
        id=number,
        settlement=settled,
        deployment=deployment(),
        lowered=False,
        served=None,
        tried=[],
        from_cache=False,
        request=None,
        finish_reason=finish,
        stop_sequence=None,
        end_reason=end_reason,
        ask=SimpleNamespace(request_id="r"),
    )
    return cast(ChatTicket, made)
