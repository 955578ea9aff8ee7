"""What operators decide about pushes to GitHub: in kaixu.yaml, and for each customer."""

from __future__ import annotations

from typing import Literal

import msgspec
from pydantic import Field, SecretStr

from kaixu.plugin import Options, WireUrl

MIB = 1 << 20

#: GitHub refuses larger files.
MOST_FILE_BYTES = 100 * MIB


class GitHubOptions(Options):
    """The section `github` of kaixu.yaml."""

    client_id: str = Field(default="", description="of the OAuth app; without it customers connect by token only")
    client_secret: SecretStr = Field(default=SecretStr(""), description="of the OAuth app")
    redirect_url: str | None = Field(
        default=None, description="where GitHub sends browsers back; default: `github-oauth-callback` below GATEWAY_URL"
    )
    api_base: WireUrl = Field(
        default="https://api.github.com", description="the REST API; of GitHub Enterprise: …/api/v3"
    )
    web_base: WireUrl = Field(default="https://github.com", description="pages, OAuth and git")
    api_version: str = Field(
        default="2022-11-28", description="sent as X-GitHub-Api-Version", pattern=r"^[0-9-]{1,20}$"
    )
    transport: Literal["auto", "git", "rest"] = Field(
        default="auto",
        description="how commits are sent: by git's own protocol, by REST, or by REST where git is not reachable",
    )
    most_files: int = Field(default=3000, ge=1, le=20_000, description="files in a ZIP")
    most_total_bytes: int = Field(default=100 * MIB, ge=1, le=1024 * MIB, description="of all files, unpacked")
    most_file_bytes: int = Field(default=10 * MIB, ge=1, le=MOST_FILE_BYTES, description="of one file, unpacked")
    most_zip_bytes: int = Field(default=100 * MIB, ge=1, le=1024 * MIB, description="of a ZIP")
    attempts: int = Field(default=10, ge=1, le=10, description="how often a push is tried where GitHub fails")
    most_limits: int = Field(default=20, ge=0, le=100, description="how often a push waits for GitHub's limits")
    write_pause_s: float = Field(default=1.0, ge=0, le=10, description="between two writes by REST, as GitHub asks for")
    retention_hours: float = Field(default=48, gt=0, le=24 * 14, description="how long an upload may rest unfinished")


class GitHubCustomer(msgspec.Struct):
    """The settings of one customer."""

    cap: float | None = None  # USD a month; null: none
    may_force: bool = False  # whether a push may drop commits that came in between
    price_list: str = ""
