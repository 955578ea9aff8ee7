"""What an operator should look at, as the database knows it: caps, mails, webhooks, queues, requests for keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec

from kaixu.accounts.outbox import STUCK_S
from kaixu.config.price import cents_of_nusd
from kaixu.store.mail import OutboxState, outbox_state
from kaixu.store.query import Connection, Query

from .alert_messages import Words, duration, webhook_name
from .alerts import LISTED, STATE, AlertState, ListedAlert
from .near_caps import NearCap
from .time_range import Clock

#: The most items of one kind; of more, `counts` has the number.
MOST_OF_A_KIND = 10

#: How far back failures count.
LATELY = timedelta(days=1)

#: Where the monitor shows what could not be delivered; mails and jobs are seen on the gateway's machine.
FAILING_WEBHOOKS = {"kind": "alert", "code": "WEBHOOK_FAILING"}
SEE_MAILS = "see `kaixu mail list`"

#: Jobs that are due, and alerts that are to be sent, should not wait longer.
LATE_JOB_S, LATE_ALERT_S = 300, 60

AttentionState = Literal["bad", "warn", "info"]
STATES: tuple[AttentionState, ...] = ("bad", "warn", "info")


class Item(msgspec.Struct, frozen=True):
    """Something to look at: what in one line, and which page shows it. `unlisted`: more of its kind, without items."""

    kind: str
    state: AttentionState
    text: str
    tab: str
    parameters: Mapping[str, str] = {}
    unlisted: int = 0


class Backlog(msgspec.Struct, frozen=True):
    """What waits or was lost. `due_jobs` are counted up to a limit, `oldest_due_s` is of the one that waits longest."""

    due_jobs: int
    oldest_due_s: float | None
    held_requests: int
    lost_webhooks: int
    dropped_events: int
    is_filling: bool


class FailingReceiver(msgspec.Struct, frozen=True):
    """A receiver of webhooks that fails. `receivers`: how many do."""

    receiver: str
    customer_id: int | None
    failures: int
    failing_s: float
    receivers: int


class DownDeployment(msgspec.Struct, frozen=True):
    """A deployment that does not answer, as all gateways together see it."""

    lane: str
    upstream: str
    down_s: float


MOST_COUNTED = 100_000

BACKLOG = Query(
    Backlog,
    """
    select j.due_jobs, j.oldest_due_s,
           (select count(*) from kaixu.key_request r where r.state = 'held') as held_requests,
           (select count(*)
              from kaixu.webhook_delivery d
             where d.created_at > $2 and d.next_attempt_at is null and d.delivered_at is null) as lost_webhooks,
           (select coalesce(sum((e.extra ->> 'dropped')::bigint), 0)::bigint
              from kaixu.gateway_event e
             where e.kind = 'info' and e.level = 'warn' and e.detail = 'dropped'
               and e.created_at > $2) as dropped_events,
           (select s.filled_at is null and s.next_id < s.end_id from kaixu.rollup_state s) as is_filling
      from (select count(*) as due_jobs,
                   extract(epoch from now() - min(w.run_after))::float8 as oldest_due_s
              from (select q.run_after from kaixu.job q
                     where q.status = 'queued' and q.run_after <= now()
                       and (q.serial is null or kaixu.is_first_in_line(p_job => q)) limit $1) w) j
    """,
)

RECEIVERS = Query(
    FailingReceiver,
    """
    select f.receiver, f.customer_id, f.failures, extract(epoch from now() - f.failing_since)::float8 as failing_s,
           count(*) over () as receivers
      from kaixu.receiver_failure f
     where f.told_at is not null
     order by f.customer_id is not null, f.failing_since, f.receiver
     limit $1
    """,
)

DOWN = Query(
    DownDeployment,
    """
    select v.lane, v.upstream, extract(epoch from now() - v.since)::float8 as down_s
      from kaixu.vendor_state v
     where v.is_down
     order by v.since, v.lane, v.upstream
    """,
)


class DatabaseAttention(msgspec.Struct, frozen=True):
    """What the database knows that an operator should look at."""

    caps: list[NearCap]
    backlog: Backlog
    receivers: list[FailingReceiver]
    down: list[DownDeployment]
    outbox: OutboxState
    alerts: AlertState
    losses: list[ListedAlert]


async def read_attention(db: Connection, clock: Clock, caps: list[NearCap]) -> DatabaseAttention:
    """What there is to look at now, beside the caps."""
    since = clock.now - LATELY
    backlog, alerts = await BACKLOG.one(db, MOST_COUNTED, since), await STATE.one(db)
    assert backlog is not None
    assert alerts is not None
    losses = await LISTED.all(db, None, "MARGIN_NEGATIVE", None, MOST_OF_A_KIND)
    return DatabaseAttention(
        caps,
        backlog,
        await RECEIVERS.all(db, MOST_OF_A_KIND),
        await DOWN.all(db),
        await outbox_state(db),
        alerts,
        [loss for loss in losses if loss.created_at > since],
    )


def database_items(state: DatabaseAttention, *, without: Iterable[tuple[str, str]] = ()) -> list[Item]:
    """The items of what the database knows. Deployments `without` are told by another item."""
    return [
        *cap_items(state.caps),
        *down_items(state.down, frozenset(without)),
        *(loss_item(loss) for loss in state.losses),
        *webhook_items(state),
        *mail_items(state.outbox),
        *backlog_items(state.backlog),
    ]


def cap_items(caps: Sequence[NearCap]) -> Iterator[Item]:
    """Caps that are nearly or wholly spent; the last one of a kind that is listed stands for those that are not."""
    for kind, chosen in (
        ("customer_cap", [cap for cap in caps if cap.key_id is None]),
        ("key_cap", [cap for cap in caps if cap.key_id is not None]),
    ):
        for position, cap in enumerate(chosen, 1):
            is_over = cap.spent_nusd >= cap.cap_nusd
            percent = "" if cap.percent is None else f" ({cap.percent:,} %)"
            owner, tab, parameters = cap.email, "billing", {"customer_id": str(cap.customer_id)}
            if cap.key_id is not None:
                owner = f"{cap.email}, key {cap.key_label} …{cap.key_last4}"
                tab, parameters = "keys", {**parameters, "key_id": str(cap.key_id)}
            text = f"{owner}: {dollars(cap.spent_nusd)} of {dollars(cap.cap_nusd)} spent{percent}"
            unlisted = cap.caps - len(chosen) if position == len(chosen) else 0
            yield Item(kind, "bad" if is_over else "warn", text, tab, parameters, unlisted)


def down_items(down: Sequence[DownDeployment], without: frozenset[tuple[str, str]]) -> Iterator[Item]:
    """Deployments that do not answer."""
    for one in down:
        if (one.lane, one.upstream) not in without:
            text = f"{one.upstream} on lane {one.lane} has not answered for {duration(int(one.down_s))}"
            yield Item("vendor", "bad", text, "lanes", {"lane": one.lane})


def loss_item(loss: ListedAlert) -> Item:
    """A model or a customer that cost more than it brought."""
    if loss.customer_id is None:
        lane, _, model = str(loss.body.get("name", "")).partition("/")
        return Item("margin", "warn", Words(loss).subject, "lanes", {"lane": lane, "model": model})
    return Item("margin", "warn", Words(loss).subject, "usage", {"customer_id": str(loss.customer_id)})


def webhook_items(state: DatabaseAttention) -> Iterator[Item]:
    """Receivers of webhooks that fail, webhooks that were given up, alerts that nobody sends."""
    for position, one in enumerate(state.receivers, 1):
        account = "" if one.customer_id is None else f"customer {one.customer_id}"
        unlisted = one.receivers - len(state.receivers) if position == len(state.receivers) else 0
        name = webhook_name(one.receiver, account)
        text = f"{name[:1].upper()}{name[1:]} has failed {counted(one.failures, 'time')} in a row"
        if one.customer_id is None:
            yield Item("webhook", "bad", text, "monitor", FAILING_WEBHOOKS, unlisted)
        else:
            yield Item("webhook", "warn", text, "billing", {"customer_id": str(one.customer_id)}, unlisted)
    if lost := state.backlog.lost_webhooks:
        text = f"{counted(lost, 'webhook')} could not be delivered in the last 24 hours"
        yield Item("lost_webhook", "warn", text, "monitor", FAILING_WEBHOOKS)
    if (state.alerts.oldest_s or 0) > LATE_ALERT_S:
        since = duration(int(state.alerts.oldest_s or 0))
        text = f"{counted(state.alerts.waiting, 'alert')} not sent, the oldest for {since}"
        yield Item("alerts", "bad", text, "monitor", {"kind": "alert"})


def mail_items(outbox: OutboxState) -> Iterator[Item]:
    """Mails that were given up, or wait too long."""
    if outbox.failed:
        text = f"{counted(outbox.failed, 'mail')} could not be sent in the last 24 hours: {SEE_MAILS}"
        yield Item("mail", "bad", text, "monitor")
    if (outbox.oldest_s or 0) > STUCK_S:
        since = duration(int(outbox.oldest_s or 0))
        text = f"{counted(outbox.waiting, 'mail')} not sent yet, the oldest for {since}: {SEE_MAILS}"
        yield Item("mail", "warn", text, "monitor")


def backlog_items(backlog: Backlog) -> Iterator[Item]:
    """What waits or was lost."""
    if backlog.dropped_events:
        text = f"{counted(backlog.dropped_events, 'monitor event')} dropped in the last 24 hours"
        yield Item("monitor", "warn", text, "monitor", {"kind": "info", "level": "warn"})
    if (backlog.oldest_due_s or 0) > LATE_JOB_S:
        many = "at least " if backlog.due_jobs == MOST_COUNTED else ""
        since = duration(int(backlog.oldest_due_s or 0))
        text = (
            f"{many}{counted(backlog.due_jobs, 'job')} due and not begun, the oldest for {since}: see `kaixu jobs list`"
        )
        yield Item("queue", "warn", f"{text[:1].upper()}{text[1:]}", "monitor")
    if backlog.held_requests:
        text = f"{counted(backlog.held_requests, 'request')} for a key to approve or deny"
        yield Item("key_request", "warn", text, "keys", {"state": "held"})
    if backlog.is_filling:
        text = "Calls from before the last upgrade are still being added up: charts are not complete yet"
        yield Item("rollups", "info", text, "usage")


def attention_json(items: Iterable[Item]) -> dict[str, Any]:
    """The items, the worst first: of each kind at most `MOST_OF_A_KIND`, and how many there are."""
    ordered = sorted(items, key=lambda item: STATES.index(item.state))
    counts: Counter[str] = Counter()
    listed: Counter[str] = Counter()
    shown = []
    for item in ordered:
        counts[item.kind] += 1 + item.unlisted
        listed[item.kind] += 1
        if listed[item.kind] <= MOST_OF_A_KIND:
            shown.append({name: getattr(item, name) for name in ("kind", "state", "text", "tab", "parameters")})
    by_kind = [{"kind": kind, "count": count} for kind, count in counts.items()]
    return {"count": counts.total(), "counts": by_kind, "items": shown}


def dollars(nusd: int) -> str:
    """An amount, rounded to the cent."""
    cents = cents_of_nusd(abs(nusd))
    return f"{'-' if nusd < 0 else ''}${cents // 100:,}.{cents % 100:02}"


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
