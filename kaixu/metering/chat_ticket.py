"""The ticket of a chat call: counts what was delivered, and computes its cost for every way the call can end."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Any

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)
from kaixu.store.admission import Ask, Verdict

from .ceiling import Ceiling
from .counting import counted_input_tokens
from .left_early import has_finish_reason, may_reason, most_tokens_in, most_usage_when_left
from .model_ticket import ModelTicket
from .pricing import cost_nusd
from .prompt_words import prompt_texts
from .reported_usage import MOST_CHARACTERS_A_TOKEN, Delivered, complete_usage, figures_in, lacks_a_figure
from .ticket import BilledUsage
from .wire import TicketWire

#: The most characters that tokens have on average in ordinary text. Applied to streams that also have more pieces than
#: they may have tokens.
USUAL_CHARACTERS_A_TOKEN = 12


class ChatTicket(ModelTicket):
    """One admitted chat call."""

    __slots__ = (
        "asked_plain",
        "budget_tokens",
        "cache_control",
        "counted_tokens",
        "delivered_bytes",
        "delivered_length",
        "delivered_other",
        "delivered_pieces",
        "finish_reason",
        "first_event_s",
        "from_cache",
        "lowered",
        "native_finish",
        "request",
        "shown_length",
        "stop_sequence",
    )

    def __init__(
        self,
        ask: Ask,
        verdict: Verdict,
        wire: TicketWire,
        ceiling: Ceiling,
        *,
        deployment: Deployment,
        choices: tuple[Deployment, ...],
        request: ChatRequest,
        lowered: bool = False,
        cache_control: str = "",
    ) -> None:
        super().__init__(ask, verdict, wire, ceiling, deployment=deployment, choices=choices)
        self.request = request
        wire.private_texts = partial(prompt_texts, request)
        self.lowered = lowered  # max_tokens was lowered to what caps and token limits have left
        self.cache_control = cache_control
        self.from_cache = False
        self.asked_plain = False  # the vendor answers in one piece: until then all that it makes is hidden
        self.budget_tokens = request.max_tokens * request.n
        self.delivered_bytes = 0
        self.delivered_length = 0  # characters
        self.delivered_other = 0  # characters that are not ASCII
        self.delivered_pieces = 0
        self.shown_length = 0  # characters that are not reasoning
        self.counted_tokens = 0  # delivered tokens that the last usage includes
        self.finish_reason: str | None = None
        self.stop_sequence: str | None = None
        self.native_finish = False  # the vendor's own event had a finish reason; the lane's `Finish` comes later
        self.first_event_s: float | None = None

    @property
    def vendor_may_have_worked(self) -> bool:
        """Whether a vendor may have worked for the call; for a cached answer none has."""
        return not self.from_cache and super().vendor_may_have_worked

    @property
    def answered(self) -> bool:
        """Whether any of an answer came."""
        return self.usage is not None or self.first_event_s is not None or self.served is not None

    @property
    def event_units(self) -> dict[str, Any] | None:
        """What the call counted besides tokens, and how it was routed."""
        if self.from_cache:
            return (self.units or {}) | {"call": self.course}
        return super().event_units

    @property
    def course(self) -> dict[str, Any]:
        """How the call was routed, and when its answer began."""
        course = super().course
        if self.from_cache:
            course["cache"] = "hit"
        if self.first_event_s is not None:
            course["first_ms"] = int(self.first_event_s * 1000)
            course["deltas"] = self.delivered_pieces
        if self.request.allowed:
            course["allowed"] = list(self.request.allowed)
        return course

    def answer_from_cache(self, price_id: int) -> None:
        """The answer is a cached one, and is billed at the model's price for cached answers."""
        self.from_cache = True
        self.price, self.price_id = self.deployment.cached_price, price_id

    def count_event(self, event: ChatEvent) -> None:
        """Count an event of the lane. The last usage wins; text is counted in case none comes.

        Raises `UnicodeEncodeError` for half a surrogate pair, which could not be sent on.
        """
        if type(event) is ChatDelta:  # nearly all of a stream
            text = event.text
        elif type(event) is NativeEvent:  # the vendor's own form; the same follows in the contract's
            self.native_finish = self.native_finish or has_finish_reason(event.data)
            return
        elif isinstance(event, ChatDelta | ReasoningDelta):
            text = event.text
        elif isinstance(event, ToolCallDelta):
            text = event.arguments + (event.name or "")
        elif isinstance(event, Usage):
            if self.usage is None or any(figures_in(event)):  # a later one without a figure says nothing
                self.usage = self.plausible_usage(event)
                self.counted_tokens = self.delivered_tokens if self.usage.output_tokens else 0
            return
        elif isinstance(event, Finish):
            self.finish_reason, self.stop_sequence = event.reason, event.stop_sequence
            return
        else:
            self.native_finish = self.native_finish or has_finish_reason(event.data)
            return
        length = len(text)
        if not text.isascii():
            self.delivered_bytes += len(text.encode()) - length
            self.delivered_other += sum(character > "\x7f" for character in text)
        if self.first_event_s is None:
            self.first_event_s = monotonic() - self.started
        self.delivered_bytes += length
        self.delivered_length += length
        if type(event) is not ReasoningDelta:
            self.shown_length += length
        self.delivered_pieces += 1

    @property
    def delivered_tokens(self) -> int:
        """About how many tokens were delivered, counted as `estimated_tokens` counts."""
        return self.delivered_other - (self.delivered_other - self.delivered_length) // 4

    @property
    def delivered(self) -> Delivered:
        """What was delivered."""
        return Delivered(self.delivered_tokens, self.delivered_length, self.shown_length)

    @property
    def over_budget(self) -> bool:
        """Whether what was delivered has surely reached what was reserved."""
        most = USUAL_CHARACTERS_A_TOKEN if self.delivered_pieces > self.budget_tokens else MOST_CHARACTERS_A_TOKEN
        if self.delivered_length > self.budget_tokens * most:
            return True
        usage = self.usage
        return (
            usage is not None
            and usage.output_tokens > self.budget_tokens
            and cost_nusd(usage, self.price) >= self.granted_nusd
        )

    @property
    def has_ended(self) -> bool:
        """Whether the vendor has given a finish reason, in the contract's form or in its own."""
        return self.finish_reason is not None or self.native_finish or self.wire.has_finished

    def billed_usage(self, end_reason: str) -> BilledUsage:
        """The vendor's usage, even above the hold.

        Where it did not come, or lacks a figure (see `lacks_a_figure`), the text is counted, and the count is never
        charged above the hold.
        """
        usage = self.usage
        if end_reason == "client_gone" and not self._usage_is_whole():
            usage = self._most_used()
            return BilledUsage(usage, "estimated", min(cost_nusd(usage, self.price), self.granted_nusd))
        if usage is not None and not usage.estimated and not self._misses_output(usage, end_reason):
            cost = cost_nusd(usage, self.price)
            if end_reason == "budget_cut":  # the gateway ended it: what came after the budget is the operator's loss
                cost = min(cost, self.granted_nusd)
            return BilledUsage(usage, "provider", cost)
        usage = self._counted(end_reason)
        return BilledUsage(usage, "counted", min(cost_nusd(usage, self.price), self.granted_nusd))

    def vendor_cost_nusd(self, usage: Usage) -> int:
        """What the vendor charges the operator for `usage`; nothing for a cached answer."""
        return 0 if self.from_cache else super().vendor_cost_nusd(usage)

    def _usage_is_whole(self) -> bool:
        """Whether the vendor has reported the usage of an answer that it had ended."""
        usage = self.usage
        if usage is None or usage.estimated or not usage.input_tokens or not self.has_ended:
            return False
        if self.delivered_tokens > self.counted_tokens:
            return False  # output came after it
        return self.delivered_bytes == 0 or not lacks_a_figure(usage, self.delivered)

    def _misses_output(self, usage: Usage, end_reason: str) -> bool:
        """Whether reported usage lacks a figure, or misses output that came after it."""
        if lacks_a_figure(usage, self.delivered):
            return True
        # The figures of a complete answer are of all of it, whenever they came.
        return end_reason != "complete" and self.delivered_tokens > self.counted_tokens

    def _most_used(self) -> Usage:
        """The bound of what was used, for a client that left before the vendor reported it."""
        one = self.served or (self.choices[0] if self.choices else self.deployment)
        is_hidden = may_reason(one, self.request) or (self.asked_plain and self.first_event_s is None)
        hidden = most_tokens_in(monotonic() - self.wire.opened_at, one) * self.request.n if is_hidden else 0
        return most_usage_when_left(
            self.usage,
            most_input_tokens=self.most_input_tokens,
            delivered_bytes=self.delivered_bytes,
            hidden_tokens=hidden,
            most_output_tokens=self.budget_tokens,
        )

    def _counted(self, end_reason: str) -> Usage:
        """The vendor's usage, completed by the gateway's own count of what was delivered since."""
        since = 0 if end_reason == "complete" else self.delivered_tokens - self.counted_tokens
        inputs = partial(counted_input_tokens, self.request, self.deployment)
        return complete_usage(self.usage or Usage(), inputs, self.delivered, since, self.budget_tokens)
