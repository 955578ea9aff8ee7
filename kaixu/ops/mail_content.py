"""What a mail says, and its encryption where that holds a secret."""

from __future__ import annotations

from uuid import UUID

import msgspec

from .sealing import Sealer


class Content(msgspec.Struct, frozen=True):
    """What a mail says: as text, and for those who prefer it as HTML."""

    text: str
    html: str | None = None


def about_mail(mail_id: UUID) -> str:
    """The purpose for which the content of a mail is encrypted."""
    return f"mail:{mail_id}"


def seal_content(sealer: Sealer, mail_id: UUID, content: Content) -> bytes:
    """Encrypt the content of a mail."""
    return sealer.seal(msgspec.json.encode(content), about_mail(mail_id))


def open_content(sealer: Sealer, mail_id: UUID, sealed: bytes) -> Content:
    """Decrypt the content of a mail. Raises `InvalidTag`."""
    return msgspec.json.decode(sealer.open(sealed, about_mail(mail_id)), type=Content)
