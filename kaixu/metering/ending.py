"""How each call is settled, by its end: who pays for the vendor's work.

The rules are a table in docs/operators/money.md. In short: the customer pays for what was delivered, and for what was
not delivered because of the client. Nothing else is billed. The usage event always has what the call cost the operator.
"""

from __future__ import annotations

import asyncio

import msgspec

from kaixu.plugin.errors import KaixuError, UpstreamError
from kaixu.plugin.types import Usage
from kaixu.store.admission import Settlement

from .chat_ticket import ChatTicket
from .embed_ticket import EmbedTicket
from .model_ticket import ModelTicket
from .operation_ticket import OperationTicket
from .pricing import cost_nusd
from .ticket import Ticket
from .wasted import FailedTries, total_usage

#: A vendor has worked for the call, and its answer could not be delivered or stored.
UNDELIVERED = "undelivered"


def settlement_of(ticket: Ticket, error: BaseException | None) -> Settlement:
    """The settlement of a call that ended with `error`, or without one."""
    reason = end_reason_of(ticket, error)
    if reason == UNDELIVERED:
        return undelivered_settlement(ticket, error)
    bill = ticket.bill(reason)
    if not isinstance(ticket, ModelTicket):
        return bill
    failed, cancelled = ticket.wasted.failed, ticket.wasted.cancelled
    if cancelled.tries and reason != "client_gone":  # there the bill itself counts what was cancelled
        failed = failed.plus(cancelled)
    return with_failed_tries(bill, failed)


def unwritten_settlement(ticket: Ticket, error: BaseException) -> Settlement:
    """The settlement of a call whose result could not be written together with its settlement."""
    return undelivered_settlement(ticket, error) if ticket.vendor_may_have_worked else ticket.bill("released")


def end_reason_of(ticket: Ticket, error: BaseException | None) -> str:
    """The end reason of a call that ended with `error`. "released": no vendor has worked for it, there is no event."""
    if error is None:
        return ticket.end_reason or "complete"
    nothing = UNDELIVERED if ticket.vendor_may_have_worked else "released"
    if ticket.waived:
        return nothing
    delivered = isinstance(ticket, ChatTicket) and ticket.first_event_s is not None
    if isinstance(ticket, OperationTicket):
        delivered = ticket.has_delivered
    if isinstance(ticket, EmbedTicket) and isinstance(error, UpstreamError) and ticket.usage is not None:
        return "upstream_error"  # the client gets none of the batches, but the vendor has done some
    is_cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit)
    if is_cancelled and ticket.stopped_by_gateway and not ticket.client_left:
        # The gateway cancelled it: only what a stream has delivered is billed.
        return "upstream_error" if ticket.end_reason == "upstream_error" else nothing
    if is_billed_failure(ticket):
        return "client_gone" if is_cancelled else "upstream_error"
    if is_cancelled:
        # The vendor may have worked on what was sent, with or without an answer.
        return "client_gone" if delivered or ticket.wire.used else nothing
    if ticket.end_reason in (None, "released"):
        return nothing
    return ticket.end_reason


def is_billed_failure(ticket: Ticket) -> bool:
    """Whether a failed operation is billed for what it has counted: as its plugin says, if a vendor may have worked."""
    return isinstance(ticket, OperationTicket) and ticket.bills_failures and ticket.vendor_may_have_worked


def caused_by_client(ticket: Ticket, error: BaseException | None) -> bool:
    """Whether nothing was delivered because of the client: it deleted, filled or changed what the call was about.

    An integration's operation that fails is billed only as its `on_failure` says.
    """
    if ticket.waived or isinstance(ticket, OperationTicket) or not isinstance(error, KaixuError):
        return False
    return 400 <= error.status < 500 and not isinstance(error, UpstreamError)


def undelivered_settlement(ticket: Ticket, error: BaseException | None) -> Settlement:
    """Work that was not delivered: billed where the client is the reason, else noted as `unbilled_nusd`."""
    own = own_bill(ticket)
    units = dict(own.units or {}) | {"undelivered": code_of(ticket, error)}
    own = msgspec.structs.replace(own, end_reason=UNDELIVERED, units=units)
    if not isinstance(ticket, ModelTicket):
        return unbilled(own, own.cost_nusd)
    failed = ticket.wasted.failed.plus(ticket.wasted.cancelled)
    if caused_by_client(ticket, error):
        return with_failed_tries(own, failed)
    total = total_usage(usage_in(own), failed.usage)
    estimated = own.usage_source == "counted" or failed.usage.estimated
    return unbilled(
        msgspec.structs.replace(
            own,
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            cached_input_tokens=total.cached_input_tokens,
            cache_write_tokens=total.cache_write_tokens,
            reasoning_tokens=total.reasoning_tokens,
            usage_source="counted" if estimated else "provider",
            vendor_cost_nusd=own.vendor_cost_nusd + failed.vendor_cost_nusd,
        ),
        cost_nusd(total, ticket.price),
    )


def own_bill(ticket: Ticket) -> Settlement:
    """The bill of the answer that came, without failed tries; zero where none came."""
    if isinstance(ticket, ModelTicket) and not ticket.answered:
        # A released bill says `estimated`; zero tokens are exact here.
        return msgspec.structs.replace(ticket.bill("released"), usage_source="provider")
    return ticket.bill("upstream_error")


def unbilled(bill: Settlement, nusd: int) -> Settlement:
    """The same settlement with cost 0; what it would have cost is noted in its units."""
    return msgspec.structs.replace(bill, cost_nusd=0, units=dict(bill.units or {}) | {"unbilled_nusd": nusd})


def with_failed_tries(bill: Settlement, failed: FailedTries) -> Settlement:
    """The same settlement, plus what failed tries cost the operator."""
    if not failed.tries or bill.end_reason == "released":
        return bill
    units = dict(bill.units or {})
    units["call"] = dict(units.get("call") or {}) | {
        "failed": {
            "tries": failed.tries,
            "input_tokens": failed.usage.input_tokens,
            "output_tokens": failed.usage.output_tokens,
            "estimated": failed.usage.estimated,
        }
    }
    return msgspec.structs.replace(bill, vendor_cost_nusd=bill.vendor_cost_nusd + failed.vendor_cost_nusd, units=units)


def usage_in(bill: Settlement) -> Usage:
    """The token counts of a settlement."""
    return Usage(
        bill.input_tokens,
        bill.output_tokens,
        bill.cached_input_tokens,
        bill.cache_write_tokens,
        bill.reasoning_tokens,
    )


def code_of(ticket: Ticket, error: BaseException | None) -> str:
    """The code of the reason why nothing was delivered."""
    if ticket.waived:
        return "RUNS_AGAIN"
    if isinstance(error, KaixuError):
        return error.code
    return "INTERNAL" if isinstance(error, Exception) else "CANCELLED"
