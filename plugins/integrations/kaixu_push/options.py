"""What operators set: the section `push:` of kaixu.yaml, and the settings of each customer."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field, SecretStr, field_validator

from kaixu.plugin import Options, WireUrl


class PushOptions(Options):
    """The section `push:`."""

    api_url: WireUrl = Field(default="https://api.netlify.com/api/v1", description="Netlify's API")
    netlify_token: SecretStr | None = Field(
        default=None,
        description="the operator's own token, for customers without one; only for the sites that an operator put on "
        "the customer's list",
    )
    deploys_per_minute: int = Field(default=3, ge=1, le=1000, description="deploys of a customer in a minute")
    deploys_per_day: int = Field(default=100, ge=1, le=100_000, description="deploys of a customer in a day (UTC)")
    most_files: int = Field(default=20_000, ge=1, le=54_000, description="files of a push")
    most_push_bytes: int = Field(default=10 * 2**30, ge=1, description="bytes of a push")
    most_file_bytes: int = Field(default=4 * 2**30, ge=1, description="bytes of a file")
    upload_tries: int = Field(default=3, ge=1, le=10, description="how often a job sends a file before it pauses")
    attempts: int = Field(default=10, ge=1, le=100, description="how often a job sends a file at most, with pauses")
    claim_s: float = Field(
        default=60.0, ge=1, le=600, description="how long a file stays with a request whose gateway has died"
    )
    first_wait_s: float = Field(
        default=0.75, gt=0, le=60, description="the first pause of a failed upload; then doubled"
    )
    most_wait_s: float = Field(default=300.0, gt=0, le=3600, description="the longest such pause")
    first_look_s: float = Field(default=2.0, gt=0, le=60, description="the pause before a deploy is looked at again")
    most_look_s: float = Field(default=60.0, gt=0, le=600, description="the longest such pause")
    prepare_s: float = Field(
        default=60.0, gt=0, le=60, description="how long a new push waits for what Netlify requires"
    )
    complete_s: float = Field(
        default=120.0, gt=0, le=120, description="how long a client may wait for the end of a push"
    )
    push_hours: float = Field(default=48.0, gt=0, le=168, description="when a push without an end is given up")
    retention_hours: float = Field(
        default=48.0, gt=0, le=720, description="how long parts of files wait for the others"
    )

    @field_validator("netlify_token")
    @classmethod
    def is_set(cls, value: SecretStr | None) -> SecretStr | None:
        """An empty token is none."""
        return value if value is not None and value.get_secret_value().strip() else None


class PushCustomer(msgspec.Struct):
    """The settings of a customer."""

    cap: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=10_000_000)] | None,
        msgspec.Meta(title="Cap", description="USD a month for pushes; empty: none"),
    ] = None
    pricing_version: Annotated[
        str, msgspec.Meta(title="Price list", description="one of `price_versions`; empty: `price`")
    ] = ""
    allowed_sites: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=253)]],
        msgspec.Meta(
            max_length=1000,
            title="Sites of the operator",
            description="sites that this customer may publish to with the operator's token",
        ),
    ] = []
