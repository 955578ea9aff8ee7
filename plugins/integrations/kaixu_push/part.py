"""What each file of this package adds to the integration."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaixu.plugin import Job, Operation, Panel, Secret


class Part(msgspec.Struct, frozen=True):
    """A part of the integration."""

    operations: Sequence[Operation] = ()
    jobs: Sequence[Job] = ()
    panels: Sequence[Panel] = ()
    secrets: Sequence[Secret] = ()
