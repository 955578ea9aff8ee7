"""Panels of the admin page: the registry of projects, pushes, files in parts, invoices, and the customer's token."""

from __future__ import annotations

from datetime import date

import msgspec

from kaixu.plugin import Panel, PanelView, panels

from .billing import LISTED, Breakdown, month_of
from .history import DEPLOYS, FILES, PROJECTS
from .part import Part
from .shapes import written
from .tokens import TOKEN

TAB = "KaixuPush"

#: How a state is drawn; all others are under way.
STATES: dict[str, panels.State] = {
    "ready": "good", "done": "good", "error": "bad", "cancelled": "off", "expired": "off", "unknown": "warn",
    "retry_wait": "warn", "error_transient": "warn", "blocked_cap": "warn",
}  # fmt: skip


def badge(state: str) -> panels.Badge:
    """A state in colour."""
    return panels.Badge(STATES.get(state, "info"), state)


def shown_month(view: PanelView) -> date:
    """The month of the page."""
    month = month_of(view.month)
    assert month is not None
    return month


async def registry(view: PanelView) -> list[panels.Part]:
    """The projects of the selected customer, and a form for a new one."""
    async with view.db() as db:
        rows = await db.fetch(PROJECTS, view.customer_id)
    return [
        panels.Table(
            ["ID", "Project ID", "Name", "Netlify Site ID", "Updated"],
            [
                panels.Row(
                    [row["id"], panels.Code(row["project_id"]), row["name"], panels.Code(row["netlify_site_id"]),
                     panels.Time(row["updated_at"])],
                    [
                        panels.Action(
                            "Edit", "push.admin_project_change", {"id": row["id"]},
                            form=panels.Form(
                                "push.admin_project_change",
                                [
                                    panels.Field("name", "Name", value=row["name"], required=True),
                                    panels.Field("netlify_site_id", "Netlify Site ID", value=row["netlify_site_id"],
                                                 required=True),
                                ],
                            ),
                        ),
                        panels.Action(
                            "Delete", "push.admin_project_delete", {"id": row["id"]},
                            confirm=f"The project {row['project_id']} and its history are deleted. Its site stays.",
                            is_danger=True,
                        ),
                    ],
                )
                for row in rows
            ],
            empty="No projects.",
        ),
        panels.Form(
            "push.admin_project_put",
            [
                panels.Field("project_id", "Project ID", required=True),
                panels.Field("name", "Name", required=True),
                panels.Field("netlify_site_id", "Netlify Site ID", required=True),
            ],
            "Save the project",
            title="Add or change a project",
            hint="The customer may then publish to this site with the operator's token, if it has no token of its own.",
        ),
    ]  # fmt: skip


async def deploys(view: PanelView) -> list[panels.Part]:
    """The pushes of the month."""
    async with view.db() as db:
        rows = await db.fetch(DEPLOYS, view.customer_id, shown_month(view), view.filters.get("project_id") or None, 500)
    return [
        panels.Table(
            [
                "Push ID", "Project", "Branch", "State", panels.Column("Required", "right"),
                panels.Column("Uploaded", "right"), "URL", "Created",
            ],
            [
                [
                    panels.Code(row["push_id"]), row["project_id"] or "deleted", row["branch"], badge(row["state"]),
                    row["required_count"], row["uploaded_count"],
                    None if row["url"] is None else panels.Link(row["url"], row["url"]), panels.Time(row["created_at"]),
                ]
                for row in rows
            ],
            empty="No pushes in this month.",
        )
    ]  # fmt: skip


async def files(view: PanelView) -> list[panels.Part]:
    """Files that came in parts."""
    async with view.db() as db:
        rows = await db.fetch(FILES, view.customer_id, shown_month(view), view.filters.get("push_id") or None, 200)
    return [
        panels.Table(
            [
                "Push ID", "Project", "Path", "SHA1", panels.Column("Parts", "right"),
                panels.Column("Received", "right"), panels.Column("Staged bytes", "right"), "Status", "Updated",
            ],
            [
                panels.Row(
                    [
                        panels.Code(row["push_id"]), row["project_id"] or "deleted", row["deploy_path"],
                        panels.Code(row["sha1"]), row["parts"], row["received"], panels.Bytes(row["bytes"]),
                        badge(row["status"]), panels.Time(row["updated_at"]),
                    ],
                    [
                        panels.Action(
                            "Retry", "push.admin_retry_file", {"push_id": row["push_id"], "sha1": row["sha1"]}
                        )
                    ]
                    if row["status"] in ("retry_wait", "error_transient")
                    else [],
                )
                for row in rows
            ],
            empty="No files in parts in this month.",
        )
    ]  # fmt: skip


async def invoices(view: PanelView) -> list[panels.Part]:
    """Stored invoices, and a form that makes one."""
    async with view.db() as db:
        rows = await db.fetch(LISTED, view.customer_id)
    cells: list[list[panels.Cell]] = []
    for row in rows:
        breakdown = msgspec.json.decode(row["breakdown"], type=Breakdown)
        cells.append(
            [
                row["month"], panels.Money(row["total_cents"] * 10**7), row["pricing_version"],
                breakdown.deploys_ready, panels.Bytes(breakdown.bytes_uploaded), panels.Time(row["updated_at"]),
            ]
        )  # fmt: skip
    return [
        panels.Table(
            ["Month", panels.Column("Total", "right"), "Pricing", panels.Column("Deploys", "right"),
             panels.Column("Bytes", "right"), "Updated"],
            cells,
            empty="No invoices yet.",
        ),
        panels.Form(
            "push.admin_invoice", [panels.Field("month", "Month", "month", value=view.month, required=True)],
            "Generate", title="Generate an invoice",
        ),
    ]  # fmt: skip


async def token(view: PanelView) -> list[panels.Part]:
    """Whether the customer has a token; a form that sets it, a button that clears it."""
    info = await view.secrets.info(TOKEN)
    form = panels.Form(
        "push.admin_token_set", [panels.Field("token", "Netlify token", "password", required=True)], "Set the token"
    )
    if info is None:
        return [panels.Notice("off", "No Netlify token is set."), form]
    return [
        panels.Notice("good", f"A Netlify token is set, since {written(info.set_at)}."),
        form,
        panels.Action(
            "Clear the token", "push.admin_token_clear", confirm="The customer's Netlify token is removed.",
            is_danger=True,
        ),
    ]  # fmt: skip


MONTH = panels.Filter("month", "Month", "month")

PART = Part(
    panels=[
        Panel(TAB, "Project registry", registry, needs_customer=True),
        Panel(
            TAB, "Deploy history", deploys, needs_customer=True,
            filters=[MONTH, panels.Filter("project_id", "Project ID")],
        ),
        Panel(
            TAB, "Chunk jobs", files, needs_customer=True, filters=[MONTH, panels.Filter("push_id", "Push ID")]
        ),
        Panel(TAB, "Push invoices", invoices, needs_customer=True),
        Panel("customers", "Netlify token", token, needs_customer=True),
    ]
)  # fmt: skip
