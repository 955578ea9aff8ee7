"""The page that makes a test call of a model or of one deployment, and shows how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.lane_tests import CALLS_A_MINUTE, EMAIL
from kaixu.accounts.operator_identity import SETTINGS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Facts,
    Form,
    Link,
    Money,
    Muted,
    Notice,
    Page,
    Part,
    Prose,
    Row,
    Table,
)
from kaixu.web.failures import failure_notice
from kaixu.web.formats import plain_text
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .lane_cells import TEST, model_href
from .usage_calls import CALL

TAB = TABS["lanes"]


def lane_test_routes(site: Site) -> list[Route]:
    """The routes of the page."""
    return site.operator_page(TEST, test, tab=TAB, access=SETTINGS, posts=True)


async def test(visit: Visit) -> Page | Reply:
    """Says what a test call does; a POST makes it and shows how it ended."""
    given = visit.form if visit.is_post else visit.query
    lane_name, name, deployment = given.get("lane", ""), given.get("model", ""), given.get("deployment", "")
    what = f"{lane_name}/{name}" + (f", deployment {deployment}" if deployment else "")
    form = Form(
        action=TEST,
        fields=[],
        hidden={"lane": lane_name, "model": name, "deployment": deployment},
        submit="Call again" if visit.is_post else "Make the call",
        cancel=Link("Back to the model", model_href(lane_name, name)),
    )
    parts: list[Part] = []
    status = 200
    if visit.is_post:
        body = {"lane": lane_name, "model": name} | ({"deployment": deployment} if deployment else {})
        try:
            parts += result_parts(visit, await visit.api.send("POST", "admin-lane-test", body))
        except ApiFailure as failure:
            parts.append(failure_notice(failure))
            status = failure.status
    about = Prose(
        tip=True,
        paragraphs=[
            "A test is a real, small call through the same gate as every call: it is admitted, metered and settled, "
            "and your vendor bills you for a few tokens. Nobody is charged: its price is 0, what the vendor charges "
            f"is recorded. It is made as the customer {EMAIL}, which the gateway makes for that, at most "
            f"{CALLS_A_MINUTE} times a minute. Each test is in the audit log."
        ],
    )
    parts += [Card("Test call", [form, about])]
    return Page(title=f"Test {what}", parts=parts, status=status)


def result_parts(visit: Visit, result: Mapping[str, Any]) -> list[Part]:
    """How a test call ended."""
    failure = result["failure"]
    if failure is None:
        text = f"{result['deployment']} answered in {result['ms']:,} ms: {result['text'] or '(no text)'}"
        notice = Notice(state="good", text=text)
    else:
        told = f"The vendor's words: {failure['words']}" if failure["words"] else ""
        notice = Notice(state="bad", text=f"{plain_text(failure['message'])} ({failure['code']}).", hint=told)
    facts: list[tuple[str, Cell]] = [
        ("Deployment", result["deployment"] or Muted("none answered")),
        ("Took", f"{result['ms']:,} ms"),
        ("Tokens in / out", f"{result['usage']['input_tokens']:,} / {result['usage']['output_tokens']:,}"),
        ("Usage counted by", result["usage"]["source"]),
        ("Charged", Money(result["cost_usd"])),
        ("Vendor cost", Money(result["vendor_cost_usd"])),
    ]
    if failure is not None and failure["vendor_status"] is not None:
        facts.append(("Vendor's status", str(failure["vendor_status"])))
    if failure is not None and failure["reason"]:
        facts.append(("Reason", failure["reason"]))
    tries = Table(
        id="tries",
        caption="Tries",
        columns=[
            Column(title="Deployment", wide=True),
            Column(title="Began at", align="right"),
            Column(title="Took", align="right"),
            Column(title="Result"),
        ],
        rows=[
            Row(
                cells=[
                    one["deployment"],
                    f"{one['at_ms']:,} ms",
                    f"{one['took_ms']:,} ms",
                    Badge("bad", one["error"]) if one["error"] else Badge("good", "answered"),
                ]
            )
            for one in result["tries"]
        ],
    )
    if result["has_event"]:
        link = Link(result["request_id"], visit.url(CALL, event=result["request_id"]))
        facts.append(("Call", link))
    else:
        link = Link(result["request_id"], visit.url(TABS["monitor"].path, request_id=result["request_id"]))
        facts.append(("In the monitor", link))
    return [notice, Card("Result", [Facts(facts), tries])]
