"""`admin-customers`: list, create, change."""

from __future__ import annotations

from kaixu.accounts.customer_list import customer_page
from kaixu.accounts.customers import change_customer, create_customer
from kaixu.accounts.fields import identifier
from kaixu.api.admin.replies import customer_reply, listed_customer_reply
from kaixu.config.price import nusd_of_cents
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services


def customer_routes(services: Services) -> list[Route]:
    """The routes of customers."""

    async def list_all(request: IncomingRequest) -> Reply:
        page = await customer_page(services.reports, request.args)
        customers = [listed_customer_reply(row) for row in page.customers]
        return json_reply({"customers": customers, "next_cursor": page.next_cursor})

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
