"""The section `platforms:` of kaixu.yaml: the other surfaces that belong to this gateway."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .values import Duration, FieldName, Section
from .web_address import LaunchAddress, WebAddress

#: Where a surface keeps its data.
StorageMode = Literal["gateway-metrics", "gateway-functions", "platform-state", "dedicated-mail-tables"]

AppId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class SurfaceSection(Section):
    """One surface; its key is its app id, as clients send it in `x-kaixu-app`."""

    title: str = Field(min_length=1, max_length=200, description="its name for people")
    launch_url: LaunchAddress = Field(description="where it opens: a path of this gateway, or an address")
    gateway_tab: FieldName | None = Field(default=None, description="the tab of the admin page that is about it")
    description: str = Field(default="", max_length=1000, description="what it is")
    storage_mode: StorageMode = Field(
        default="gateway-functions",
        description="where its data is: `gateway-metrics` (the gateway's own figures), `gateway-functions` (it calls "
        "the gateway's functions), `platform-state` (a document in the gateway, see `admin-platform-state`), "
        "`dedicated-mail-tables` (tables of its own)",
    )
    visibility: Literal["public", "admin"] = Field(default="admin", description="who it is for")
    health_url: WebAddress | None = Field(
        default=None, description="an address that answers 200 while it is well; default: it is not checked"
    )
    summary_fields: list[FieldName] = Field(
        default=[],
        max_length=20,
        description="the fields of its document that its summary shows; of a list, the length (platform-state)",
    )


class PlatformsSection(Section):
    """The other surfaces that belong to this gateway."""

    backup_model: str | None = Field(
        default=None,
        min_length=3,
        max_length=300,
        description="the model that stands in for others, as `lane/model`: the admin page shows whether it is ready",
    )
    check_every: Duration = Field(
        default=60, ge=10, le=86_400, description="how often `health_url` and the station's brain are looked at"
    )
    private_redirects: bool = Field(
        default=False, description="true: what is checked may redirect to private addresses, too"
    )
    surfaces: dict[AppId, SurfaceSection] = Field(
        default={}, max_length=50, description="the surfaces, by their app ids"
    )
