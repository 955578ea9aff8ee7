"""Opens the answer of a chat call at one deployment: asks its lane, and waits for the first visible output."""

from __future__ import annotations

from time import monotonic

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import Usage

from .chat_ticket import ChatTicket
from .counting import counted_input_tokens
from .gate import Gate
from .lanes import translated
from .left_early import most_tokens_in
from .opening import Opened, wait_for_output, with_vendor_model
from .wasted import Attempt
from .wire import MeteredWire


class Opener:
    """Opens the answer of one call, for `try_deployments`. `plain`: it may be asked for in one piece."""

    __slots__ = ("gate", "plain", "ticket")

    def __init__(self, gate: Gate, ticket: ChatTicket, *, plain: bool = False) -> None:
        self.gate = gate
        self.ticket = ticket
        self.plain = plain

    async def __call__(self, one: Deployment, wire: MeteredWire) -> Opened:
        """The beginning of the answer of `one`. Raises a `KaixuError` for everything that a lane raises."""
        ticket, lane = self.ticket, one.lane
        assert lane is not None
        attempt, began = Attempt(), monotonic()
        try:
            asked = with_vendor_model(ticket.request, one)
            if self.plain and self.gate.plain_answers.can_ask(one, asked):
                ticket.asked_plain = True
                beginning = wait_for_output(lane.chat_plain(asked, wire), attempt)
                opened = await self.gate.plain_answers.begin(one, beginning, wire.note)
                if opened is not None:
                    return opened
            ticket.asked_plain = False
            return await wait_for_output(lane.chat(asked, wire), attempt)
        except Exception as raised:
            error = translated(ticket, one, raised)
            ticket.wasted.add_failed(one, attempt, wire.used, lambda: self.estimate(one, began))
            if error is raised:
                raise
            raise error from raised
        except BaseException:
            ticket.wasted.add_cancelled(one, attempt, wire.used, lambda: self.estimate(one, began))
            raise

    def estimate(self, one: Deployment, began: float) -> Usage:
        """What a try at `one` may have used whose vendor has reported nothing. `began`: when, by `monotonic`."""
        ticket, request, made = self.ticket, self.ticket.request, 0
        if ticket.asked_plain:  # nothing of the answer is seen before its end, and the vendor bills what it made
            made = min(most_tokens_in(monotonic() - began, one), request.max_tokens) * request.n
        return Usage(counted_input_tokens(request, one), made, estimated=True)
