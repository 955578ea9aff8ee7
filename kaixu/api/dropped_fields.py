"""Fields that the plugin contract does not have: dropped and reported, or refused, by the lane's `unknown_fields`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Unsupported

NO_SUCH_FEATURE = "the vendor of this model has no such feature"
INDEX = re.compile(r"\[\d+\]")
#: At most this many names are reported for one request.
MAX_NAMES = 100


class DroppedFields:
    """Collects the names of dropped fields, each once, without indices of lists."""

    def __init__(self, deployment: Deployment) -> None:
        self.refuses = deployment.unknown_fields == "refuse"
        self.names: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """See `ChatRequest.dropped`."""
        return tuple(self.names)

    def drop(self, name: str) -> None:
        """Drop a known field that does not matter much to the answer."""
        if len(self.names) < MAX_NAMES:
            self.names[INDEX.sub("[]", name)] = None

    def unknown(self, names: Iterable[str]) -> None:
        """Drop fields that the gateway does not know. Raises `Unsupported` if the lane says `unknown_fields: refuse`.

        With `unknown_fields: pass` they are passed on only in requests of the lane's own protocol.
        """
        for name in names:
            if self.refuses:
                raise Unsupported(name, NO_SUCH_FEATURE)
            self.drop(name)
