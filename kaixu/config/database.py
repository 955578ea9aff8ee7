"""`gateway.database` of kaixu.yaml: how many connections each kind of work has, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: Connections that a gateway opens now and then besides its pools: to build indexes, to remove deleted collections.
MAINTENANCE = 2


def no_boolean(value: object) -> object:
    """Refuse true and false, which Python would take for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Whole = Annotated[int, BeforeValidator(no_boolean)]
Seconds = Annotated[float, BeforeValidator(no_boolean)]


class DatabaseSection(BaseModel):
    """The connections of one gateway process to Postgres; read at start only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    money: Whole = Field(
        default=4, ge=2, le=200, description="connections for admission and settlement, which nothing else can take"
    )
    general: Whole = Field(
        default=8, ge=2, le=200, description="connections for everything without a pool of its own: jobs, keys, storing"
    )
    searches: Whole = Field(
        default=4, ge=1, le=200, description="connections for searches, exports and lists of documents"
    )
    reports: Whole = Field(default=2, ge=1, le=200, description="connections for the lists and figures of operators")
    search_s: Seconds = Field(
        default=5.0,
        gt=0,
        le=120,
        description="the longest that one statement of a search, an export or a list may take, in seconds",
    )
    report_s: Seconds = Field(
        default=10.0, gt=0, le=600, description="the longest that one statement of a report may take, in seconds"
    )
    searches_per_customer: Whole = Field(
        default=16,
        ge=1,
        le=10_000,
        description="searches and exports of one customer at one time, running or waiting; beyond it 429 at once",
    )

    @property
    def connections(self) -> int:
        """The most that one process opens."""
        return self.money + self.general + self.searches + self.reports + MAINTENANCE
