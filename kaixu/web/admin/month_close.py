"""The close of a month: which invoices are issued, which can be, what the others wait for; and issuing them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import MONEY
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Money,
    Muted,
    Notice,
    Option,
    Page,
    Part,
    Progress,
    Prose,
    Row,
    Stack,
    Stat,
    State,
    Stats,
    Table,
)
from kaixu.web.formats import money, sentence, usd_of_cents
from kaixu.web.lists import pages_of
from kaixu.web.months import month_after, month_before, month_field, this_month
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .billing import CLOSE
from .billing_invoices import INVOICE

TAB = TABS["billing"]
ISSUE = "/gateway/billing/close/issue"
LIST = "admin-month-close"
LIMIT = 50

#: How many invoices one step issues: each has a PDF, and a step should take a second or two.
STEP = 10

STATES: dict[str, tuple[State, str, str]] = {
    "open": ("info", "open", "the month is not over"),
    "waiting": ("warn", "waiting", "calls still run, or may be settled late"),
    "details": ("bad", "details missing", "name, address or country of the customer"),
    "ready": ("info", "ready", "can be issued"),
    "issued": ("good", "issued", "have a number"),
}
CODES = {
    "MONTH_OPEN": "the month is not over",
    "MONTH_WAITING": "waits for calls",
    "BILLING_DETAILS_MISSING": "billing details missing",
    "INVOICES_NOT_SET_UP": "kaixu.yaml has no seller",
    "INVOICE_BELOW_ZERO": "corrections exceed the usage",
}


def month_close_pages(site: Site) -> list[Route]:
    """The routes of the page, and of the page that issues."""
    return [
        *site.operator_page(CLOSE, close, tab=TAB, twin=lambda visit: (LIST, query_of(visit))),
        *site.operator_page(ISSUE, issue, tab=TAB, access=MONEY, posts=True),
    ]


def query_of(visit: Visit) -> dict[str, QueryValue]:
    """The query of the list."""
    return {"limit": LIMIT, **{name: visit.query.get(name) for name in ("month", "state", "after")}}


async def close(visit: Visit) -> Page | Reply:
    """The page."""
    query = query_of(visit)
    reply = await visit.api.get(LIST, **query)
    month, counts = reply["month"], reply["counts"]
    total = sum(counts.values())
    next_href, first_href = pages_of(visit, reply["next_after"], "after")
    chosen = visit.query.get("state", "")
    states = [Option("", "all"), *(Option(name, words) for name, (_, words, _) in STATES.items())]
    choose = Form(
        action=CLOSE, method="get", inline=True, submit="Load the month",
        fields=[month_field(month), Field(name="state", label="State", type="select", value=chosen, options=states)],
    )  # fmt: skip
    table = Table(
        id="close",
        caption=f"Customers with usage in {month}",
        columns=[
            Column(title="ID", align="right", phone=False),
            Column(title="Customer"),
            Column(title="Spent", align="right"),
            Column(title="State"),
            Column(title="Why"),
            Column(title="Invoice"),
        ],
        rows=[close_row(visit, one, month) for one in reply["customers"]],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(text="No customer of this month is in this state." if chosen else "Nobody used anything."),
    )
    parts: list[Part] = [
        choose,
        *([] if reply["is_set_up"] else [not_set_up()]),
        Stats([count_stat(visit, reply, state) for state in STATES]),
        *([progress(counts, total)] if total and not counts["open"] else []),
        table,
        Prose(tip=True, paragraphs=[
            "A month is UTC. It can be issued when it is over and no call of it runs; calls that were lost with their "
            "gateway are waited for up to invoices.lost_wait_h. With auto_finalize in kaixu.yaml the gateway issues "
            "every hour what can be issued; switch it on when you have seen a month of drafts that are right.",
        ]),
    ]  # fmt: skip
    before, after = month_before(month), month_after(month)
    actions = [Link(before, visit.url(CLOSE, month=before))]
    if after <= this_month():
        actions.append(Link(after, visit.url(CLOSE, month=after)))
    if visit.may(MONEY) and counts["ready"] and reply["is_set_up"]:
        actions.append(Link("Finalise all …", visit.url(ISSUE, month=month)))
    return Page(
        title="Month close",
        subtitle=f"{month} (UTC), all customers",
        parts=parts,
        actions=actions,
        twins=twins_of(visit),
        curl=curl_of(visit, LIST, query),
    )


def not_set_up() -> Notice:
    """Nothing can be issued without a seller."""
    return Notice("warn", "kaixu.yaml does not say who issues the invoices: there are drafts only.",
                  "Add invoices.seller with name, address and country, and reload.")  # fmt: skip


def count_stat(visit: Visit, reply: Mapping[str, Any], state: str) -> Stat:
    """How many are in a state; it filters the list."""
    colour, words, note = STATES[state]
    count = reply["counts"][state]
    alarming = colour if count and colour in ("bad", "warn") else None
    return Stat(words, f"{count:,}", note=f"{note}; {money(reply['spent_usd'][state])}", state=alarming,
                href=visit.changed(state=state, after=None))  # fmt: skip


def progress(counts: Mapping[str, int], total: int) -> Progress:
    """How much of the month is issued."""
    done = counts["issued"]
    return Progress("Issued", done, total, f"{done:,} of {total:,}", "good" if done == total else "info", id="closed")


def close_row(visit: Visit, one: Mapping[str, Any], month: str) -> Row:
    """A customer's month."""
    colour, words, _ = STATES[one["state"]]
    query = {"number": one["number"]} if one["number"] else {"month": month}
    why: Cell = Muted("")
    if one["state"] == "details":
        href = visit.url(TAB.path, customer_id=one["customer_id"])
        why = Link("set them", f"{href}#details")
    elif one["state"] == "waiting":
        why = f"{one['open_calls']} calls run, {one['lost_calls']} may be settled late"
    elif one["state"] == "ready" and one["has_draft"]:
        why = "a draft was recorded"
    number: Cell = Muted("none")
    if one["number"]:
        number = Stack([one["number"], Money(usd_of_cents(one["total_cents"]))])
    return Row(
        href=visit.url(INVOICE, customer_id=one["customer_id"], **query),
        cells=[f"{one['customer_id']}", one["email"], Money(one["spent_usd"]), Badge(colour, words), why, number],
    )


async def issue(visit: Visit) -> Page | Reply:
    """Ask, and then issue step by step: with scripts each step follows by itself, without them by a press."""
    month = visit.query.get("month") or visit.form.get("month")
    failure: ApiFailure | Unprocessable | None = None
    step: Mapping[str, Any] | None = None
    if visit.is_post:
        try:
            body = {"all": True, "month": month, "most": STEP, "after": visit.form.number("after") or 0}
            step = await visit.api.send("POST", "admin-invoice-finalize", body)
        except (ApiFailure, Unprocessable) as problem:
            failure = problem
    reply = await visit.api.get(LIST, month=month, limit=1)
    counts, total = reply["counts"], sum(reply["counts"].values())
    month = reply["month"]
    back = visit.url(CLOSE, month=month)
    if step is None:
        return asking(visit, reply, back, failure)
    issued = (visit.form.number("issued") or 0) + len(step["issued"])
    waiting = add_waiting(visit.form.get("waiting"), step["waiting"])
    parts: list[Part] = [progress(counts, total)]
    if step["next_after"] is None:
        parts += [done_notice(visit, issued, waiting, back)]
        return Page(title=f"{month} is finalised", parts=parts)
    form = Form(
        action=ISSUE,
        id="close-continue",
        submit="Go on",
        fields=[],
        hidden={"month": month, "after": str(step["next_after"]), "issued": str(issued),
                "waiting": ",".join(f"{code}:{count}" for code, count in sorted(waiting.items()))},
        hint="It goes on by itself where scripts run. Whoever leaves the page stops it; what is issued stays issued.",
        cancel=Link("Stop here", back),
    )  # fmt: skip
    return Page(title=f"Finalising {month}", parts=[*parts, Card("Step by step", [form])], scripts=["continue.js"])


def asking(visit: Visit, reply: Mapping[str, Any], back: str, failure: ApiFailure | Unprocessable | None) -> Page:
    """What will happen."""
    month, counts = reply["month"], reply["counts"]
    will = [
        f"{counts['ready']:,} invoices of {month} are issued, for {money(reply['spent_usd']['ready'])} of usage. Each "
        "gets the next number of its series and a PDF, and is never changed from then on.",
        "Those whose customers get invoices by mail are mailed.",
        f"{counts['waiting']:,} that wait for calls, and {counts['details']:,} whose billing details lack something, "
        "are left for the next time.",
    ]
    form = Form(action=ISSUE, submit=f"Finalise {counts['ready']:,} invoices", fields=[],
                hidden={"month": month}, cancel=Link("Cancel", back),
                problem="" if failure is None else sentence(failure.message))  # fmt: skip
    none = [Notice("info", "There is nothing to issue in this month.")] if not counts["ready"] else []
    parts: list[Part] = [*none, Card("What will happen", [Prose(paragraphs=[], items=will), form])]
    return Page(title=f"Finalise all of {month}?", parts=parts, status=200 if failure is None else failure.status)


def add_waiting(before: str, now: Mapping[str, int]) -> dict[str, int]:
    """What could not be issued in the steps so far, by the reason's code. The text is that of our own form."""
    sums: dict[str, int] = dict(now)
    for part in before.split(",")[:20]:
        code, _, count = part.partition(":")
        if code in CODES and count.isascii() and count.isdigit() and len(count) < 10:
            sums[code] = sums.get(code, 0) + int(count)
    return sums


def done_notice(visit: Visit, issued: int, waiting: Mapping[str, int], back: str) -> Notice:
    """What was issued, and what was not, by reason."""
    text = f"{issued:,} invoices were issued."
    left = ", ".join(f"{count:,} × {CODES.get(code, code.lower())}" for code, count in sorted(waiting.items()))
    hint = f"Not issued: {left}." if left else "Nothing is left."
    return Notice("good" if not left else "warn", text, hint, [Link("Month close", back)])
