"""Operations without a ticket, which cost nothing: for operators, for everybody, and for customers who pay."""

from __future__ import annotations

import msgspec

from kaixu.catalog.catalog import IntegrationState
from kaixu.plugin.access import Caller
from kaixu.plugin.encoded_reply import EncodedReply, encode_reply
from kaixu.plugin.operation import Free, Operation
from kaixu.plugin.replies import Events

from .call_access import CallAccess
from .call_blobs import UploadBody
from .callbacks import CallbackOwner, CallbackStart
from .charges import Meter
from .gate import Gate
from .integrations import blobs_for, customer_data_for, reach_of, wire_for
from .operation_call import OperationCall, handler_limits, transactions_for
from .submitter import Submitter


async def run_keyless(
    gate: Gate,
    integration: IntegrationState,
    what: Operation,
    body: msgspec.Struct,
    caller: Caller,
    customer_id: int | None,
    request_id: str,
    upload: UploadBody | None = None,
    key_id: int | None = None,
) -> EncodedReply:
    """What the handler answers. Its exceptions become `KaixuError`s. It cannot answer with a stream.

    Without `key_id`, that of the customer who calls, jobs that it submits have no customer, so they must be free.
    """
    assert isinstance(what.charge, Free)
    meter = Meter(what.charge, 0)
    wire = wire_for(gate, integration, what, meter, request_id)
    wire.private_texts = lambda: (msgspec.json.encode(body).decode(),)
    actor = "admin" if caller.kind == "operator" else None  # the audit log names the operator
    start = CallbackStart(
        integration,
        CallbackOwner(customer_id, key_id, caller),
        pool=lambda: gate.databases.pool,
        sealer=gate.sealer,
        public_url=gate.public_url,
    )
    call = OperationCall(
        body=body,
        options=integration.options,
        customer_id=customer_id,
        key_id=key_id,
        request_id=request_id,
        caller=caller,
        wire=wire,
        meter=meter,
        scratch=gate.scratch,
        access=CallAccess(gate, integration, customer_id, wire, request_id),
        customer_data=customer_data_for(gate, integration, customer_id, wire, request_id, actor),
        blobs=blobs_for(gate, integration, customer_id, wire),
        upload=upload,
        start=start,
        open_transaction=transactions_for(
            gate.databases,
            reach_of(gate, integration, wire.lent_secrets, actor),
            integration,
            Submitter(request_id) if key_id is None else Submitter(request_id, customer_id, key_id),
            what,
            about=customer_id,
            blobs_of=customer_id,
        ),
    )
    try:
        async with handler_limits(call, what.name, what.timeout_s):
            reply = encode_reply(await what.handler(call))
            if start.cookie is not None:
                reply = msgspec.structs.replace(reply, cookie=start.cookie)
            if isinstance(reply.body, Events):
                raise TypeError("only an operation that takes a key can answer with a stream of events")
            return reply
    finally:
        wire.close()
