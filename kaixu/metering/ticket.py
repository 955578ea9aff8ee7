"""A ticket: the right to make one call, and the duty to settle it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import Price
from kaixu.plugin.types import ChatDelta, ChatEvent, ChatRequest, Finish, ReasoningDelta, ToolCallDelta, Usage
from kaixu.store.admission import Ask, Hold, Settlement, Verdict
from kaixu.store.query import Connection

from .charges import Meter
from .counting import counted_input_tokens, estimated_embed_tokens, most_input_tokens
from .left_early import reasons, tokens_in, used_when_left
from .month import Figures, figures_of
from .pricing import cost_nusd
from .reported_usage import MOST_CHARACTERS_A_TOKEN, Delivered, believable, completed, figures_in, is_untold
from .routing import Try
from .wasted import Wasted
from .wire import TicketWire

Alongside = Callable[[Connection], Awaitable[None]]

#: What tokens carry at most on average where they are not such runs; told of a stream that also has more pieces than
#: it may have tokens.
USUAL_CHARACTERS_A_TOKEN = 12

#: Large embedding calls make many tries, one a batch; so many of them are told.
MOST_TRIES_TOLD = 20


class Ticket:
    """What one admitted call has used so far, how it ended, and the wire it is lent."""

    __slots__ = (
        "admitted_at",
        "alongside",
        "ask",
        "budget_tokens",
        "cache_control",
        "choices",
        "counted_tokens",
        "delivered_bytes",
        "delivered_length",
        "delivered_other",
        "delivered_pieces",
        "deployment",
        "end_reason",
        "figures",
        "finish_reason",
        "first_event_s",
        "from_cache",
        "lowered",
        "meter",
        "native_finish",
        "price",
        "price_id",
        "request",
        "served",
        "settlement",
        "shown_length",
        "started",
        "stop_sequence",
        "stopped",
        "tried",
        "unanswered_tokens",
        "units",
        "usage",
        "verdict",
        "waived",
        "wasted",
        "wire",
    )

    def __init__(
        self,
        ask: Ask,
        verdict: Verdict,
        wire: TicketWire,
        price: Price,
        *,
        deployment: Deployment | None,
        request: ChatRequest | None,
        lowered: bool,
        choices: tuple[Deployment, ...] = (),
        cache_control: str = "",
        meter: Meter | None = None,
    ) -> None:
        self.ask = ask
        self.verdict = verdict
        self.wire = wire
        self.price = price
        self.deployment = deployment
        self.request = request
        self.choices = choices  # those of the model's deployments that may serve it
        self.served: Deployment | None = None  # the one that did
        self.tried: list[Try] = []
        self.cache_control = cache_control
        self.meter = meter  # of an integration's operation, which is not billed by tokens
        self.wasted = Wasted()  # what vendors have done in tries that came to nothing
        self.from_cache = False
        self.stopped = False  # the gateway leaves, and ends the call before its answer is complete
        self.waived = False  # a call that is broken off to be made again: what it has used is not billed
        self.price_id = ask.price_id
        self.lowered = lowered
        self.alongside: Alongside | None = None  # what the call made, written in one transaction with its bill
        self.usage: Usage | None = None
        self.delivered_bytes = 0
        self.delivered_length = 0  # characters, and how many of them are not ASCII
        self.delivered_other = 0
        self.delivered_pieces = 0
        self.shown_length = 0  # characters that are not reasoning
        self.counted_tokens = 0  # how much of what was delivered the last usage has counted
        self.budget_tokens = 0 if request is None else request.max_tokens * request.n
        self.finish_reason: str | None = None
        self.stop_sequence: str | None = None
        self.native_finish = False  # the vendor's own event said why it stopped; lanes tell it when all has come
        self.end_reason: str | None = None
        self.unanswered_tokens = 0  # of embedding inputs that the vendor has and has not answered
        self.units: dict[str, Any] | None = None
        self.admitted_at = datetime.now(UTC)
        self.started = monotonic()
        self.first_event_s: float | None = None
        self.figures: Figures = figures_of(verdict)
        self.settlement: Settlement | None = None

    @property
    def id(self) -> UUID:
        """The ticket's id: the idempotency key of its settlement."""
        return self.ask.ticket

    def kept(self, price_id: int) -> None:
        """The answer was kept from an earlier call, and is billed at the price of such."""
        assert self.deployment is not None
        self.from_cache = True
        self.price, self.price_id = self.deployment.cached_price, price_id

    @property
    def granted_nusd(self) -> int:
        """What was reserved."""
        return self.verdict.granted_nusd or 0

    def saw(self, event: ChatEvent) -> None:
        """Take note of what the lane yielded: the last usage wins, text is counted in case none comes.

        Raises `UnicodeEncodeError` for half a surrogate pair, which could not be sent on.
        """
        if isinstance(event, ChatDelta | ReasoningDelta):
            text = event.text
        elif isinstance(event, ToolCallDelta):
            text = event.arguments + (event.name or "")
        elif isinstance(event, Usage):
            if self.usage is None or any(figures_in(event)):  # a later one without a figure says nothing
                self.usage = believable(event)
                self.counted_tokens = self.delivered_tokens if self.usage.output_tokens else 0
            return
        elif isinstance(event, Finish):
            self.finish_reason, self.stop_sequence = event.reason, event.stop_sequence
            return
        else:  # as the vendor said it; the same follows in the contract's words
            self.native_finish = self.native_finish or says_why_it_stopped(event.data)
            return
        if not text.isascii():
            self.delivered_bytes += len(text.encode()) - len(text)
            self.delivered_other += sum(character > "\x7f" for character in text)
        if self.first_event_s is None:
            self.first_event_s = monotonic() - self.started
        self.delivered_bytes += len(text)
        self.delivered_length += len(text)
        if not isinstance(event, ReasoningDelta):
            self.shown_length += len(text)
        self.delivered_pieces += 1

    def embedding(self, inputs: Sequence[str | tuple[int, ...]]) -> Callable[[Usage], None]:
        """Inputs are on their way to the vendor; call what is returned with what they used.

        Until then they are counted, for a client that leaves before the vendor has said so.
        """
        tokens = estimated_embed_tokens(inputs)
        self.unanswered_tokens += tokens

        def done(used: Usage) -> None:
            self.unanswered_tokens -= tokens
            used, before = believable(used), self.usage or Usage()
            if not used.input_tokens:  # the vendor did not say, or only what all of it comes to
                used = Usage(used.total_tokens or tokens, estimated=not used.total_tokens)
            self.usage = Usage(
                before.input_tokens + used.input_tokens,
                before.output_tokens + used.output_tokens,
                before.cached_input_tokens + used.cached_input_tokens,
                before.cache_write_tokens + used.cache_write_tokens,
                before.reasoning_tokens + used.reasoning_tokens,
                before.estimated or used.estimated,
            )

        return done

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
            and self.request is not None
            and usage.output_tokens > self.budget_tokens
            and cost_nusd(usage, self.price) >= self.granted_nusd
        )

    def bill(self, end_reason: str) -> Settlement:
        """How this call is settled when it ends as `end_reason`.

        The vendor's usage is the truth, even above the hold. Where it did not come, or lacks a figure (see
        `is_untold`), the text is counted, and the count is never charged above the hold.
        """
        usage = self.usage
        cost: int
        if end_reason == "released":
            usage, source, cost = Usage(), "estimated", 0
        elif self.meter is not None:
            usage, source, cost = Usage(), "provider", min(self.meter.cost_nusd, self.granted_nusd)
        elif end_reason == "client_gone" and self.request is not None and not self._told_all():
            usage, source = self._most_used(self.request), "estimated"
            cost = min(cost_nusd(usage, self.price), self.granted_nusd)
        elif usage is not None and not usage.estimated and not self._ended_early(end_reason):
            source, cost = "provider", cost_nusd(usage, self.price)
            if end_reason == "budget_cut":  # we ended it, so what came after the budget is ours to bear
                cost = min(cost, self.granted_nusd)
        else:
            usage, source = self._counted(end_reason), "counted"
            cost = min(cost_nusd(usage, self.price), self.granted_nusd)
        verdict, ask = self.verdict, self.ask
        assert verdict.customer_id is not None
        assert verdict.key_id is not None
        assert verdict.chain_id is not None
        return Settlement(
            ticket=ask.ticket,
            customer_id=verdict.customer_id,
            key_id=verdict.key_id,
            chain_id=verdict.chain_id,
            month=verdict.month,
            book=ask.book,
            operation=ask.operation,
            provider=ask.provider,
            model=ask.model,
            price_id=self.price_id,
            install_id=ask.install_id,
            request_id=ask.request_id,
            admitted_at=self.admitted_at,
            duration_ms=int((monotonic() - self.started) * 1000),
            end_reason=end_reason,
            usage_source=source,
            cost_nusd=cost,
            vendor_cost_nusd=self._vendor_cost_nusd(usage),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            units=self.told,
        )

    def _vendor_cost_nusd(self, usage: Usage) -> int:
        """What the vendor that served takes for it, as far as the operator has said."""
        if self.from_cache:
            return 0
        one = self.served or self.deployment
        return 0 if one is None or one.cost is None else cost_nusd(usage, one.cost)

    @property
    def told(self) -> dict[str, Any] | None:
        """What the usage event says besides tokens: what the operation counted, and how the call went."""
        if self.meter is not None:
            return dict(self.meter.units)
        if not self.tried and not self.from_cache:
            return self.units
        return (self.units or {}) | {"call": self.course}

    @property
    def course(self) -> dict[str, Any]:
        """Which deployment served, after how many tries, and when it began."""
        course: dict[str, Any] = {"tries": len(self.tried)}
        if self.from_cache:
            course["cache"] = "hit"
        if self.served is not None:
            course["deployment"] = self.served.name
        if self.first_event_s is not None:
            course["first_ms"] = int(self.first_event_s * 1000)
            course["deltas"] = self.delivered_pieces
        if self.request is not None and self.request.allowed:
            course["allowed"] = list(self.request.allowed)
        keys = Counter(one.key for one in self.tried if one.key is not None)
        if keys:
            course["keys"] = dict(keys)  # of a lane with several: how many of the answers each has served
        if len(self.tried) > 1 or any(one.error for one in self.tried):
            course["tried"] = [
                {"deployment": one.deployment, "at_ms": one.at_ms, "took_ms": one.took_ms, "error": one.error}
                for one in self.tried[:MOST_TRIES_TOLD]
            ]
        return course

    def _told_all(self) -> bool:
        """Whether the vendor has told the usage of an answer that it had ended."""
        usage = self.usage
        if usage is None or usage.estimated or not self.has_ended:
            return False
        return self.delivered_bytes == 0 or not is_untold(usage, self.delivered)

    def _most_used(self, request: ChatRequest) -> Usage:
        """The bound of what was used, for a client that left before the vendor told."""
        one = self.served or (self.choices[0] if self.choices else self.deployment)
        assert one is not None
        hidden = tokens_in(monotonic() - self.wire.lent_at, one) if reasons(one, request) else 0
        return used_when_left(
            self.usage,
            most_input_tokens=max(most_input_tokens(request, choice) for choice in self.choices or (one,)),
            delivered_bytes=self.delivered_bytes,
            hidden_tokens=hidden,
            most_output_tokens=self.budget_tokens,
        )

    @property
    def has_ended(self) -> bool:
        """Whether the vendor has said why it stopped, in the contract's words or in its own."""
        return self.finish_reason is not None or self.native_finish

    def _ended_early(self, end_reason: str) -> bool:
        """Whether usage that came early misses what was made after it."""
        usage = self.usage
        assert usage is not None
        if end_reason == "complete":
            # The vendor's last word, unless it forgot what we have seen.
            return self.request is not None and is_untold(usage, self.delivered)
        if end_reason == "upstream_error" and self.request is None:
            return False  # batches that were given up are not paid for, only those that the vendor has answered
        if self.request is not None and is_untold(usage, self.delivered):
            return True
        return self.unanswered_tokens > 0 or self.delivered_tokens > self.counted_tokens

    def _counted(self, end_reason: str) -> Usage:
        """The usage as far as we can count it ourselves: the vendor's, and what was delivered since."""
        request, deployment, seen = self.request, self.deployment, self.usage
        if request is None or deployment is None:
            seen = seen or Usage()
            tokens = seen.input_tokens + self.unanswered_tokens
            return msgspec.structs.replace(seen, input_tokens=tokens, estimated=True)
        # The figures of an answer that is complete are of all of it, whenever they came.
        since = 0 if end_reason == "complete" else self.delivered_tokens - self.counted_tokens
        inputs = partial(counted_input_tokens, request, deployment)
        return completed(seen or Usage(), inputs, self.delivered, since, self.budget_tokens)

    def hold(self) -> Hold:
        """The reservation as it was granted, to put it back should the database forget it."""
        verdict, ask = self.verdict, self.ask
        assert verdict.customer_id is not None
        assert verdict.key_id is not None
        assert verdict.chain_id is not None
        return Hold(
            ask.ticket,
            verdict.customer_id,
            verdict.key_id,
            verdict.chain_id,
            verdict.month,
            ask.book,
            self.granted_nusd,
            ask.operation,
            ask.provider,
            ask.model,
            ask.price_id,
            ask.install_id,
            ask.request_id,
        )


def says_why_it_stopped(data: dict[str, Any]) -> bool:
    """Whether a vendor's own event has a finish reason: OpenAI's in a choice, Anthropic's in its `message_delta`."""
    choices = data.get("choices")
    if isinstance(choices, list):
        return any(isinstance(one, dict) and one.get("finish_reason") for one in choices)
    delta = data.get("delta")
    return isinstance(delta, dict) and bool(delta.get("stop_reason"))
