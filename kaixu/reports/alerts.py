"""The alerts that were raised, newest first, each with the state of its webhooks and mails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.config.alerts_section import AlertType
from kaixu.plugin.errors import Unprocessable
from kaixu.store.alerts import RaisedAlert
from kaixu.store.pool import database
from kaixu.store.query import Query

from .alert_messages import Words, alert_json, level_of
from .values import instant

TYPES: tuple[str, ...] = get_args(AlertType)

#: The most alerts of one reply, and how many there are by default.
MAX_ALERTS = 500
ALERTS = 50


class ListedAlert(RaisedAlert, frozen=True):
    """An alert with its deliveries: of each its `receiver`, `state` (sent, waiting, failed), `attempts`, `error`."""

    webhooks: list[dict[str, Any]]
    mails: list[dict[str, Any]]


LISTED = Query(
    ListedAlert,
    """
    select a.id, a.type, a.customer_id, a.key_id, a.receiver, a.body, a.created_at, c.email, c.is_active, c.alert_mail,
           exists (select from kaixu.alert_webhook w where w.customer_id = a.customer_id) as has_webhook,
           k.key_last4, k.label as key_label,
           coalesce((select jsonb_agg(jsonb_build_object(
                                'receiver', d.destination, 'attempts', d.attempts, 'error', d.last_error,
                                'state', case when d.delivered_at is not null then 'sent'
                                              when d.next_attempt_at is not null then 'waiting' else 'failed' end)
                                order by d.destination)
                       from kaixu.webhook_delivery d where d.alert_id = a.id), '[]') as webhooks,
           coalesce((select jsonb_agg(jsonb_build_object('receiver', m.recipient, 'attempts', m.attempts,
                                                         'error', m.last_error, 'state', m.state) order by r.at)
                       from unnest(a.mailed_to) with ordinality r (address, at)
                       join kaixu.mail m on m.idempotency_key = 'alert:' || a.id || ':' || r.address), '[]') as mails
      from kaixu.alert a
      left join kaixu.customer c on c.id = a.customer_id
      left join kaixu.virtual_key k on k.id = a.key_id
     where ($1::bigint is null or a.customer_id = $1)
       and ($2::text is null or a.type = $2)
       and ($3::bigint is null or a.id < $3)
     order by a.id desc
     limit $4
    """,
)


class AlertPage(msgspec.Struct, frozen=True):
    """Alerts, newest first; `next_before_id` is the `before_id` of the next page, None after the last one."""

    alerts: list[ListedAlert]
    next_before_id: int | None


async def list_alerts(pool: asyncpg.Pool, given: Mapping[str, object]) -> AlertPage:
    """Alerts by the fields `customer_id`, `type`, `before_id` and `limit`. Raises `Unprocessable`, `DatabaseAway`."""
    customer_id = fields.bounded(given.get("customer_id"), "customer_id", fields.MOST_ID, least=1)
    alert_type = fields.text(given.get("type"), "type", 40)
    before_id = fields.bounded(given.get("before_id"), "before_id", fields.MOST_ID, least=1)
    limit = fields.bounded(given.get("limit"), "limit", MAX_ALERTS, least=1) or ALERTS
    if alert_type is not None and alert_type.upper() not in TYPES:
        raise Unprocessable("`type` is not a type of alert", hint=f"The types are {', '.join(TYPES)}.", field="type")
    with database():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute("set local plan_cache_mode = force_custom_plan")
            upper = None if alert_type is None else alert_type.upper()
            alerts = await LISTED.all(connection, customer_id, upper, before_id, limit)
    return AlertPage(alerts, alerts[-1].id if len(alerts) == limit else None)


class AlertState(msgspec.Struct, frozen=True):
    """Alerts that no gateway has dispatched, for how long the oldest waits, and receivers that are told as failing."""

    waiting: int
    oldest_s: float | None
    failing: list[str]


STATE = Query(
    AlertState,
    """
    select count(*) as waiting,
           extract(epoch from clock_timestamp() - min(a.created_at))::float8 as oldest_s,
           (select coalesce(array_agg(f.receiver order by f.receiver), '{}')
              from kaixu.receiver_failure f where f.told_at is not null) as failing
      from kaixu.alert a
     where a.dispatched_at is null
    """,
)


async def alert_state(pool: asyncpg.Pool) -> AlertState:
    """How the dispatch of alerts stands. Raises `DatabaseAway`."""
    with database():
        state = await STATE.one(pool)
    assert state is not None
    return state


def listed_alert_json(alert: ListedAlert) -> dict[str, Any]:
    """An alert in the list: its message, and under `figures` what its webhooks got."""
    figures = alert_json(alert)
    for name in ("type", "alert_id", "created_at", "customer_id", "api_key_id"):
        figures.pop(name, None)
    return {
        "id": alert.id,
        "type": alert.type,
        "level": level_of(alert.type),
        "created_at": instant(alert.created_at),
        "customer_id": alert.customer_id,
        "api_key_id": alert.key_id,
        "message": Words(alert, with_address=False).subject,
        "figures": figures,
        "webhooks": [msgspec.to_builtins(one) for one in alert.webhooks],
        "mails": [msgspec.to_builtins(one) for one in alert.mails],
    }
