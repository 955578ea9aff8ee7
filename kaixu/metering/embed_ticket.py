"""The ticket of an embedding call: its batches, answered or still with the vendor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import Usage
from kaixu.store.admission import Ask, Verdict

from .ceiling import Ceiling
from .counting import estimated_embed_tokens
from .model_ticket import ModelTicket
from .pricing import cost_nusd
from .ticket import BilledUsage
from .wasted import total_usage
from .wire import TicketWire


class EmbedTicket(ModelTicket):
    """One admitted embedding call. `usage` adds up over its batches."""

    __slots__ = ("unanswered_tokens",)

    def __init__(
        self,
        ask: Ask,
        verdict: Verdict,
        wire: TicketWire,
        ceiling: Ceiling,
        *,
        deployment: Deployment,
        choices: tuple[Deployment, ...],
    ) -> None:
        super().__init__(ask, verdict, wire, ceiling, deployment=deployment, choices=choices)
        self.unanswered_tokens = 0  # of inputs that the vendor has and has not answered

    def send_batch(self, inputs: Sequence[str | tuple[int, ...]]) -> Callable[[Usage], None]:
        """Count a batch that goes to the vendor. Call the returned function with the usage that its answer reports.

        Until then the batch counts with an estimate, in case the client leaves.
        """
        tokens = estimated_embed_tokens(inputs)
        self.unanswered_tokens += tokens

        def record_usage(reported: Usage) -> None:
            self.unanswered_tokens -= tokens
            reported = self.plausible_usage(reported)
            if not reported.input_tokens:  # the vendor reported nothing, or only a total
                total = self.plausible_usage(Usage(reported.total_tokens)).input_tokens
                reported = Usage(total or tokens, estimated=not total)
            self.usage = total_usage(self.usage or Usage(), reported)

        return record_usage

    def billed_usage(self, end_reason: str) -> BilledUsage:
        """The vendor's usage; batches without an answer count with an estimate, which is never billed above the hold.

        Batches that were given up because another one failed are not billed.
        """
        usage = self.usage
        given_up = end_reason in ("complete", "upstream_error")
        if usage is not None and not usage.estimated and (given_up or self.unanswered_tokens == 0):
            return BilledUsage(usage, "provider", cost_nusd(usage, self.price))
        usage = usage or Usage()
        usage = msgspec.structs.replace(usage, input_tokens=usage.input_tokens + self.unanswered_tokens, estimated=True)
        return BilledUsage(usage, "counted", min(cost_nusd(usage, self.price), self.granted_nusd))
