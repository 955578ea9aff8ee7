"""What jobs have beyond operations: pauses, a view of their state, and the call that handles their failure."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar
from uuid import UUID

import msgspec

if TYPE_CHECKING:
    from kaixu.plugin.database import Database

Payload = TypeVar("Payload", covariant=True)

JobStatus = Literal["queued", "waiting", "blocked", "running", "succeeded", "failed", "cancelled"]

#: The longest pause of a job.
MOST_PAUSE_S = 30 * 24 * 3600.0


class Again(Exception):
    """Raised by the handler of a job: run it again after `after_s` seconds, such as to ask a vendor once more.

    The pause takes no attempt, no worker and no hold of money, and what was counted so far is not billed. Raises
    `ValueError` for a pause that is negative or longer than 30 days.
    """

    def __init__(self, after_s: float) -> None:
        if not 0 <= after_s <= MOST_PAUSE_S:
            raise ValueError(f"a job can pause from 0 to {MOST_PAUSE_S:.0f} s, not {after_s}")
        super().__init__(f"again after {after_s:g} s")
        self.after_s = after_s


class JobView(msgspec.Struct, frozen=True):
    """The state of a job. `status` is "waiting" after `Again`, and "blocked" while there is no room under a cap.

    `attempts` counts those that have failed; `next_at` is when a job that does not run is tried next; `error` is the
    code of its last error; `done` and `of` are its progress.
    """

    status: JobStatus
    attempts: int
    next_at: datetime | None = None
    error: str | None = None
    done: int | None = None
    of: int | None = None


class FailedCall(Protocol, Generic[Payload]):
    """What `on_failed` of a job gets. It has no wire, and nothing is billed."""

    @property
    def body(self) -> Payload:
        """The payload of the job."""
        ...

    @property
    def options(self) -> Any: ...

    @property
    def customer_id(self) -> int | None: ...

    @property
    def key_id(self) -> int | None: ...

    @property
    def request_id(self) -> str: ...

    @property
    def job_id(self) -> UUID: ...

    @property
    def attempt(self) -> int:
        """How many attempts were made."""
        ...

    @property
    def error(self) -> str:
        """The code of the last error; "JOB_CANCELLED", "JOB_LOST" or "JOB_EXPIRED" where it was not the handler's."""
        ...

    def db(self) -> AbstractAsyncContextManager[Database]:
        """The one transaction of this call: it is committed after the handler has returned, or not at all."""
        ...
