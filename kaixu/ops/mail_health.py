"""Whether this process can send mails, as its last attempt saw it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MailHealth:
    """`failure`: why the server takes no mail at all; None: it does, or nothing was tried."""

    failure: str | None = None
