"""`admin-customers`: list, create, change, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaixu.accounts.customer_deletion import Deletion, Preview, delete_customer, preview_deletion
from kaixu.accounts.customer_list import customer_page
from kaixu.accounts.customers import Customer
from kaixu.accounts.fields import bounded, identifier, require_known, switch
from kaixu.accounts.integration_secrets import held_as
from kaixu.accounts.operator_identity import CUSTOMERS
from kaixu.accounts.shared_fields import change_customer, create_customer, shared_fields
from kaixu.api.admin.replies import customer_reply, listed_customer_reply
from kaixu.config.price import nusd_of_cents, usd
from kaixu.edge.fields import read_stored_fields
from kaixu.edge.operators import ACTOR, operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.daily_spend import MOST_CUSTOMERS, MOST_DAYS, daily_spend
from kaixu.reports.values import instant

DELETING = ("customer_id", "confirm", "dry_run")

#: What a customer has, as a preview of its deletion lists it.
COUNTED = (
    "keys",
    "devices",
    "collections",
    "documents",
    "jobs",
    "files",
    "monitor_events",
    "usage_events",
    "invoices",
    "in_flight",
    "unended_jobs",
)


def customer_routes(services: Services) -> list[Route]:
    """The routes of customers."""

    async def list_all(request: IncomingRequest) -> Reply:
        days = bounded(request.args.get("sparkline"), "sparkline", MOST_DAYS, least=2)
        page = await customer_page(services.reports, request.args)
        more = await fields_of_integrations(services, [row.id for row in page.customers])
        customers = [listed_customer_reply(row, more[row.id]) for row in page.customers]
        if days is not None:
            if len(customers) > MOST_CUSTOMERS:
                raise Unprocessable(f"`sparkline` is for at most {MOST_CUSTOMERS} customers", field="limit")
            spent = await daily_spend(services.reports, [row["id"] for row in customers], days)
            customers = [row | {"daily_spent_usd": [usd(one) for one in spent[row["id"]]]} for row in customers]
        return json_reply({"customers": customers, "next_cursor": page.next_cursor})

    async def shown(customer: Customer) -> dict[str, Any]:
        shared = await shared_fields(services.pool, [customer.id], services.catalog.declared)
        return customer_reply(customer, shared[customer.id])

    async def create(request: IncomingRequest) -> Reply:
        customer = await create_customer(
            services.pool,
            read_stored_fields(request).value,
            integrations=services.catalog.declared,
            default_cap_nusd=nusd_of_cents(services.settings.default_customer_cap_cents),
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"customer": await shown(customer)})

    async def change(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request).value
        customer_id = identifier(request.args.get("customer_id") or body.get("customer_id"), "customer_id")
        customer = await change_customer(
            services.pool,
            customer_id,
            body,
            integrations=services.catalog.declared,
            actor=ACTOR,
            request_id=request.request_id,
        )
        return json_reply({"ok": True, "customer": await shown(customer)})

    async def delete(request: IncomingRequest) -> Reply:
        body = read_stored_fields(request, may_be_empty=True)
        require_known(body.value, DELETING)
        customer_id = identifier(request.args.get("customer_id") or body.get("customer_id"), "customer_id")
        if switch(request.args.get("dry_run") or body.get("dry_run"), "dry_run"):
            return json_reply(preview_reply(await preview_deletion(services.pool, customer_id)))
        done = await delete_customer(
            services.pool, customer_id, confirm=body.get("confirm"), actor=ACTOR, request_id=request.request_id
        )
        return json_reply({"ok": True, **deletion_reply(done)})

    return [
        operator_route(services, "GET", "admin-customers", list_all),
        operator_route(services, "POST", "admin-customers", create, access=CUSTOMERS),
        operator_route(services, "PATCH", "admin-customers", change, access=CUSTOMERS),
        operator_route(services, "DELETE", "admin-customers", delete, access=CUSTOMERS),
    ]


async def fields_of_integrations(services: Services, customer_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """For each customer, the fields of the list that integrations fill."""
    declared = services.catalog.declared
    held = await held_as(services.reports, customer_ids, declared)
    shared = await shared_fields(services.reports, customer_ids, declared)
    return {one: held[one] | shared[one] for one in customer_ids}


def preview_reply(preview: Preview) -> dict[str, Any]:
    """What a deletion would do."""
    counts = {name: getattr(preview.owned, name) for name in COUNTED}
    return {
        "ok": True,
        "dry_run": True,
        "customer_id": preview.customer_id,
        "email": preview.email,
        **counts,
        "unbilled_usd": usd(preview.unbilled_nusd),
    }


def deletion_reply(done: Deletion) -> dict[str, Any]:
    """A deletion: rows that were removed or stripped, by table."""
    return {
        "customer_id": done.customer_id,
        "removed": done.removed,
        "began_at": instant(done.began_at),
        "finished_at": instant(done.finished_at),
    }
