"""Messages of integrations to customers; schema/functions/apply_effects.sql writes them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .pruning import delete_in_batches
from .query import Connection, Query

#: How long a customer sees a message, and how long its key is known.
SHOWN_DAYS = 90
KNOWN_DAYS = 400

#: Rows removed in one statement.
ROWS_AT_ONCE = 1000


class IntegrationMessage(msgspec.Struct, frozen=True):
    """What an integration has written to a customer. `is_mailed` False: it was only shown."""

    integration: str
    subject: str
    paragraphs: list[str]
    link_text: str | None
    link_url: str | None
    is_mailed: bool
    created_at: datetime


OF_CUSTOMER = Query(
    IntegrationMessage,
    """
    select integration, subject, paragraphs, link_text, link_url, is_mailed, created_at
      from kaixu.integration_message
     where customer_id = $1 and created_at > clock_timestamp() - make_interval(days => $2)
     order by created_at desc, integration, key
     limit $3
    """,
)

PRUNE = """
    delete from kaixu.integration_message
     where (integration, key) in (select m.integration, m.key
                                    from kaixu.integration_message m
                                   where m.created_at < now() - make_interval(days => $1)
                                   limit $2 for update skip locked)
"""


async def messages_of(db: Connection, customer_id: int, *, most: int) -> list[IntegrationMessage]:
    """The messages that a customer sees, newest first."""
    return await OF_CUSTOMER.all(db, customer_id, SHOWN_DAYS, most)


async def prune_messages(db: Connection) -> int:
    """Remove messages whose key need not be known any more; return how many."""
    return await delete_in_batches(db, PRUNE, KNOWN_DAYS, ROWS_AT_ONCE, at_once=ROWS_AT_ONCE)
