"""What replies say of projects, pushes and files: names and order of the fields as clients know them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec


class Project(msgspec.Struct):
    project_id: str
    name: str
    netlify_site_id: str
    created_at: str
    updated_at: str


class AdminProject(msgspec.Struct):
    id: int
    project_id: str
    name: str
    netlify_site_id: str
    created_at: str
    updated_at: str


class PushView(msgspec.Struct):
    push_id: str
    branch: str
    title: str
    deploy_id: str | None
    state: str
    url: str | None
    error: str | None
    required_digests: list[str]
    uploaded_digests: list[str]
    created_at: str
    updated_at: str


class FileView(msgspec.Struct):
    sha1: str
    deploy_path: str | None
    parts: int
    received_parts: list[int]
    status: str
    error: str | None
    created_at: str | None
    updated_at: str | None


def written(at: datetime) -> str:
    """A time in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def written_or_none(at: datetime | None) -> str | None:
    """The same, of a time that may be missing."""
    return None if at is None else written(at)


def project_of(row: Mapping[str, Any]) -> Project:
    """A project as customers see it."""
    return Project(
        row["project_id"], row["name"], row["netlify_site_id"], written(row["created_at"]), written(row["updated_at"])
    )


def admin_project_of(row: Mapping[str, Any]) -> AdminProject:
    """A project as operators see it."""
    return AdminProject(
        row["id"],
        row["project_id"],
        row["name"],
        row["netlify_site_id"],
        written(row["created_at"]),
        written(row["updated_at"]),
    )
