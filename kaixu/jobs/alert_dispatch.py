"""Hands raised alerts to the outboxes of their receivers: each once, whichever gateway is first."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import asyncpg
import msgspec

from kaixu.config.addresses import mail_address
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.reports.alert_messages import CUSTOMER_TYPES, Words, alert_json, level_of
from kaixu.store.alerts import (
    AlertMail,
    Delivery,
    RaisedAlert,
    claim_alerts,
    mailed_lately,
    queue_deliveries,
    queue_mails,
)
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .alert_receivers import AlertReceivers

log = logging.getLogger(__name__)

#: Mails about alerts to one address in an hour, about: gateways that dispatch at the same time count for themselves.
MOST_MAILS = 60
MORE = "This is the last mail for now: there were very many alerts within an hour. See `kaixu alerts list`.\n"

#: Alerts in one transaction.
AT_ONCE = 50


class AlertDispatch:
    """One gateway's dispatch. An alert is taken and its webhooks and mails are queued in one transaction."""

    def __init__(self, pool: asyncpg.Pool, monitor: Monitor, receivers: AlertReceivers) -> None:
        self.pool = pool
        self.monitor = monitor
        self.receivers = receivers

    async def round(self) -> None:
        """Dispatch all alerts that wait. Raises `DatabaseAway`."""
        while len(await self.some()) == AT_ONCE:
            pass

    async def some(self) -> Sequence[RaisedAlert]:
        """Dispatch some alerts, and record them in the monitor."""
        with database():
            async with self.pool.acquire() as connection, connection.transaction():
                alerts = await claim_alerts(connection, most=AT_ONCE)
                await queue_deliveries(connection, [one for alert in alerts for one in self.deliveries(alert)])
                mails = [one for alert in alerts for one in self.mails(alert)]
                await queue_mails(connection, await within_bounds(connection, mails))
        for alert in alerts:
            self.monitor.record(event_of(alert))
        return alerts

    def deliveries(self, alert: RaisedAlert) -> list[Delivery]:
        """The webhooks of an alert. A receiver gets no alert that is about itself."""
        body = msgspec.json.encode(alert_json(alert))
        made = [
            Delivery(receiver.name, alert.type, body, alert.id, None)
            for receiver in self.receivers.webhooks()
            if receiver.name != alert.receiver and receiver.wants(alert.type)
        ]
        own = f"customer:{alert.customer_id}"
        if alert.type in CUSTOMER_TYPES and alert.has_webhook and alert.receiver != own:
            made.append(Delivery(own, alert.type, body, alert.id, alert.customer_id))
        return made

    def mails(self, alert: RaisedAlert) -> list[AlertMail]:
        """The mails of an alert: to the operator's addresses, and to an active customer that gets them."""
        words, customer_id = Words(alert), alert.customer_id
        made = {
            address.lower(): AlertMail(alert.id, address, words.subject, words.text, customer_id)
            for address in self.receivers.addresses(alert.type)
        }
        if (
            alert.type in CUSTOMER_TYPES
            and alert.is_active
            and alert.email is not None
            and is_address(alert.email)
            and self.receivers.mails_customer(alert.alert_mail)
        ):
            own = Words(alert, to_customer=True)
            made.setdefault(alert.email.lower(), AlertMail(alert.id, alert.email, own.subject, own.text, customer_id))
        return list(made.values())


async def within_bounds(connection: Connection, mails: Sequence[AlertMail]) -> list[AlertMail]:
    """Those of `mails` that are not too many for their address; the last one of these says that there are more."""
    if not mails:
        return []
    counts = await mailed_lately(connection, [*{mail.recipient.lower() for mail in mails}])
    kept = []
    for mail in mails:
        address = mail.recipient.lower()
        counts[address] = count = counts.get(address, 0) + 1
        if count < MOST_MAILS:
            kept.append(mail)
        elif count == MOST_MAILS:
            kept.append(msgspec.structs.replace(mail, text=f"{mail.text}\n{MORE}"))
    return kept


def is_address(value: str) -> bool:
    """Whether a mail can be sent to it: older customers' addresses were only checked roughly."""
    try:
        mail_address(value)
    except ValueError:
        return False
    return True


def event_of(alert: RaisedAlert) -> MonitorEvent:
    """The alert in the monitor."""
    provider = alert.body.get("provider")
    return MonitorEvent(
        kind="alert",
        level=level_of(alert.type),
        customer_id=alert.customer_id,
        key_id=alert.key_id,
        provider=provider if isinstance(provider, str) else None,
        error_code=alert.type,
        error_message=Words(alert, with_address=False).subject,
        extra=alert_json(alert),
    )
