"""What one file of this package adds to the integration."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaixu.plugin import Book, Callback, Job, KeyedCharge, Operation, Panel, Reaction, Schedule, Secret, Webhook


class Part(msgspec.Struct, frozen=True, kw_only=True):
    operations: Sequence[Operation] = ()
    jobs: Sequence[Job] = ()
    schedules: Sequence[Schedule] = ()
    webhooks: Sequence[Webhook] = ()
    callbacks: Sequence[Callback] = ()
    secrets: Sequence[Secret] = ()
    books: Sequence[Book] = ()
    charges: Sequence[KeyedCharge] = ()
    reactions: Sequence[Reaction] = ()
    panels: Sequence[Panel] = ()
