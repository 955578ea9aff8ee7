"""Projects of a customer: a name of its own for a site at Netlify, and the limits of its pushes."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from kaixu.plugin import Body, Call, Database, Failure, Free, Key, NotFound, Operation, Path

from .errors import bad
from .netlify import Netlify
from .options import PushOptions
from .part import Part
from .paths import site_of, text_of
from .shapes import Project, project_of
from .tokens import FREE, TOKEN, Nothing

UPSERT = """
    insert into project (customer_id, project_id, name, netlify_site_id) values ($1, $2, $3, $4)
    on conflict (customer_id, project_id) do update
       set name = excluded.name, netlify_site_id = excluded.netlify_site_id, updated_at = now()
    returning id, project_id, name, netlify_site_id, created_at, updated_at
"""
LISTED = """
    select id, project_id, name, netlify_site_id, created_at, updated_at from project
     where customer_id = $1 order by created_at desc, id desc limit 500
"""

#: Characters of a project's id, and of its name.
MOST_ID = 200
MOST_NAME = 120


class NewProject(msgspec.Struct):
    project_id: Annotated[Any, Body("projectId", "project_id")] = None
    netlify_site_id: Annotated[Any, Body("netlifySiteId", "netlify_site_id")] = None
    name: Annotated[Any, Body("name")] = None


class Projects(msgspec.Struct):
    projects: list[Project]


class OneProject(msgspec.Struct):
    project: Project


class Named(msgspec.Struct):
    project_id: Annotated[str, Path("project_id", "projectId")] = ""


class Limits(msgspec.Struct):
    """What a push to a project may have at most."""

    project_id: str
    most_files: int
    most_bytes: int
    most_file_bytes: int


async def listed(call: Call[Nothing]) -> Projects:
    """The customer's projects, the newest first."""
    async with call.db() as db:
        rows = await db.fetch(LISTED, call.customer_id)
    return Projects([project_of(row) for row in rows])


async def put(call: Call[NewProject]) -> OneProject:
    """Make a project, or change it. Raises `Failure` for a site that the customer may not publish to."""
    project_id, site = text_of(call.body.project_id, MOST_ID), text_of(call.body.netlify_site_id, 300)
    if not project_id:
        raise bad("Missing projectId")
    if not site:
        raise bad("Missing netlifySiteId")
    if site_of(site) is None:
        raise bad("Invalid netlifySiteId")
    await require_site(call, site)
    async with call.db() as db:
        row = await upsert(db, call.customer_id, project_id, text_of(call.body.name, MOST_NAME, project_id), site)
        await db.audit("PUSH_PROJECT_UPSERT", after={"project": project_id, "site": site})
    return OneProject(project_of(row))


async def upsert(db: Database, customer_id: int | None, project_id: str, name: str, site: str) -> Any:
    """The project's row, made or changed."""
    return await db.fetchrow(UPSERT, customer_id, project_id, name[:MOST_NAME], site)


async def require_site(call: Call[Any], site: str) -> None:
    """Raises `Failure` 403 unless the customer's own token reaches the site, or an operator has put it on the list."""
    if site in (await call.settings()).allowed_sites:
        return
    own = await call.secrets.get(TOKEN)
    if own is None or not await Netlify(call, own).has_site(site):
        raise Failure(
            403,
            "SITE_NOT_ALLOWED",
            "This site is not yours",
            hint="Set a Netlify token that reaches it, or ask your operator to put it on your list.",
        )


async def limits(call: Call[Named]) -> Limits:
    """What a push to a project may have, for a client that looks before it sends."""
    options: PushOptions = call.options
    async with call.db() as db:
        row = await db.fetchrow(
            "select project_id, most_files, most_bytes from project where customer_id = $1 and project_id = $2",
            call.customer_id,
            call.body.project_id,
        )
    if row is None:
        raise NotFound("Project not found for this customer")
    return Limits(
        row["project_id"],
        min(options.most_files, row["most_files"] or options.most_files),
        min(options.most_push_bytes, row["most_bytes"] or options.most_push_bytes),
        options.most_file_bytes,
    )


PART = Part(
    operations=[
        Operation(
            "push.projects", listed, Nothing, FREE, method="GET", path="/projects", aliases=["push-projects"],
            admission="key",
        ),
        Operation(
            "push.project_put", put, NewProject, FREE, path="/projects", aliases=["push-projects"], auth=Key("admin"),
            admission="key",
        ),
        Operation(
            "push.project_limits", limits, Named, Free("reads limits"), method="GET",
            path="/projects/{project_id}/limits", admission="key",
        ),
    ]
)  # fmt: skip
