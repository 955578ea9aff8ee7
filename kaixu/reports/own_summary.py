"""`user-summary`: the month of a key and of its account, as the key may see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts.model_limits import shown_model_limits
from kaixu.config.price import NUSD_PER_CENT, cents_of_nusd, usd
from kaixu.store.query import Query

from .money_limits import MoneyLimit, limits_json, limits_of
from .own_key import Credential, OwnKey, own_view, read_month, read_scope
from .time_range import read_clock
from .usage import KeyUsage, available_of, key_usage
from .values import budget_fields, cents_or_none, instant, month_name


class OwnMonth(msgspec.Struct, frozen=True):
    """A month of an account and of one of its key chains. Money is in nano-dollars.

    Calls and tokens are of all books, money is of those that draw on the account's cap.
    """

    customer_spent_nusd: int
    customer_held_nusd: int
    customer_extra_nusd: int
    customer_tokens: int
    customer_calls: int
    key_spent_nusd: int
    key_held_nusd: int
    key_tokens: int
    key_calls: int


OWN_MONTH = Query(
    OwnMonth,
    """
    select c.spent_nusd as customer_spent_nusd, c.held_nusd as customer_held_nusd, c.extra_nusd as customer_extra_nusd,
           c.tokens as customer_tokens, c.calls as customer_calls, k.spent_nusd as key_spent_nusd,
           k.held_nusd as key_held_nusd, k.tokens as key_tokens, k.calls as key_calls
      from (select coalesce(sum(m.spent_nusd) filter (where not m.has_own_cap), 0)::bigint as spent_nusd,
                   coalesce(sum(m.held_nusd) filter (where not m.has_own_cap), 0)::bigint as held_nusd,
                   coalesce(sum(m.extra_nusd), 0)::bigint as extra_nusd,
                   coalesce(sum(m.input_tokens + m.output_tokens), 0)::bigint as tokens,
                   coalesce(sum(m.calls), 0)::bigint as calls
              from kaixu.customer_month m
             where m.customer_id = $1 and m.month = $3) c
     cross join (select coalesce(sum(m.spent_nusd) filter (where not m.has_own_cap), 0)::bigint as spent_nusd,
                        coalesce(sum(m.held_nusd) filter (where not m.has_own_cap), 0)::bigint as held_nusd,
                        coalesce(sum(m.input_tokens + m.output_tokens), 0)::bigint as tokens,
                        coalesce(sum(m.calls), 0)::bigint as calls
                   from kaixu.key_month m
                  where m.chain_id = $2 and m.customer_id = $1 and m.month = $3) k
    """,
)


class OwnLimits(msgspec.Struct, frozen=True):
    """The limits of a key besides its month's cap, its customer's and its group's. Money is in nano-dollars."""

    rpm_limit: int | None
    rpd_limit: int | None
    tpm_limit: int | None
    day_cap_nusd: int | None
    limits: dict[str, dict[str, int]] | None
    expires_at: datetime | None
    customer_tpm_limit: int | None
    customer_day_cap_nusd: int | None
    max_devices: int | None
    devices: int
    require_install_id: bool
    group_name: str | None
    group_monthly_cap_nusd: int | None
    group_day_cap_nusd: int | None
    group_rpm_limit: int | None
    group_tpm_limit: int | None


OWN_LIMITS = Query(
    OwnLimits,
    """
    select k.rpm_limit, k.rpd_limit, k.tpm_limit, k.day_cap_nusd, k.limits, k.expires_at,
           c.tpm_limit as customer_tpm_limit, c.day_cap_nusd as customer_day_cap_nusd,
           nullif(coalesce(k.max_devices, c.max_devices_per_key, 0), 0) as max_devices,
           (select count(*) from kaixu.device d where d.chain_id = k.chain_id and d.revoked_at is null) as devices,
           c.require_install_id or coalesce(k.require_install_id, false) as require_install_id, g.name as group_name,
           g.monthly_cap_nusd as group_monthly_cap_nusd, g.day_cap_nusd as group_day_cap_nusd,
           g.rpm_limit as group_rpm_limit, g.tpm_limit as group_tpm_limit
      from kaixu.virtual_key k
      join kaixu.customer c on c.id = k.customer_id
      left join kaixu.key_group g on g.id = k.group_id
     where k.id = $1
    """,
)


class Summary(msgspec.Struct, frozen=True):
    """A key's month at one moment; `keys`: those of the account, where the request asks for them.

    `money`: the caps that a call must fit into now, whatever the month.
    """

    own: OwnKey
    month: date
    figures: OwnMonth
    keys: list[KeyUsage] | None
    limits: OwnLimits
    money: list[MoneyLimit]
    zone: str

    @property
    def customer_cap_nusd(self) -> int:
        """The account's cap, top-ups included."""
        return self.own.customer_cap_nusd + self.figures.customer_extra_nusd

    @property
    def key_cap_nusd(self) -> int:
        """The key's cap; without one of its own, the account's."""
        return self.customer_cap_nusd if self.own.key_cap_nusd is None else self.own.key_cap_nusd

    @property
    def customer_remaining_nusd(self) -> int:
        """What the account has left of its cap: nothing, as long as it owes credit that was taken back."""
        return (
            0
            if self.figures.customer_extra_nusd < 0
            else max(0, self.customer_cap_nusd - self.figures.customer_spent_nusd)
        )

    @property
    def key_remaining_nusd(self) -> int:
        """What the key has left of its cap, and at most what the account has left."""
        if self.own.key_cap_nusd is None:
            return self.customer_remaining_nusd
        return max(0, min(self.own.key_cap_nusd - self.figures.key_spent_nusd, self.customer_remaining_nusd))

    @property
    def available_nusd(self) -> int:
        """What both caps of the month leave after the calls that are running; caps of a day and of a group: `money`."""
        figures = self.figures
        if figures.customer_extra_nusd < 0:
            return 0
        room = self.customer_cap_nusd - figures.customer_spent_nusd - figures.customer_held_nusd
        if self.own.key_cap_nusd is not None:
            room = min(room, self.own.key_cap_nusd - figures.key_spent_nusd - figures.key_held_nusd)
        return max(0, room)


async def own_summary(pool: asyncpg.Pool, credential: Credential, values: Mapping[str, Any]) -> Summary:
    """A key's month, from the parameters `month` and `scope`. Raises `Invalid`, `RoleTooLow`, `Unauthenticated`."""
    async with own_view(pool, credential) as (db, own):
        scope, month = read_scope(values, own), await read_month(db, values)
        figures = await OWN_MONTH.one(db, own.customer_id, own.chain_id, month)
        assert figures is not None
        keys = await key_usage(db, own.customer_id, month) if scope == "customer" else None
        limits = await OWN_LIMITS.one(db, own.key_id)
        assert limits is not None
        money = (await limits_of(db, own.customer_id, [own.key_id])).of_key(own.key_id)
        return Summary(own, month, figures, keys, limits, money, (await read_clock(db)).zone)


def summary_json(summary: Summary) -> dict[str, Any]:
    """A key's month: cents for display, exact dollars beside them. What is left is rounded down."""
    own, figures = summary.own, summary.figures
    customer_cap, customer_spent = cents_of_nusd(summary.customer_cap_nusd), cents_of_nusd(figures.customer_spent_nusd)
    shown: dict[str, Any] = {
        "customer": {
            "id": own.customer_id,
            "plan_name": own.plan_name,
            "monthly_cap_cents": cents_of_nusd(own.customer_cap_nusd),
            "is_active": own.is_active,
        },
        "key": {
            "id": own.key_id,
            "label": own.label,
            "key_last4": own.key_last4,
            "role": own.role,
            "has_cap_override": own.key_cap_nusd is not None,
        },
        "month": {
            "month": month_name(summary.month),
            "cap_cents": customer_cap,
            "spent_cents": customer_spent,
            "customer_cap_cents": customer_cap,
            "customer_spent_cents": customer_spent,
            "customer_extra_cents": cents_of_nusd(figures.customer_extra_nusd),
            "customer_remaining_cents": summary.customer_remaining_nusd // NUSD_PER_CENT,
            "customer_cap_usd": usd(summary.customer_cap_nusd),
            "customer_spent_usd": usd(figures.customer_spent_nusd),
            "customer_extra_usd": usd(figures.customer_extra_nusd),
            "customer_debt_usd": usd(max(0, -figures.customer_extra_nusd)),
            "customer_remaining_usd": usd(summary.customer_remaining_nusd),
            "customer_held_usd": usd(figures.customer_held_nusd),
            "customer_tokens": figures.customer_tokens,
            "customer_calls": figures.customer_calls,
            "key_cap_cents": cents_of_nusd(summary.key_cap_nusd),
            "key_spent_cents": cents_of_nusd(figures.key_spent_nusd),
            "key_remaining_cents": summary.key_remaining_nusd // NUSD_PER_CENT,
            "key_cap_usd": usd(summary.key_cap_nusd),
            "key_spent_usd": usd(figures.key_spent_nusd),
            "key_remaining_usd": usd(summary.key_remaining_nusd),
            "key_held_usd": usd(figures.key_held_nusd),
            "key_tokens": figures.key_tokens,
            "key_calls": figures.key_calls,
            "available_cents": summary.available_nusd // NUSD_PER_CENT,
            "available_usd": usd(summary.available_nusd),
        },
        "limits": own_limits_json(summary.limits),
        **limits_json(summary.money),
        "reporting_zone": summary.zone,
    }
    if summary.keys is not None:
        shown["keys"] = [own_key_json(row) for row in summary.keys]
    return shown


def own_limits_json(row: OwnLimits) -> dict[str, Any]:
    """The limits that bind a key besides the month's caps; null: none, for `rpm_limit` the gateway's default.

    `devices`: the seats that are taken.
    """
    group = None
    if row.group_name is not None:
        group = {
            "name": row.group_name,
            "monthly_cap_cents": cents_or_none(row.group_monthly_cap_nusd),
            "day_cap_cents": cents_or_none(row.group_day_cap_nusd),
            "rpm_limit": row.group_rpm_limit,
            "tpm_limit": row.group_tpm_limit,
        }
    return {
        "rpm_limit": row.rpm_limit,
        "rpd_limit": row.rpd_limit,
        "tpm_limit": row.tpm_limit,
        "day_cap_cents": cents_or_none(row.day_cap_nusd),
        "models": shown_model_limits(row.limits),
        "expires_at": instant(row.expires_at),
        "max_devices": row.max_devices,
        "devices": row.devices,
        "require_install_id": row.require_install_id,
        "customer_tpm_limit": row.customer_tpm_limit,
        "customer_day_cap_cents": cents_or_none(row.customer_day_cap_nusd),
        "group": group,
    }


def own_key_json(row: KeyUsage) -> dict[str, Any]:
    """The month of one of the account's keys, without what only operators see."""
    available = available_of(row)
    return {
        "id": row.key_id,
        "key_last4": row.key_last4,
        "label": row.label,
        **budget_fields(row.spent_nusd, row.held_nusd, available),
        "calls": row.calls,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }
