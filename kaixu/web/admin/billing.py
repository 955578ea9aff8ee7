"""The tab of billing and controls: a customer's policy, top-ups, alerts, invoices and billing details."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Awaitable, Callable, Mapping

from kaixu.accounts.operator_identity import CUSTOMERS, MONEY
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Form, Link, Notice, Page, Part, Prose
from kaixu.web.failures import failure_notice
from kaixu.web.form_data import shown_again
from kaixu.web.navigation import TABS
from kaixu.web.panels.cards import core_tab_cards
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .billing_alerts import alert_cards, webhook_page
from .billing_details import change_details, details_card
from .billing_end_users import cap_end_user, end_user_card
from .billing_invoices import invoice_card
from .billing_limits import limits_card
from .billing_policy import change_policy, policy_card
from .billing_topups import add_top_up, checkout_card, top_up_card
from .choose_customer import choose_customer

TAB = TABS["billing"]
CLOSE = "/gateway/billing/close"
CODES = "/gateway/billing/codes"

#: Forms that were refused, by the name of what they do: they are shown again with what was wrong.
Refused = Mapping[str, ApiFailure | Unprocessable]

#: What was done, by the word in the address.
DONE = {
    "policy": "The policy is saved; it holds from the next call on.",
    "unchanged": "Nothing was changed.",
    "topup": "The top-up is booked.",
    "repeated": "This top-up was booked before; it counts once.",
    "details": "The billing details are saved.",
    "end_user": "The cap of the end user is saved.",
    "webhook_removed": "The customer has no webhook any more.",
}


def billing_pages(site: Site) -> list[Route]:
    """The route of the tab."""
    return site.operator_page(TAB.path, billing, tab=TAB, posts=True)


async def billing(visit: Visit) -> Page | Reply:
    """The page; a form on it is sent to the same address, with what it does in `do`."""
    if visit.customer is None:
        return await nobody(visit)
    if not visit.is_post:
        return await customer_page(visit, {})
    do = visit.form.get("do")
    try:
        if do == "webhook":
            return await webhook_page(visit)
        change = CHANGES.get(do)
        if change is None:
            raise Unprocessable("this form is not known", hint="Open the page again.")
        done = await change(visit)
    except (ApiFailure, Unprocessable) as problem:
        return await customer_page(visit, {do: problem})
    return visit.redirect(TAB.path, customer_id=visit.customer_id, done=done)


#: What a form does, by `do`: makes the change and returns the word for it.
CHANGES: dict[str, Callable[[Visit], Awaitable[str]]] = {
    "policy": change_policy,
    "topup": add_top_up,
    "details": change_details,
    "end_user": cap_end_user,
}


async def customer_page(visit: Visit, refused: Refused) -> Page:
    """The page of the selected customer."""
    assert visit.customer is not None
    usage, listed = await gather(
        visit.api.get("admin-usage", customer_id=visit.customer_id, limit=1), visit.api.get("admin-plans")
    )
    plans = listed["plans"]
    may_change, may_bill = visit.may(CUSTOMERS), visit.may(MONEY)

    def again(do: str, form: Form) -> Form:
        return shown_again(form, visit.form, refused[do]) if do in refused else form

    limits, top_ups, details, invoices, alerts, checkout = await gather(
        limits_card(visit, plans),
        top_up_card(visit, usage, again, may_bill=may_bill),
        details_card(visit, again, may_bill=may_bill),
        invoice_card(visit, usage["month"]),
        alert_cards(visit, again, may_change=may_change),
        checkout_card(visit),
    )
    cards: list[Part] = [
        *change_notices(visit, refused),
        limits,
        top_ups,
        policy_card(visit, plans, again, may_change=may_change),
        details,
        invoices,
        *alerts,
        end_user_card(visit, usage, again, may_change=may_change),
        checkout,
        *await core_tab_cards(visit, "billing"),
    ]
    problems = [problem.status for problem in refused.values()]
    return Page(
        title=TAB.title,
        subtitle=f"{visit.customer['email']} · plan {visit.customer['plan_name']}",
        parts=cards,
        actions=everywhere(),
        status=problems[0] if problems else 200,
    )


def change_notices(visit: Visit, refused: Refused) -> list[Part]:
    """What the last change did; or what was wrong with a form that is not on the page."""
    known = {*CHANGES, "webhook"}
    lost = [failure_notice(one) for do, one in refused.items() if do not in known]
    text = DONE.get(visit.query.get("done", "")) if not refused else None
    return [*lost, *([Notice("good", text)] if text else [])]


def everywhere() -> list[Link]:
    """What concerns all customers."""
    return [Link("Month close", CLOSE), Link("Redemption codes", CODES)]


async def nobody(visit: Visit) -> Page:
    """The page without a customer."""
    close = Prose(
        paragraphs=["Which invoices of a month are issued, which can be, and what the others wait for."],
        links=[Link("Month close", CLOSE)],
    )
    codes = Prose(
        paragraphs=["Codes that customers redeem for credit: for a conference, a trial, an apology."],
        links=[Link("Redemption codes", CODES)],
    )
    choose = await choose_customer(
        visit, "Its plan, caps, allowlists, top-ups, alerts and invoices are here.", also_off=True
    )
    lost = [Notice("bad", "There is no such customer.")] if visit.query.get("customer_id") else []
    return Page(
        title=TAB.title,
        parts=[*lost, choose, Card("The month of everybody", [close], width=6),
               Card("Codes", [codes], width=6), *await core_tab_cards(visit, "billing", needs_customer=False)],
    )  # fmt: skip
