"""Mails of an integration to a customer: plain values, which the core puts into its own template."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaixu.plugin.encoded_reply import require_address
from kaixu.plugin.replies import PageLink

#: Characters of a subject, a paragraph, a key, a link's text and its address; paragraphs of a mail.
MOST_SUBJECT = 150
MOST_PARAGRAPH = 2000
MOST_PARAGRAPHS = 20
MOST_KEY = 200
MOST_LINK_TEXT = 100
MOST_URL = 2000

#: The most mails of one transaction, and those of one integration to one customer in a day.
MOST_IN_TRANSACTION = 20
MOST_A_DAY = 20


class MailRequest(msgspec.Struct, frozen=True):
    """A mail to be sent with its transaction, once for its key."""

    subject: str
    paragraphs: tuple[str, ...]
    key: str
    link: PageLink | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything in it that somebody reads."""
        return (self.subject, *self.paragraphs, *(() if self.link is None else (self.link.text, self.link.url)))


def mail_request(subject: str, paragraphs: Sequence[str], *, key: str, link: PageLink | None) -> MailRequest:
    """A mail as an integration asks for it. Raises `TypeError`, `ValueError`: mistakes of the plugin."""
    text_of("subject", subject, MOST_SUBJECT)
    text_of("key", key, MOST_KEY)
    if isinstance(paragraphs, str) or not isinstance(paragraphs, Sequence):
        raise TypeError("`paragraphs` of a mail must be a list of texts")
    if not 0 < len(paragraphs) <= MOST_PARAGRAPHS:
        raise ValueError(f"a mail has 1 to {MOST_PARAGRAPHS} paragraphs")
    for one in paragraphs:
        text_of("paragraphs", one, MOST_PARAGRAPH)
    if link is not None:
        if not isinstance(link, PageLink):
            raise TypeError("`link` of a mail must be a PageLink")
        text_of("link.text", link.text, MOST_LINK_TEXT)
        text_of("link.url", link.url, MOST_URL)
        require_address(link.url)
    return MailRequest(subject, tuple(paragraphs), key, link)


def text_of(name: str, value: object, most: int) -> None:
    """Check one text: a single line. Raises `ValueError`."""
    if not isinstance(value, str) or not value.strip() or len(value) > most or not value.isprintable():
        raise ValueError(f"`{name}` of a mail must be texts of 1 to {most} printable characters, without line breaks")
