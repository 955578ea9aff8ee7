"""Panels of the dashboard: a customer's pushes as they go on, its projects, and its token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.plugin import Panel, PanelView, panels

from .admin_panels import TAB, badge
from .part import Part
from .projects import LISTED
from .tokens import TOKEN

NEWEST = """
    select p.push_id, p.branch, p.title, p.state, p.url, p.error, p.required_count, p.uploaded_count, p.created_at,
           p.ended_at, j.project_id
      from push p left join project j on j.id = p.project
     where p.customer_id = $1 order by p.created_at desc, p.id desc limit 50
"""


async def deploys(view: PanelView) -> list[panels.Part]:
    """The newest pushes: those that go on with a bar, all with their address."""
    async with view.db() as db:
        rows = await db.fetch(NEWEST, view.customer_id)
    going_on = [row for row in rows if row["ended_at"] is None]
    return [
        *(
            panels.Progress(
                row["project_id"] or row["title"], row["uploaded_count"], row["required_count"] or None, row["state"]
            )
            for row in going_on[:10]
        ),
        panels.Table(
            ["Project", "Branch", "State", panels.Column("Uploaded", "right"), "URL", "Created", "Error"],
            [panels.Row(cells(row), actions(row)) for row in rows],
            empty="Nothing has been published yet. Publish a folder with: kaixu push DIR --project P",
        ),
    ]


def cells(row: Mapping[str, Any]) -> list[panels.Cell]:
    """A push."""
    return [
        row["project_id"] or "deleted", row["branch"], badge(row["state"]),
        f"{row['uploaded_count']} of {row['required_count']}",
        None if row["url"] is None else panels.Link(row["url"], row["url"]), panels.Time(row["created_at"]),
        row["error"],
    ]  # fmt: skip


def actions(row: Mapping[str, Any]) -> list[panels.Action]:
    """What can be done to a push."""
    if row["ended_at"] is not None:
        return []
    return [
        panels.Action(
            "Cancel", "push.cancel", {"push_id": row["push_id"]}, confirm="The push is cancelled.", is_danger=True
        )
    ]


async def projects(view: PanelView) -> list[panels.Part]:
    """The projects, and a form for a new one."""
    async with view.db() as db:
        rows = await db.fetch(LISTED, view.customer_id)
    has_token = await view.secrets.info(TOKEN) is not None
    return [
        panels.Table(
            ["Project ID", "Name", "Netlify Site ID", "Updated"],
            [
                [panels.Code(row["project_id"]), row["name"], panels.Code(row["netlify_site_id"]),
                 panels.Time(row["updated_at"])]
                for row in rows
            ],
            empty="No projects yet.",
        ),
        panels.Form(
            "push.project_put",
            [
                panels.Field("projectId", "Project ID", required=True),
                panels.Field("name", "Name"),
                panels.Field("netlifySiteId", "Netlify Site ID", required=True),
            ],
            "Save the project",
        ),
        panels.Notice("good" if has_token else "off", f"A Netlify token is {'set' if has_token else 'not set'}."),
        panels.Form(
            "push.token_set", [panels.Field("token", "Netlify token", "password", required=True)], "Set the token"
        ),
    ]  # fmt: skip


PART = Part(
    panels=[
        Panel(TAB, "Deploys", deploys, place="dashboard", refresh_s=5),
        Panel(TAB, "Projects", projects, place="dashboard"),
    ]
)
