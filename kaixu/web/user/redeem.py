"""More budget: a redemption code, or the operator."""

from __future__ import annotations

from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import Card, Field, Form, Link, Page, Part, Prose
from kaixu.web.form_data import shown_again
from kaixu.web.navigation import DASHBOARD, TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .scope import sees_account

REDEEM = "/gateway/dashboard/redeem"

#: Codes are shorter; blanks and dashes do not count.
MOST_LENGTH = 80


def redeem_pages(site: Site) -> list[Route]:
    """The routes of the form."""
    return site.customer_page(REDEEM, redeem, tab=TABS["budget"], posts=True)


def redeem_form() -> Form:
    """One field: the code."""
    return Form(
        action=REDEEM,
        submit="Redeem",
        style="plain",
        id="redeem",
        fields=[
            Field(name="code", label="Code", required=True, maxlength=MOST_LENGTH, placeholder="KX-…",
                  hint="Capitals, blanks and dashes do not matter.")
        ],
    )  # fmt: skip


def redeem_card(visit: Visit, form: Form | None = None) -> Card:
    """How to get more budget this month."""
    told = "Ask your operator to top up the account or to raise a cap: both count at once, for the running month."
    parts: list[Part] = []
    if sees_account(visit):
        parts += [form or redeem_form(), Prose(paragraphs=[f"No code? {told}"])]
    else:
        parts.append(Prose(paragraphs=[told, "Codes are redeemed with a key of the role admin or owner."]))
    return Card("More budget", parts, subtitle="adds to what you may spend this month", width=6)


async def redeem(visit: Visit) -> Page | Reply:
    """Credit a code."""
    if not visit.is_post:
        return visit.redirect(DASHBOARD)
    try:
        await visit.api.send("POST", "user-redeem", {"code": visit.form.get("code")})
    except (ApiFailure, Unprocessable) as failure:
        form = shown_again(redeem_form(), visit.form, failure)
        status = failure.status
        return Page(title="Redeem a code", parts=[redeem_card(visit, form), Link("Budget", DASHBOARD)], status=status)
    return visit.redirect(DASHBOARD, done="redeemed")
