"""Authenticate requests about collections: customers, and operators on their behalf."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.accounts.fields import identifier
from kaixu.accounts.keys import key_for_operator
from kaixu.edge.authenticate import read_caller
from kaixu.edge.operators import is_operator
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Invalid


class CollectionCaller(msgspec.Struct, frozen=True):
    """The caller, and whether it is an operator on behalf of the customer."""

    caller: Caller
    is_operator: bool


async def read_collection_caller(services: Services, request: IncomingRequest, customer_id: Any) -> CollectionCaller:
    """The caller of a request. An operator names a customer, and uses its oldest active key with that key's limits.

    Raises `Unauthenticated`, `Invalid`, `NotFound`, `Conflict`.
    """
    if not is_operator(services, request.headers):
        return CollectionCaller(read_caller(request, services.secrets), is_operator=False)
    if customer_id in (None, ""):
        raise Invalid("`customer_id` is missing", hint="Operators must name the customer.", field="customer_id")
    key = await key_for_operator(services.pool, identifier(customer_id, "customer_id"))
    headers = request.headers
    install_id = (headers.get("x-kaixu-install-id") or headers.get("x-install-id") or "").strip()[:80] or None
    return CollectionCaller(
        Caller(None, None, key.id, install_id, None, request.request_id, facts=request.facts), is_operator=True
    )
