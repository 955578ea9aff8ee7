"""Send mails from the outbox in the database: at least once, with retries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from email.message import EmailMessage

import asyncpg
from cryptography.exceptions import InvalidTag

from kaixu.config.mail_section import MailSection
from kaixu.ops.finish import finish
from kaixu.ops.mail_content import Content, open_content
from kaixu.ops.mail_health import MailHealth
from kaixu.ops.sealing import Sealer
from kaixu.plugin.errors import KaixuError
from kaixu.store.mail import DueMail, claim_mails, give_up_late_mails, record_failed, record_sent
from kaixu.store.pool import database

from .mail_message import BadMail, File, mail_message
from .smtp import NotSent, send

log = logging.getLogger(__name__)

#: The pauses after failed attempts, 27 hours in all. After the last attempt, the mail is given up.
PAUSES_S = (30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 43_200.0)

#: Mails that one gateway sends at once.
AT_ONCE = 5

#: What a mail may take besides the conversation with the server: its attachments and its record.
MARGIN_S = 60.0

#: Makes an attachment from its id. Raises `KaixuError` where it cannot be made.
MakeFile = Callable[[int], Awaitable[File]]


class MailSender:
    """One gateway's delivery of mails. `section` is asked in each round; None: mails wait."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        sealer: Sealer,
        section: Callable[[], MailSection | None],
        files: Mapping[str, MakeFile],
        health: MailHealth | None = None,
    ) -> None:
        self.pool = pool
        self.sealer = sealer
        self.section = section
        self.files = files
        self.health = health or MailHealth()

    async def round(self) -> None:
        """Send all mails that are due, a few at a time. Raises `DatabaseAway`."""
        while (section := self.section()) is not None:
            with database():
                due = await claim_mails(self.pool, lease_s=section.timeout_s + MARGIN_S, most=AT_ONCE)
            # One that cannot be recorded must not end the others. A gateway that stops sends these to their end, if
            # that does not take too long: a mail that was sent and not recorded is sent again.
            ends = await finish(asyncio.gather(*(self.attempt(section, mail) for mail in due), return_exceptions=True))
            for end in ends:
                if end is not None:
                    raise end
            if len(due) < AT_ONCE:
                return
        self.health.failure = None

    async def give_up_late(self) -> None:
        """End mails that are of no use any more. Raises `DatabaseAway`."""
        with database():
            await give_up_late_mails(self.pool)

    async def attempt(self, section: MailSection, mail: DueMail) -> None:
        """One attempt at one mail, and its record."""
        try:
            await send(section, await self.message(section, mail))
        except NotSent as error:
            failure, is_final = str(error), error.is_final
            if not error.is_final:
                self.health.failure = failure
        except BadMail as error:
            failure, is_final = str(error), True
        except InvalidTag:
            failure, is_final = "it was encrypted with another DB_ENCRYPTION_KEY", True
        except KaixuError as error:
            failure, is_final = f"its attachment could not be made: {error.code}", False
        else:
            self.health.failure = None
            with database():
                await record_sent(self.pool, mail)
            return
        retry_in_s = None if is_final or mail.attempt > len(PAUSES_S) else PAUSES_S[mail.attempt - 1]
        with database():
            await record_failed(self.pool, mail, error=failure, retry_in_s=retry_in_s)
        outlook = "given up" if retry_in_s is None else f"next attempt in {retry_in_s:g} s"
        log.warning("mail %s (%s) was not sent, attempt %d, %s: %s", mail.id, mail.kind, mail.attempt, outlook, failure)

    async def message(self, section: MailSection, mail: DueMail) -> EmailMessage:
        """The message of a mail. Raises `BadMail`, `InvalidTag`, and `KaixuError` for an attachment."""
        if mail.sealed is not None:
            content = open_content(self.sealer, mail.id, mail.sealed)
        else:
            content = Content(mail.body_text or "", mail.body_html)
        files = [await self.file(one) for one in mail.attachments]
        return mail_message(
            section,
            mail_id=mail.id,
            recipient=mail.recipient,
            subject=mail.subject,
            content=content,
            files=files,
            created_at=mail.created_at,
        )

    async def file(self, attachment: Mapping[str, object]) -> File:
        """Make an attachment. Raises `BadMail` for an unknown kind."""
        make, number = self.files.get(str(attachment.get("kind"))), attachment.get("id")
        if make is None or not isinstance(number, int):
            raise BadMail("nothing makes its attachment")
        return await make(number)
