"""What a mail says, and its encryption where that holds a secret."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import fill
from uuid import UUID

import msgspec

from .sealing import Sealer


class Content(msgspec.Struct, frozen=True):
    """What a mail says: as text, and for those who prefer it as HTML."""

    text: str
    html: str | None = None


#: Characters of a line of text.
WIDTH = 78


def paragraphs_content(paragraphs: Sequence[str], link: tuple[str, str] | None, foot: str) -> Content:
    """What a mail of plain paragraphs says; `link` is its text and its URL, `foot` says why somebody gets it."""
    texts = [fill(one, WIDTH, break_on_hyphens=False, break_long_words=False) for one in paragraphs]
    marked = [f"<p>{escape(one)}</p>" for one in paragraphs]
    if link is not None:
        text, url = link
        texts.append(f"{text}:\n\n    {url}")
        marked.append(f'<p><a href="{escape(url)}">{escape(text)}</a></p>')
    texts.append(f"-- \n{foot}")
    marked.append(f"<p><small>{escape(foot)}</small></p>")
    return Content("\n\n".join(texts) + "\n", "\n".join(marked) + "\n")


def about_mail(mail_id: UUID) -> str:
    """The purpose for which the content of a mail is encrypted."""
    return f"mail:{mail_id}"


def seal_content(sealer: Sealer, mail_id: UUID, content: Content) -> bytes:
    """Encrypt the content of a mail."""
    return sealer.seal(msgspec.json.encode(content), about_mail(mail_id))


def open_content(sealer: Sealer, mail_id: UUID, sealed: bytes) -> Content:
    """Decrypt the content of a mail. Raises `InvalidTag`."""
    return msgspec.json.decode(sealer.open(sealed, about_mail(mail_id)), type=Content)
