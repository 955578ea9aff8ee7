"""What one file of this package adds to the integration."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaixu.plugin import Job, Operation, Schedule, Secret, Webhook


class Part(msgspec.Struct, frozen=True, kw_only=True):
    operations: Sequence[Operation] = ()
    jobs: Sequence[Job] = ()
    schedules: Sequence[Schedule] = ()
    webhooks: Sequence[Webhook] = ()
    secrets: Sequence[Secret] = ()
