"""`admin-customers`: list, create, change."""

from __future__ import annotations

from kaixu.accounts.customers import change_customer, create_customer, list_customers
from kaixu.accounts.fields import identifier
from kaixu.api.admin.replies import customer_reply, listed_customer_reply
from kaixu.config.price import nusd_of_cents
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .paging import read_page

MAX_LISTED = 1000


def customer_routes(services: Services) -> list[Route]:
    """The routes of customers."""

    async def list_all(request: IncomingRequest) -> Reply:
        page = read_page(request, MAX_LISTED)
        rows = await list_customers(services.reports, limit=page.limit, before_id=page.before_id)
        return json_reply({"customers": [listed_customer_reply(row) for row in rows]})

    async def create(request: IncomingRequest) -> Reply:
        customer = await create_customer(
            services.pool,
            read_stored_fields(request).value,
            default_cap_nusd=nusd_of_cents(services.settings.default_customer_cap_cents),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"customer": customer_reply(customer)})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        customer_id = identifier(request.args.get("customer_id") or body.get("customer_id"), "customer_id")
        customer = await change_customer(services.pool, customer_id, body, actor=ACTOR, request_id=request.request_id)
        return json_reply({"ok": True, "customer": customer_reply(customer)})

    return [
        operator_route(services, "GET", "admin-customers", list_all),
        operator_route(services, "POST", "admin-customers", create),
        operator_route(services, "PATCH", "admin-customers", change),
    ]
