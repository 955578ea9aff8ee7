"""What the tickets of chats and of embeddings share: a model's deployments, their tries, and the vendor's usage."""

from __future__ import annotations

from collections import Counter
from typing import Any

from kaixu.catalog.catalog import Deployment
from kaixu.config.plans_section import MILLION
from kaixu.config.price import factor_text
from kaixu.ops.call_facts import Try
from kaixu.plugin.types import Usage
from kaixu.store.admission import Ask, Verdict

from .ceiling import Ceiling
from .pricing import cost_nusd
from .reported_usage import clamped_usage, without_impossible
from .ticket import Ticket
from .wasted import Wasted
from .wire import TicketWire

#: Large embedding calls make many tries, one per batch; the usage event lists this many of them.
MOST_TRIES_LISTED = 20


class ModelTicket(Ticket):
    """A call of a model, billed by tokens."""

    __slots__ = ("choices", "most_input_tokens", "price", "served", "tried", "usage", "wasted")

    deployment: Deployment

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
        super().__init__(ask, verdict, wire, deployment)
        self.price = ceiling.price
        self.choices = choices  # the model's deployments that can serve the call
        self.most_input_tokens = ceiling.input_tokens  # the bound that the reservation counts with
        self.served: Deployment | None = None  # the deployment that answered
        self.tried: list[Try] = []
        ask.facts.tries = self.tried
        self.usage: Usage | None = None
        self.wasted = Wasted()  # what vendors have done in tries without a result

    @property
    def vendor_may_have_worked(self) -> bool:
        """Whether a vendor took what was sent, or reported usage."""
        return self.wire.used or self.usage is not None or self.wasted.failed.tries > 0

    @property
    def answered(self) -> bool:
        """Whether any of an answer came."""
        return self.usage is not None

    @property
    def event_units(self) -> dict[str, Any] | None:
        """What the call counted besides tokens, and how it was routed."""
        if not self.tried:
            return self.units
        return (self.units or {}) | {"call": self.course}

    @property
    def course(self) -> dict[str, Any]:
        """How the call was routed: which deployment served it, after which tries."""
        course: dict[str, Any] = {"tries": len(self.tried)}
        if self.deployment.factor_millionths != MILLION:
            course["price_factor"] = factor_text(self.deployment.factor_millionths)
        if self.served is not None:
            course["deployment"] = self.served.name
        keys = Counter(one.key for one in self.tried if one.key is not None)
        if keys:
            course["keys"] = dict(keys)  # of a lane with several: how many of the answers each has served
        if len(self.tried) > 1 or any(one.error for one in self.tried):
            course["tried"] = [
                {"deployment": one.deployment, "at_ms": one.at_ms, "took_ms": one.took_ms, "error": one.error}
                for one in self.tried[:MOST_TRIES_LISTED]
            ]
        return course

    def vendor_cost_nusd(self, usage: Usage) -> int:
        """What the vendor that served the call charges for `usage`, at the operator's figures."""
        one = self.served or self.deployment
        return 0 if one.cost is None else cost_nusd(usage, one.cost)

    def plausible_usage(self, usage: Usage) -> Usage:
        """A vendor's usage report without impossible figures."""
        return without_impossible(clamped_usage(usage), self.most_input_tokens)
