"""A test alert to every receiver at once, past the outbox: who got it, and what failed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import time
from uuid import uuid4

import aiohttp
import msgspec

from kaixu.config.mail_section import MailSection
from kaixu.ops.instants import iso_instant
from kaixu.ops.mail_content import Content

from .alert_receivers import AlertReceivers, WebhookReceiver
from .mail_message import BadMail, mail_message
from .smtp import NotSent, send
from .webhook_sender import TIMEOUT_S
from .webhook_signing import alert_headers

TEXT = "This is a test alert of the kAIxU Gateway.\n"


class TestResult(msgspec.Struct, frozen=True):
    """What happened at one receiver. `error`: None, it has taken the alert."""

    __test__ = False

    receiver: str
    error: str | None


async def send_test_alert(receivers: AlertReceivers) -> list[TestResult]:
    """Send a test alert to all of the operator's webhooks and addresses."""
    section, mail = receivers.section, receivers.current.mail
    webhooks = [test_webhook(one) for one in receivers.webhooks()]
    mails = [test_mail(mail, address) for address in dict.fromkeys(section.mail)]
    return list(await asyncio.gather(*webhooks, *mails))


async def test_webhook(receiver: WebhookReceiver) -> TestResult:
    """A signed test alert to one webhook."""
    now = iso_instant(datetime.now(UTC))
    body = msgspec.json.encode({"type": "TEST", "created_at": now})
    headers = alert_headers(receiver.key, uuid4(), int(time()), body)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as http,
            http.post(receiver.url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            error = None if 200 <= response.status < 300 else f"it answered {response.status}"
    except TimeoutError:
        error = f"it did not answer within {TIMEOUT_S:g} s"
    except aiohttp.ClientError as problem:
        error = f"no connection ({type(problem).__name__})"  # its text holds the URL, which may be a secret
    return TestResult(receiver.name, error)


async def test_mail(section: MailSection | None, address: str) -> TestResult:
    """A test mail to one address."""
    if section is None:
        return TestResult(address, "kaixu.yaml has no section `mail:`, so no mail is sent")
    try:
        message = mail_message(
            section,
            mail_id=uuid4(),
            recipient=address,
            subject="Test alert of the kAIxU Gateway",
            content=Content(TEXT),
            created_at=datetime.now(UTC),
        )
        await send(section, message)
    except (BadMail, NotSent) as problem:
        return TestResult(address, str(problem))
    return TestResult(address, None)
