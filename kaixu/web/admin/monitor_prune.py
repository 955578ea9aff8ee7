"""Prunes monitor events: counts them first, then asks; and lists the archive that they go to."""

from __future__ import annotations

from collections.abc import Mapping

from kaixu.accounts.operator_identity import SETTINGS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Card,
    Code,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Table,
    Time,
)
from kaixu.web.failures import failure_notice
from kaixu.web.filter_problems import marked
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of
from kaixu.web.visits import Visit

from .monitor import ARCHIVE, PRUNE

TAB = TABS["monitor"]
FILES = 100


def monitor_prune_pages(site: Site) -> list[Route]:
    """The routes of pruning, and of the archive."""
    return [
        *site.operator_page(PRUNE, prune, tab=TAB, access=SETTINGS, posts=True),
        *site.operator_page(ARCHIVE, archive, tab=TAB),
    ]


async def prune(visit: Visit) -> Page | Reply:
    """How many events are older than so many days; and their removal, once it is confirmed."""
    if visit.is_post:
        try:
            await visit.api.send("POST", "admin-monitor-prune", {"days": visit.form.number("days")})
        except (ApiFailure, Unprocessable) as failure:
            parts: list[Part] = [failure_notice(failure), Link("Back", PRUNE)]
            return Page(title="Prune events", parts=parts, status=failure.status)
        return visit.redirect(TAB.path, done="pruned")
    kept = visit.services.settings.monitor_retention_days
    days = visit.query.get("days") or str(kept)
    choose = Form(
        action=PRUNE,
        method="get",
        inline=True,
        submit="Count",
        fields=[Field(name="days", label="Keep the last", type="number", value=days, min="1", max="3650", step="1",
                      unit="days")],
    )  # fmt: skip
    parts = [choose]
    status = 200
    try:
        counted = await visit.api.get("admin-monitor-prune", days=days)
        parts.append(question(counted["would_delete"], counted["days"], is_archived=counted["archived"]))
    except ApiFailure as failure:
        parts, status = [marked(choose, failure)], failure.status
    parts.append(
        Prose(
            paragraphs=[
                f"The gateway does this by itself each hour for events older than {kept} days "
                "(MONITOR_RETENTION_DAYS). Calls and money are not touched: usage, invoices and the audit log stay."
            ],
            tip=True,
        )
    )
    return Page(title="Prune events", subtitle="Counted first; nothing is removed yet.", parts=parts, status=status)


def question(count: int, days: int, *, is_archived: bool) -> Part:
    """What would be removed, and the button that does it."""
    back = Link("Back to the Monitor", TAB.path)
    if not count:
        text = f"No event is older than {days} days: there is nothing to remove."
        return Card("Nothing to remove", [Prose(paragraphs=[text], links=[back])])
    after = (
        "Each day is written into the archive first, read back and compared; then it is removed here."
        if is_archived
        else "The archive is switched off (gateway.monitor.archive): they will be gone for good."
    )
    form = Form(
        action=PRUNE,
        fields=[],
        hidden={"days": str(days)},
        submit=f"Remove {count:,} events",
        style="danger",
        cancel=back,
    )
    notice = Notice(state="warn", text=f"{count:,} events are older than {days} days.", hint=after)
    return Card(f"Remove {count:,} events?", [notice, form])


async def archive(visit: Visit) -> Page | Reply:
    """The files of the archive, each to download."""
    query: Mapping[str, QueryValue] = {"limit": FILES, "cursor": visit.query.get("cursor")}
    reply = await visit.api.get("monitor-archive-access", **query)
    next_href, first_href = pages_of(visit, reply["cursor"])
    table = Table(
        id="files",
        caption="Files of the archive",
        columns=[
            Column(title="Day"),
            Column(title="File", wide=True),
            Column(title="Compressed", align="right"),
            Column(title="Written"),
            Column(title="Lines of JSON"),
        ],
        rows=[
            Row(
                cells=[
                    day_of(one["key"]),
                    Code(one["key"].rsplit("/", 1)[-1]),
                    Number(one["size"], unit="bytes"),
                    Time(one["updated_at"]),
                    Link("Download", visit.url("/api/monitor-archive-access", key=one["key"]), download=True),
                ]
            )
            for one in reply["items"]
        ],
        next_href=next_href,
        first_href=first_href,
        empty=Empty(
            text="Nothing is archived yet: events come here when they are pruned, by themselves once they are old.",
            link=Link("Back to the Monitor", TAB.path),
        ),
    )
    return Page(
        title="Archive of events",
        subtitle="Events that were pruned, by day. A download is plain text, one event a line.",
        parts=[table],
        actions=[Link("Monitor", TAB.path, icon="activity")],
        curl=curl_of(visit, "monitor-archive-access", query),
    )


def day_of(name: str) -> str:
    """The day of a file: the folder that it is in."""
    pieces = name.split("/")
    return pieces[-2] if len(pieces) > 1 else ""
