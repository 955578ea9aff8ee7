"""The role that a key needs to read a job's result, or to cancel the job."""

from __future__ import annotations

from kaixu.catalog.catalog import Catalog
from kaixu.metering.gate import RANKS
from kaixu.plugin.access import Rank
from kaixu.store.job_rows import JobRow


def result_role(catalog: Catalog, job: JobRow) -> Rank:
    """The lowest role that is enough, whichever operation of an integration has submitted the job.

    That operation is not stored. Its role is at most that of the key which called it, and at most the highest of the
    integration's operations. Any key may submit a job that calls a model, so any key of the customer may read it.
    """
    if job.kind in ("chat", "embed") or job.key_role is None:
        return "viewer"
    roles: list[Rank] = [
        one.rank for state, one in catalog.operations.values() if state.name == job.provider and one.rank
    ]
    highest: Rank = max(roles, key=RANKS.index, default="owner")  # without operations: it is off, or was removed
    return min(highest, job.key_role, key=RANKS.index)
