"""The tab of platform control: the surfaces beside the gateway, their health, and what operators note about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.accounts.platforms import HEALTH, LIFECYCLE, ONBOARDING
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import QueryValue
from kaixu.web.components import (
    Badge,
    Card,
    Cell,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Muted,
    Notice,
    Number,
    Option,
    Page,
    Part,
    Prose,
    Row,
    Stack,
    Stat,
    State,
    Stats,
    Table,
    Time,
)
from kaixu.web.formats import plain_text
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .platform_page import platform_page_routes, surface_path

TAB = TABS["platforms"]

#: The colours of what operators note.
HEALTH_STATES: dict[str, State] = {"unreviewed": "off", "healthy": "good", "warning": "warn", "critical": "bad"}
ONBOARDING_STATES: dict[str, State] = {
    "untracked": "off", "queued": "info", "in-progress": "info", "blocked": "bad", "complete": "good",
}  # fmt: skip
LIFECYCLE_STATES: dict[str, State] = {"active": "good", "maintenance": "warn", "paused": "off", "rebuild": "info"}
CHECK_STATES: dict[str, State] = {"up": "good", "down": "bad"}

#: What the states of a surface's storage mean.
STORAGE = {
    "connected": "its document is stored here",
    "ready": "it may store a document here, and has none yet",
    "linked": "it keeps its own data; only the link is known here",
    "db-unconfigured": "the database does not answer",
    "migrating": "its tables are being made",
    "live-telemetry": "its figures are the gateway's own",
    "config-only": "known from kaixu.yaml only: the database does not answer",
}


def platform_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return [*site.operator_page(TAB.path, platforms, tab=TAB, twin=control_of), *platform_page_routes(site)]


def control_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the page."""
    return "admin-platform-control", {"month": visit.query.get("month")}


async def platforms(visit: Visit) -> Page | Reply:
    """All surfaces."""
    name, query = control_of(visit)
    reply = await visit.api.get(name, **query)
    shown = [one for one in reply["platforms"] if is_shown(visit, one)]
    parts: list[Part] = []
    if visit.query.get("done") in DONE:
        parts.append(Notice(state="good", text=DONE[visit.query["done"]]))
    if not reply["storage_ready"]:
        text = "The database did not answer: surfaces are shown from kaixu.yaml, without notes and documents."
        parts.append(Notice(state="warn", text=text, hint="Load the page again in a moment."))
    parts += [
        Stats(stats_of(reply["counts"])),
        filters(visit),
        surfaces(visit, shown, is_filtered=len(shown) != len(reply["platforms"])),
        Card("Backup brain", [backup_brain(reply["backup_brain"])], width=6),
        Card("What is connected", [ABOUT], width=6),
    ]
    return Page(
        title=TAB.title,
        subtitle="Which surfaces store something in this gateway, and which are only linked from it.",
        parts=parts,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


DONE = {"saved": "The notes are saved.", "stored": "The document is stored.", "deleted": "The document is deleted."}

ABOUT = Prose(
    paragraphs=[
        "A surface is another site or program of yours: it is named in kaixu.yaml under platforms.surfaces, with an "
        "address to launch it and, if you like, one that says whether it is well. What you note here (health, "
        "onboarding, lifecycle, owner) is for people; the gateway's own look at the health address stands below it."
    ],
    items=[
        "Connected: the surface stores a document in the gateway, which is shown in its drawer.",
        "Live telemetry: its figures are the gateway's own.",
        "Linked: only a link, it keeps its data elsewhere.",
    ],
)


def is_shown(visit: Visit, one: Mapping[str, Any]) -> bool:
    """Whether a surface fits the filters."""
    ops = one["platform_ops"]
    wanted = {
        "health": ops["health_status"],
        "onboarding": ops["onboarding_stage"],
        "lifecycle": ops["lifecycle_status"],
        "visibility": one["visibility"],
    }
    return all(visit.query.get(name) in (None, "", value) for name, value in wanted.items())


def filters(visit: Visit) -> Form:
    """The filters of the table."""

    def choice(name: str, label: str, values: tuple[str, ...]) -> Field:
        options = [Option("", "all"), *(Option(one, one) for one in values)]
        return Field(name=name, label=label, type="select", value=visit.query.get(name, ""), options=options)

    return Form(
        action=TAB.path,
        method="get",
        inline=True,
        target="surfaces",
        submit="Filter",
        fields=[
            choice("health", "Health", HEALTH),
            choice("onboarding", "Onboarding", ONBOARDING),
            choice("lifecycle", "Lifecycle", LIFECYCLE),
            choice("visibility", "Visibility", ("public", "admin")),
        ],
    )


def stats_of(counts: Mapping[str, Any]) -> list[Stat]:
    """The counts."""
    attention, down = counts["attention_needed"], counts["surfaces_down"]
    return [
        Stat("Surfaces", Number(counts["surfaces"]), note=f"{counts['reviewed_platforms']:,} reviewed"),
        Stat("Need attention", Number(attention), note="noted as warning or critical",
             state="warn" if attention else None),
        Stat("Down", Number(down), note="their health address does not answer", state="bad" if down else None),
        Stat("Onboarding", Number(counts["onboarding_inflight"]), note="under way"),
        Stat("Documents", Number(counts["connected_remote_docs"]), note="stored in the gateway"),
        Stat("Cohort seats", Number(counts["cohort_seats"])),
        Stat("Mail threads", Number(counts["skymail_threads"])),
        Stat("Station customers", Number(counts["station_active_customers"]), note="active",
             href=TABS["station"].path),
        Stat("Station keys", Number(counts["station_active_keys"]), note="active", href=TABS["station"].path),
    ]  # fmt: skip


def surfaces(visit: Visit, rows: list[dict[str, Any]], *, is_filtered: bool) -> Table:
    """The table of surfaces."""
    example = "platforms:\n  surfaces:\n    my-app: {title: My app, launch_url: https://app.example.com}"
    return Table(
        id="surfaces",
        caption="Surfaces",
        columns=[
            Column(title="Platform", wide=True),
            Column(title="Visibility"),
            Column(title="Storage"),
            Column(title="Summary"),
            Column(title="Health"),
            Column(title="Onboarding"),
            Column(title="Lifecycle"),
            Column(title="Owner / Notes"),
            Column(title="Updated"),
        ],
        rows=[surface_row(one) for one in rows],
        empty=Empty(text="No surface fits these filters.", link=Link("Show all", TAB.path))
        if is_filtered
        else Empty(text=f"There are no surfaces yet. Add one to kaixu.yaml and reload it: {example}"),
        note="Launch opens the surface. A click on a row shows its document, and the form that saves the notes."
        if rows
        else "",
    )


def surface_row(one: Mapping[str, Any]) -> Row:
    """A surface's row."""
    ops = one["platform_ops"]
    href = surface_path(one["app_id"])
    url = one["launch_url"]
    return Row(
        id=f"surface-{one['app_id']}",
        href=href,
        cells=[
            Stack([one["title"], Muted(one["app_id"])], lines=True),
            Badge("info", "public") if one["visibility"] == "public" else Badge("off", "admin"),
            Badge(storage_state(one["storage_status"]), one["storage_status"],
                  hint=STORAGE.get(one["storage_status"], "")),
            Muted(shortened(one["summary_text"], 60)),
            health_cell(one),
            Badge(ONBOARDING_STATES.get(ops["onboarding_stage"], "off"), ops["onboarding_stage"]),
            Badge(LIFECYCLE_STATES.get(ops["lifecycle_status"], "off"), ops["lifecycle_status"]),
            owner_cell(ops),
            Time(ops["updated_at"] or one["updated_at"], form="ago", none="never"),
        ],
        actions=[
            Link("Launch", url, external=not url.startswith("/"), icon="rocket"),
            Link("Save ops", f"{href}#ops", drawer=True, icon="settings"),
        ],
    )  # fmt: skip


def storage_state(status: str) -> State:
    """The colour of a storage status."""
    if status in ("connected", "live-telemetry"):
        return "good"
    return "warn" if status in ("db-unconfigured", "config-only", "migrating") else "off"


def health_cell(one: Mapping[str, Any]) -> Cell:
    """What is noted, and what the gateway found."""
    noted, check = one["platform_ops"]["health_status"], one["health"]
    badge = Badge(HEALTH_STATES.get(noted, "off"), noted)
    if check["state"] == "unchecked":
        return badge
    text = f"{check['state']}, {check['ms']} ms" if check["ms"] is not None else check["state"]
    return Stack([badge, Badge(CHECK_STATES.get(check["state"], "off"), text, hint=check["error"] or "")], lines=True)


def owner_cell(ops: Mapping[str, Any]) -> Cell:
    """Who owns the surface, and the beginning of the notes."""
    cells: list[Cell] = [part for part in (ops["owner"], shortened(ops["notes"], 80)) if part]
    return Stack([cells[0], *(Muted(str(one)) for one in cells[1:])], lines=True) if cells else Muted("–")


def shortened(text: str, most: int) -> str:
    """Text on one line, cut where it is too long for a cell."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def backup_brain(brain: Mapping[str, Any]) -> Facts:
    """The model that stands in for others."""
    state: Cell = Badge("good", "ready") if brain["status"] == "ready" else Badge("off", "not configured")
    if brain["configured"] and brain["status"] != "ready":
        state = Badge("bad", "not ready")
    items: list[tuple[str, Cell]] = [("State", state)]
    if brain["reason"]:
        items.append(("Why", plain_text(brain["reason"])))
    if brain["configured"]:
        items += [
            ("Model", Link(f"{brain['provider']}/{brain['model']}", TABS["lanes"].path)),
            ("Breaker", brain["breaker"] or "–"),
            ("Locked", "yes: like every model it answers only to callers with a key" if brain["locked"] else "no"),
        ]
    return Facts(items)
