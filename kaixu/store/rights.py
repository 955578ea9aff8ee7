"""What a call of an integration may do beyond its own tables."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kaixu.ops.sealing import Sealer
from kaixu.plugin.money import Grant
from kaixu.plugin.operation import Integration

from .jobs import NewJob


class Reach(msgspec.Struct, frozen=True):
    """What a call needs to do something for customers.

    `actor`: who makes changes, in the audit log. `lent_secrets`: those that the call has used. `sends_mail`: whether
    the gateway sends any, now. `public_url`: where browsers reach it.
    """

    integration: Integration
    sealer: Sealer
    actor: str
    lent_secrets: set[str]
    sends_mail: Callable[[], bool]
    public_url: str | None = None


class Rights(msgspec.Struct, frozen=True):
    """What a call of an integration may do beyond its own tables: its customer, and what the operator has granted.

    `about`: the customer that an operator's call is about, whose jobs are not the call's. `free_jobs`: the jobs that
    need no key to be billed to. `reach`: what it needs to do something for customers.
    """

    integration: str
    customer_id: int | None = None
    about: int | None = None
    grants: frozenset[Grant] = frozenset()
    request_id: str = ""
    free_jobs: frozenset[str] = frozenset()
    reach: Reach | None = None

    def require(self, grant: Grant) -> None:
        """Raises `ValueError` where something was not granted: a mistake of the plugin, which can declare it."""
        if grant not in self.grants:
            raise ValueError(f"integration `{self.integration}` does not declare the grant `{grant}`")

    def require_customer(self, customer_id: int) -> None:
        """Require that the call may be about a customer: its own one, or any with the grant. Raises `ValueError`."""
        if customer_id not in (self.customer_id, self.about):
            self.require("customers")

    def customer_for(self, customer_id: int | None) -> int:
        """Whom something is done for: by default the call's customer. Raises `ValueError`."""
        if customer_id is None:
            customer_id = self.customer_id or self.about
            if customer_id is None:
                raise ValueError("this call has no customer")
        elif isinstance(customer_id, bool) or not isinstance(customer_id, int) or not 0 < customer_id < 2**63:
            raise ValueError(f"there can be no customer {customer_id!r:.40}")
        self.require_customer(customer_id)
        return customer_id

    def job_named(self, name: str) -> str:
        """Check that the integration has this job. Raises `ValueError`."""
        jobs = () if self.reach is None else self.reach.integration.jobs
        if name not in {one.name for one in jobs}:
            raise ValueError(f"integration `{self.integration}` has no job `{name}`")
        return name

    def job_for(self, customer_id: int | None, job: NewJob) -> NewJob:
        """The job for another customer than the call's, without a key. Raises `ValueError`."""
        if customer_id is None or customer_id == self.customer_id:
            return job
        self.require_customer(customer_id)
        if job.kind not in self.free_jobs:
            raise ValueError(f"job `{job.kind}` has a price, and there is no key that it could be billed to")
        return msgspec.structs.replace(
            job, customer_id=customer_id, key_id=None, install_id=None, app_id=None, build_id=None
        )
