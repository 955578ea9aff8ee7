"""Redemption codes: made in batches and shown once, listed, withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from kaixu.accounts.operator_identity import MONEY
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import NotFound, Unprocessable
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Code,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Money,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Snippet,
    Table,
    Time,
)
from kaixu.web.form_data import shown_again
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .billing import CODES

TAB = TABS["billing"]
LIST = "admin-codes"
BATCH = "/gateway/billing/codes/batch"
REVOKE = "/gateway/billing/codes/revoke"
LIMIT = 100


def code_pages(site: Site) -> list[Route]:
    """The routes of the pages."""
    return [
        *site.operator_page(CODES, codes, tab=TAB, posts=True, twin=lambda visit: (LIST, {"limit": LIMIT})),
        *site.operator_page(BATCH, batch, tab=TAB),
        *site.operator_page(REVOKE, revoke, tab=TAB, access=MONEY, posts=True),
    ]


async def codes(visit: Visit) -> Page | Reply:
    """The batches, and the form of a new one; its codes are shown by the reply to the form."""
    form = code_form()
    failure: ApiFailure | Unprocessable | None = None
    if visit.is_post:
        try:
            return made_page(visit, await make(visit))
        except (ApiFailure, Unprocessable) as problem:
            failure = problem
            form = shown_again(form, visit.form, problem)
    batches = (await visit.api.get(LIST, limit=LIMIT))["batches"]
    table = Table(
        id="batches",
        caption="Batches, newest first",
        columns=[
            Column(title="Batch", align="right"),
            Column(title="Each", align="right"),
            Column(title="Codes", align="right"),
            Column(title="Redeemed", align="right"),
            Column(title="Withdrawn", align="right", phone=False),
            Column(title="For", phone=False),
            Column(title="Note", wide=True),
            Column(title="Expires"),
        ],
        rows=[batch_row(visit, one) for one in batches],
        empty=Empty(text="No codes were made yet."),
        note=f"The newest {LIMIT}." if len(batches) == LIMIT else "",
    )
    done = [Notice("good", "The codes that nobody had redeemed are withdrawn.")] \
        if visit.query.get("done") == "revoked" else []  # fmt: skip
    about = Prose(
        tip=True,
        paragraphs=[
            "A code adds its amount to the month in which a customer redeems it, once, with POST user-redeem or on the "
            "dashboard, with a key of the role admin or owner. Only hashes of codes are stored: they are shown a "
            "single time."
        ],
    )
    new: list[Part] = [Card("New codes", [form, about])] if visit.may(MONEY) else [about]
    return Page(
        title="Redemption codes",
        parts=[*done, table, *new],
        twins=twins_of(visit),
        curl=curl_of(visit, LIST, {"limit": LIMIT}),
        status=200 if failure is None else failure.status,
    )


def code_form() -> Form:
    """The form of a new batch."""
    expires = datetime.now(UTC).date() + timedelta(days=90)
    return Form(
        action=CODES,
        submit="Make the codes",
        id="codes-form",
        hidden={"idempotency_key": f"page-{uuid4()}"},
        fields=[
            Field(name="amount", label="Amount of each", unit="USD", required=True, maxlength=20, placeholder="5.00"),
            Field(name="count", label="How many", type="number", value="1", min="1", max="10000", step="1"),
            Field(name="expires_at", label="Expire at the end of", type="date", value=str(expires), required=True,
                  hint="A day in UTC."),
            Field(name="email_domain", label="Only for addresses at", maxlength=200, placeholder="example.com",
                  hint="Empty: everybody."),
            Field(name="plan_name", label="Only for the plan", maxlength=40, hint="Empty: every plan."),
            Field(name="note", label="Note", maxlength=200, placeholder="conference", hint="For you."),
        ],
    )  # fmt: skip


async def make(visit: Visit) -> Any:
    """Make a batch. Raises `ApiFailure`, `Unprocessable`."""
    form = visit.form
    body = {
        "amount_cents": form.cents("amount"),
        "count": form.number("count"),
        **{name: form.get(name) or None for name in ("expires_at", "email_domain", "plan_name", "note")},
        "idempotency_key": form.get("idempotency_key"),
    }
    try:
        return await visit.api.send("POST", LIST, body)
    except ApiFailure as failure:
        failure.field = "amount" if failure.field == "amount_cents" else failure.field
        raise


def made_page(visit: Visit, reply: Mapping[str, Any]) -> Page:
    """The codes, once."""
    one = reply["batch"]
    back = Link("Redemption codes", CODES)
    if not reply["applied"]:
        text = "This batch was made before. Its codes were shown then, and are not known any more."
        return Page(title=f"Batch {one['id']}", parts=[Notice("info", text), back])
    text = "\n".join(reply["codes"])
    title = f"{len(reply['codes']):,} codes of ${one['amount_usd']}"
    return Page(title=title, parts=[Card("The codes", [Snippet(text, title="Codes", secret=True)]), back])


def restriction(one: Mapping[str, Any]) -> str:
    """Who may redeem a batch."""
    found = [f"@{one['email_domain']}" if one["email_domain"] else "", one["plan_name"] or ""]
    return ", ".join(part for part in found if part) or "everybody"


def batch_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A batch."""
    is_over = one["expires_at"] < f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    return Row(
        href=visit.url(BATCH, batch_id=one["id"]),
        cells=[
            f"{one['id']}",
            Money(one["amount_usd"]),
            Number(one["codes"]),
            Number(one["redeemed"]),
            Number(one["revoked"]),
            restriction(one),
            one["note"] or "",
            Time(one["expires_at"], form="date"),
        ],
        state="off" if is_over or one["redeemed"] + one["revoked"] >= one["codes"] else None,
    )


async def one_batch(visit: Visit, **query: QueryValue) -> Any:
    """The batch of the address or the form, with its codes. Raises `NotFound`, `ApiFailure`."""
    batch_id = visit.query.get("batch_id") or visit.form.get("batch_id")
    if not batch_id:
        raise NotFound("no batch is named here", hint="Choose one in the list of codes.")
    return await visit.api.get(LIST, batch_id=batch_id, **query)


async def batch(visit: Visit) -> Page | Reply:
    """A batch with its codes."""
    after = visit.query.get("after_id")
    reply = await one_batch(visit, limit=LIMIT, after_id=after)
    one = reply["batch"]
    next_href, first_href = pages_of(visit, reply["next_after_id"], "after_id")
    facts = Facts(
        [
            ("Each", Money(one["amount_usd"])),
            ("For", restriction(one)),
            ("Note", one["note"] or "none"),
            ("Expires", Time(one["expires_at"])),
            ("Made", Time(one["created_at"])),
            ("By", one["created_by"]),
            ("Redeemed", f"{one['redeemed']:,} of {one['codes']:,}; {one['revoked']:,} withdrawn"),
        ]
    )
    table = Table(
        id="codes",
        caption="Codes",
        columns=[Column(title="Code"), Column(title="State"), Column(title="Customer", wide=True),
                 Column(title="Redeemed")],
        rows=[code_row(visit, code) for code in reply["codes"]],
        next_href=next_href,
        first_href=first_href,
        note="Only the last four characters of a code are known.",
    )  # fmt: skip
    left = one["codes"] - one["redeemed"] - one["revoked"]
    actions = [Link("Withdraw …", visit.url(REVOKE, batch_id=one["id"]))] if left and visit.may(MONEY) else []
    return Page(title=f"Batch {one['id']} of codes", parts=[Card("The batch", [facts]), table], actions=actions)


def code_row(visit: Visit, code: Mapping[str, Any]) -> Row:
    """A code."""
    state = Badge("info", "open")
    if code["redeemed_at"]:
        state = Badge("good", "redeemed")
    elif code["revoked_at"]:
        state = Badge("off", "withdrawn")
    customer: Cell = ""
    if code["customer_id"]:
        href = visit.url(TAB.path, customer_id=code["customer_id"])
        customer = Link(f"customer {code['customer_id']}", href)
    return Row(cells=[Code(f"…{code['last4']}"), state, customer, Time(code["redeemed_at"])])


async def revoke(visit: Visit) -> Page | Reply:
    """Ask, and withdraw what nobody has redeemed."""
    one = (await one_batch(visit, limit=1))["batch"]
    if visit.is_post:
        await visit.api.send("PATCH", LIST, {"batch_id": one["id"], "revoked": True})
        return visit.redirect(CODES, done="revoked")
    left = one["codes"] - one["redeemed"] - one["revoked"]
    will = [
        f"{left:,} codes of ${one['amount_usd']} each, which nobody has redeemed, are refused from now on.",
        f"The {one['redeemed']:,} that were redeemed stay credited.",
        "A withdrawn code is not given back.",
    ]
    form = Form(action=REVOKE, submit=f"Withdraw {left:,} codes", style="danger", fields=[],
                hidden={"batch_id": str(one["id"])},
                cancel=Link("Cancel", visit.url(BATCH, batch_id=one["id"])))  # fmt: skip
    parts: list[Part] = [Card("What will happen", [Prose(paragraphs=[], items=will), form])]
    return Page(title=f"Withdraw batch {one['id']}?", parts=parts)
