"""`gateway.database` of kaixu.yaml: connections and time limits for each kind of work."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: Connections besides the pools, opened when needed: to build indexes, and to remove deleted collections.
MAINTENANCE = 2


def no_boolean(value: object) -> object:
    """Refuse true and false, which Python treats as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Whole = Annotated[int, BeforeValidator(no_boolean)]
Seconds = Annotated[float, BeforeValidator(no_boolean)]


class DatabaseSection(BaseModel):
    """The connections of one gateway process to Postgres; read at start only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    money: Whole = Field(default=4, ge=2, le=200, description="connections for admission and settlement only")
    general: Whole = Field(
        default=8,
        ge=2,
        le=200,
        description="connections for everything that has no pool of its own: jobs, keys, storing",
    )
    searches: Whole = Field(
        default=4, ge=1, le=200, description="connections for searches, exports and lists of documents"
    )
    reports: Whole = Field(default=2, ge=1, le=200, description="connections for operators' lists and reports")
    integration: Whole = Field(
        default=8,
        ge=1,
        le=50,
        description="connections of each integration with tables, opened when needed; further transactions wait",
    )
    search_s: Seconds = Field(
        default=5.0,
        gt=0,
        le=120,
        description="time limit of one statement of a search, an export or a list, in seconds",
    )
    report_s: Seconds = Field(
        default=10.0, gt=0, le=600, description="time limit of one statement of a report, in seconds"
    )
    searches_per_customer: Whole = Field(
        default=16,
        ge=1,
        le=10_000,
        description="searches and exports of one customer at the same time, running or waiting; more get 429",
    )

    @property
    def connections(self) -> int:
        """The maximum number of connections of one process."""
        return self.money + self.general + self.searches + self.reports + MAINTENANCE
