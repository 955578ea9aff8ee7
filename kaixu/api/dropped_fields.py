"""Unknown fields: dropped and reported, or refused, by the lane's `unknown_fields`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Unsupported

UNSUPPORTED_BY_VENDOR = "the vendor of this model has no such feature"
INDEX = re.compile(r"\[\d+\]")
#: The maximum number of names that are reported for one request.
MAX_NAMES = 100


class DroppedFields:
    """Collects the names of dropped fields, each once, without list indices."""

    def __init__(self, deployment: Deployment) -> None:
        self.refuses = deployment.unknown_fields == "refuse"
        self.names: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """See `ChatRequest.dropped`."""
        return tuple(self.names)

    def drop(self, name: str) -> None:
        """Drop a known field that has little effect on the answer."""
        if len(self.names) < MAX_NAMES:
            self.names[INDEX.sub("[]", name)] = None

    def unknown(self, names: Iterable[str]) -> None:
        """Drop fields that the gateway does not know. Raises `Unsupported` if the lane says `unknown_fields: refuse`.

        `unknown_fields: pass` applies only to requests in the lane's own protocol.
        """
        for name in names:
            if self.refuses:
                raise Unsupported(name, UNSUPPORTED_BY_VENDOR)
            self.drop(name)
