"""Who may use a customer's collections: its keys and sessions, and an operator in the customer's name."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.accounts.fields import identifier
from kaixu.accounts.keys import key_in_charge
from kaixu.edge.authenticate import caller_of, insist_on_credential
from kaixu.edge.exchange import Credential
from kaixu.edge.operators import is_operator
from kaixu.edge.request import Headers, IncomingRequest
from kaixu.edge.services import Services
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import Invalid


class CollectionCaller(msgspec.Struct, frozen=True):
    """The caller, and whether an operator acts in its customer's name."""

    caller: Caller
    is_operator: bool


def key_or_operator(services: Services) -> Credential:
    """What these doors ask for before they read a body."""

    def insist(headers: Headers) -> None:
        if not is_operator(services, headers):
            insist_on_credential(headers, services.secrets)

    return insist


async def read_collection_caller(services: Services, asked: IncomingRequest, customer_id: Any) -> CollectionCaller:
    """Who asks. An operator names a customer, and its oldest living key stands for it, with all its limits.

    Raises `Unauthenticated`, `Invalid`, `NotFound`, `Conflict`.
    """
    if not is_operator(services, asked.headers):
        return CollectionCaller(caller_of(asked, services.secrets), is_operator=False)
    if customer_id in (None, ""):
        raise Invalid("`customer_id` is missing", hint="An operator says whose collections.", field="customer_id")
    key = await key_in_charge(services.pool, identifier(customer_id, "customer_id"))
    headers = asked.headers
    install_id = (headers.get("x-kaixu-install-id") or headers.get("x-install-id") or "").strip()[:80] or None
    return CollectionCaller(Caller(None, None, key.id, install_id, None, asked.request_id), is_operator=True)
