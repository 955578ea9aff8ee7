"""The message of a mail: its headers, its parts, its attachments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from uuid import UUID

import msgspec

from kaixu.config.addresses import ascii_domain, mail_address
from kaixu.config.mail_section import MailSection
from kaixu.ops.mail_content import Content


class File(msgspec.Struct, frozen=True):
    """An attachment. `media_type` has two parts: `application/pdf`."""

    name: str
    media_type: str
    data: bytes


class BadMail(Exception):
    """A mail that no server would take. The message says why, without the address."""


def mail_message(
    section: MailSection,
    *,
    mail_id: UUID,
    recipient: str,
    subject: str,
    content: Content,
    files: Sequence[File] = (),
    created_at: datetime,
) -> EmailMessage:
    """The message to send. Two attempts at one mail have the same Message-ID and the same date.

    Raises `BadMail` for a recipient or a subject that a header cannot hold: nothing can be put into the headers by
    them.
    """
    try:
        username, _, domain = mail_address(recipient).rpartition("@")
        to = Address(username=username, domain=ascii_domain(domain))
        message = EmailMessage(policy=policy.SMTP if username.isascii() else policy.SMTPUTF8)
        message["From"] = Address(section.sender_name, addr_spec=section.sender_address)
        message["To"] = to
        message["Subject"] = subject
    except (ValueError, IndexError, MessageError):
        raise BadMail("its recipient or its subject cannot be written into a header") from None
    if section.reply_to is not None:
        message["Reply-To"] = Address(addr_spec=section.reply_to)
    message["Date"] = created_at
    message["Message-ID"] = f"<{mail_id}@{section.sender_address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers to it
    message.set_content(content.text)
    if content.html is not None:
        message.add_alternative(content.html, subtype="html")
    for file in files:
        kind, _, subtype = file.media_type.partition("/")
        message.add_attachment(file.data, maintype=kind, subtype=subtype, filename=file.name)
    return message
