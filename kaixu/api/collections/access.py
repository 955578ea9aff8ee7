"""Authenticate requests about collections: customers, and operators on their behalf."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.accounts.fields import identifier
from kaixu.accounts.keys import key_for_operator, requires_install_id
from kaixu.accounts.operator_identity import COLLECTIONS, READ
from kaixu.edge.authenticate import read_caller
from kaixu.edge.operators import identify, looks_like_operator, not_an_operator
from kaixu.edge.request import IncomingRequest
from kaixu.edge.services import Services
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Invalid

#: The device of operators, who have none: it takes a seat only where the customer or the key requires an install id.
OPERATOR_DEVICE = "operator"


class CollectionCaller(msgspec.Struct, frozen=True):
    """The caller, and whether it is an operator on behalf of the customer."""

    caller: Caller
    is_operator: bool


async def read_collection_caller(services: Services, request: IncomingRequest, customer_id: Any) -> CollectionCaller:
    """The caller of a request. An operator names a customer, and uses its oldest active key with that key's limits.

    Raises `Unauthenticated`, `Forbidden`, `Invalid`, `NotFound`, `Conflict`.
    """
    if not looks_like_operator(services, request.headers):
        return CollectionCaller(read_caller(request, services.secrets), is_operator=False)
    identity = await identify(services, request)
    if identity is None:
        raise not_an_operator()
    identity.require(READ if request.method == "GET" else COLLECTIONS)
    if customer_id in (None, ""):
        raise Invalid("`customer_id` is missing", hint="Operators must name the customer.", field="customer_id")
    key = await key_for_operator(services.pool, identifier(customer_id, "customer_id"))
    headers = request.headers
    install_id = (headers.get("x-kaixu-install-id") or headers.get("x-install-id") or "").strip()[:80] or None
    if install_id is None and await requires_install_id(services.pool, key):
        install_id = OPERATOR_DEVICE
    return CollectionCaller(
        Caller(None, None, key.id, install_id, None, request.request_id, facts=request.facts), is_operator=True
    )
