"""The root of the error tree, and the two errors that only plugins cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KaixuError(Exception):
    """An error that a client may see: HTTP status, code, message, hint, and the `field` that is wrong, if one is."""

    status = 500
    code = "INTERNAL"

    #: Numbers that the error body shows beside the message, by name; of a `Failure` any plain values.
    figures: Mapping[str, Any] = {}

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: int | None = None,
        code: str | None = None,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.field = field


class TicketClosed(KaixuError):
    """The call has been settled; its wire and database are closed."""

    code = "TICKET_CLOSED"


class PluginError(Exception):
    """A plugin cannot be loaded or registered. Raised at start only; names the plugin."""
