"""The operators' own customer for tries: on a plan whose price factor is 0, so that calls cost it nothing.

The price of a call comes from its customer's plan alone, and plans from kaixu.yaml: so a free customer is one with a
free plan, and its calls are admitted, metered and recorded, vendor cost included, like all others.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kaixu.edge.response import Reply
from kaixu.plugin.errors import Conflict
from kaixu.web.components import Button, Card, Page, Part, Prose, Snippet
from kaixu.web.navigation import TABS
from kaixu.web.visits import Visit

TEST_CUSTOMER = "/gateway/playground/test-customer"
EMAIL = "playground@gateway.invalid"
PIECE = """plans:
  test: {cap: 10.00, rpm: 30, price_factor: 0}
"""


async def free_plan(visit: Visit) -> str | None:
    """The name of a plan that costs its customers nothing; None: there is none."""
    plans: list[dict[str, Any]] = (await visit.api.get("admin-plans"))["plans"]
    free = (
        plan["name"]
        for plan in plans
        if plan["in_file"] and plan["settings"] and Decimal(plan["settings"]["price_factor"]) == 0
    )
    return next(free, None)


async def test_customer_card(visit: Visit) -> Card:
    """The card that offers it, or says what it needs."""
    plan = await free_plan(visit)
    if plan is None:
        parts: list[Part] = [
            Prose(
                paragraphs=[
                    "To try models without charging a customer, add a plan with the price factor 0 to kaixu.yaml and "
                    "reload. This page then offers a customer of its own for it. What the vendor charges you is "
                    "recorded as for every call; only the price is 0."
                ]
            ),
            Snippet(PIECE, title="kaixu.yaml", language="yaml"),
        ]
    else:
        parts = [
            Prose(
                paragraphs=[
                    f"A customer on the plan {plan}, whose price factor is 0: its calls cost nothing, and no invoice "
                    "has an amount for them. What the vendor charges you is recorded as for every call."
                ]
            ),
            Button("Use the test customer", TEST_CUSTOMER, icon="play", style="primary"),
        ]
    return Card("Or nobody pays", parts)


async def make_test_customer(visit: Visit) -> Page | Reply:
    """Find the customer, or create it with its key; then to the playground with it."""
    if not visit.is_post:
        return visit.redirect(TABS["playground"].path)
    plan = await free_plan(visit)
    if plan is None:
        raise Conflict("no plan of kaixu.yaml has the price factor 0", hint="Add one, and run `kaixu reload`.")
    found = (await visit.api.get("admin-customers", q=EMAIL, limit=10))["customers"]
    customer = next((one for one in found if one["email"] == EMAIL), None)
    if customer is None:
        body = {"email": EMAIL, "plan_name": plan}
        customer = (await visit.api.send("POST", "admin-customers", body))["customer"]
    elif customer["plan_name"] != plan or not customer["is_active"]:
        changed = {"customer_id": customer["id"], "plan_name": plan, "is_active": True}
        await visit.api.send("PATCH", "admin-customers", changed)
    keys = (await visit.api.get("admin-keys", customer_id=customer["id"], revoked=False, limit=1))["keys"]
    if not keys:
        body = {"customer_id": customer["id"], "label": "playground", "role": "owner"}
        await visit.api.send("POST", "admin-keys", body)  # the key itself is not needed, and not kept
    return visit.redirect(TABS["playground"].path, customer_id=customer["id"])
