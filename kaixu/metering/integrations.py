"""The operations, jobs and schedules of integrations: their admission, and the call of their handlers."""

from __future__ import annotations

from math import ceil
from time import monotonic

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.plugin.operation import Free, Job, Operation, Schedule
from kaixu.store.admission import Verdict

from .admission import Admission
from .charges import Meter
from .gate import Caller, Gate
from .operation_call import OperationCall, ReportProgress, handler_limits, limits_for, meter_for, transactions_for
from .operation_ticket import OperationTicket
from .price_keys import operation_key
from .wire import TicketWire


def admit_operation(
    gate: Gate, caller: Caller, integration: IntegrationState, what: Operation | Job, body_bytes: int
) -> Admission[OperationTicket]:
    """Admission of an integration's operation, or of one of its jobs. See `run_operation`.

    Raises `Overloaded`, `Stopping`, `TooLarge`.
    """
    meter = meter_for(integration, what, body_bytes)
    ask = gate.ask(
        caller,
        f"job:{what.name}" if isinstance(what, Job) else what.name,
        provider=integration.name,
        requested_provider=integration.name,
        model=what.name,
        price_id=gate.price_ids.get(
            operation_key(integration.name, what.name, what.charge, integration.prices_nusd), 0
        ),
        most_nusd=meter.most_nusd,
        least_nusd=meter.most_nusd,
        role="viewer" if isinstance(what, Job) else what.role,
        book=meter.book,
    )

    def make_ticket(verdict: Verdict) -> OperationTicket:
        return OperationTicket(ask, verdict, gate.wire(ask, limits_for(what.timeout_s)), meter)

    return gate.admission(ask, make_ticket)


async def run_operation(
    gate: Gate,
    ticket: OperationTicket,
    integration: IntegrationState,
    what: Operation | Job,
    body: msgspec.Struct,
    progress: ReportProgress | None = None,
) -> bytes:
    """What the handler of an admitted operation returns, as JSON. Its exceptions become `KaixuError`s."""
    call = OperationCall(
        body=body,
        options=integration.options,
        customer_id=ticket.verdict.customer_id,
        key_id=ticket.verdict.key_id,
        request_id=ticket.ask.request_id,
        wire=ticket.wire,
        meter=ticket.meter,
        open_transaction=transactions_for(gate.databases, gate.sealer, integration, ticket),
        progress=progress,
    )
    ticket.wire.private_texts = lambda: (msgspec.json.encode(body).decode(),)
    began = monotonic()
    async with handler_limits(what.name, what.timeout_s):
        result = msgspec.json.encode(await what.handler(call))
    ticket.meter.count("bytes_out", len(result))
    ticket.meter.count("seconds", ceil(monotonic() - began))
    return result


async def run_unbilled(
    gate: Gate,
    integration: IntegrationState,
    what: Job | Schedule,
    payload: msgspec.Struct | None,
    request_id: str,
    progress: ReportProgress | None = None,
) -> bytes:
    """Run a schedule, or a free job that a schedule has submitted: no customer, nothing billed. Returns the result.

    Raises `KaixuError`.
    """
    charge = Free(what.why_free) if isinstance(what, Schedule) else what.charge
    assert isinstance(charge, Free)
    wire = TicketWire(gate.transport, limits_for(what.timeout_s), request_id)
    call = OperationCall(
        body=payload,
        options=integration.options,
        customer_id=None,
        key_id=None,
        request_id=request_id,
        wire=wire,
        meter=Meter(charge, 0),
        open_transaction=transactions_for(gate.databases, gate.sealer, integration, None, request_id),
        progress=progress,
    )
    try:
        async with handler_limits(what.name, what.timeout_s):
            result = await what.handler(call)
            return b"null" if isinstance(what, Schedule) else msgspec.json.encode(result)
    finally:
        wire.close()
