"""What the bill of an integration's operation says: units, who counted them, and that its vendor cost is unknown."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

from kaixu.metering.charges import Meter
from kaixu.metering.integration_wire import IntegrationWire
from kaixu.metering.operation_call import OperationCall, limits_for
from kaixu.metering.operation_ticket import OperationTicket
from kaixu.plugin.access import Caller
from kaixu.plugin.operation import Charge, PerCall, PerUnit
from kaixu.plugin.origins import Hosts
from kaixu.store.admission import Verdict
from tests.store.test_money_properties import make_ask
from tests.support.blobs import no_blobs


def ticket_for(charge: Charge, price_nusd: int, *, key_id: int = 1) -> OperationTicket:
    """An admitted call of an operation."""
    meter = Meter(charge, price_nusd)
    meter.count("calls", 1)
    request = make_ask(key_id, meter.most_nusd)
    verdict = Verdict(
        request.ticket, None, None, None, meter.most_nusd, 1, key_id, key_id, "last", date(2026, 11, 1), 60, 59, 10**12,
        0, 0, None, 0, 0,
    )  # fmt: skip
    return OperationTicket(request, verdict, wire_of(meter), meter)


def wire_of(meter: Meter) -> IntegrationWire:
    """A wire without connections."""
    return IntegrationWire(cast(Any, None), cast(Any, None), limits_for(1), None, hosts=Hosts((), None), meter=meter)


def call_of(ticket: OperationTicket) -> OperationCall:
    """The call as its handler sees it."""
    assert isinstance(ticket.wire, IntegrationWire)
    return OperationCall(
        body=None, options=None, customer_id=1, key_id=1, request_id="r", caller=Caller("key"), wire=ticket.wire,
        meter=ticket.meter, open_transaction=cast(Any, None), customer_data=cast(Any, None), scratch=Path("never-made"),
        blobs=no_blobs(ticket.wire),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("charge", "unit", "source", "cost_nusd"),
    [
        (PerCall("message"), "page", "counted", 5),
        (PerUnit("pages", unit="page", most=10), "page", "plugin", 15),
        (PerUnit("pages", unit="page", most=10), "line", "counted", 0),
        (PerUnit("calls", unit="calls", most=10), "page", "counted", 5),
    ],
    ids=["by the call", "units of the plugin", "other units of the plugin", "units of the core"],
)
def test_the_usage_source_is_who_counted_the_units(charge: Charge, unit: str, source: str, cost_nusd: int) -> None:
    ticket = ticket_for(charge, 5)
    call_of(ticket).count(unit, 3)
    bill = ticket.bill("complete")
    assert (bill.usage_source, bill.cost_nusd) == (source, cost_nusd)
    assert (bill.vendor_cost_nusd, bill.vendor_cost_known) == (0, False)
    assert bill.units == {"calls": 1, unit: 3}
