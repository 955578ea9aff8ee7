"""Demo data: what it is made of, and its customers, keys, devices, top-ups, audit lines and monitor events.

Everything is computed in the database from the number of a row and the seed, so the same seed makes the same data.
Customers have addresses at demo.invalid, and ids that follow each other (kaixu.demo).
"""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from .query import Connection, Query

#: Months of history, the last one up to now.
MONTHS = 13

#: The name of the lock that lets one command at a time change the demo data.
LOCK = "kaixu.demo"


class Demo(msgspec.Struct, frozen=True):
    """The demo data of a database; `until`: the end of its history."""

    seed: int
    customers: int
    events: int
    until: datetime
    first_customer: int
    first_key: int
    price_ids: list[int]
    months_done: list[date]
    is_complete: bool

    @property
    def last_customer(self) -> int:
        """The last of its ids."""
        return self.first_customer + self.customers - 1

    @property
    def last_key(self) -> int:
        """The last of its ids."""
        return self.first_key + 3 * self.customers - 1


class Model(msgspec.Struct, frozen=True):
    """A model that demo customers call, its share of the calls, and USD per million tokens in millionths."""

    provider: str
    model: str
    deployment: str
    operation: str
    share: float
    input: int
    output: int
    median_ms: int
    vendor_percent: int | None  # of the price; None: the vendor's cost is not known


#: Sum of the shares: 1.
MODELS = (
    Model("demo-openai", "gpt-4o-mini", "openai-a", "chat", 0.34, 196_500, 786_000, 1400, 76),
    Model("demo-openai", "gpt-4o", "openai-a", "chat", 0.16, 3_275_000, 13_100_000, 2600, 76),
    Model("demo-openai", "gpt-4o", "openai-b", "chat", 0.05, 3_275_000, 13_100_000, 3100, 80),
    Model("demo-anthropic", "claude-sonnet", "anthropic", "chat", 0.17, 3_930_000, 19_650_000, 3400, 76),
    Model("demo-anthropic", "claude-haiku", "anthropic", "chat", 0.08, 1_048_000, 5_240_000, 1100, 76),
    Model("demo-gemini", "gemini-flash", "gemini", "chat", 0.09, 393_000, 3_275_000, 1600, 76),
    Model("demo-voyage", "voyage-3", "voyage", "embed", 0.08, 78_600, 0, 220, 76),
    Model("demo-local", "gemma-3", "local", "chat", 0.03, 50_000, 100_000, 5200, None),
)

DEMO = Query(
    Demo,
    """
    select seed, customers, events, until, first_customer, first_key, price_ids, months_done, is_complete
      from kaixu.demo
    """,
)


async def find_demo(db: Connection) -> Demo | None:
    """The demo data of this database."""
    return await DEMO.one(db)


async def count_real_customers(db: Connection, demo: Demo | None) -> int:
    """How many customers are not of the demo."""
    first, last = (0, -1) if demo is None else (demo.first_customer, demo.last_customer)
    count: int = await db.fetchval(
        "select count(*) from (select from kaixu.customer where id not between $1 and $2 limit 1000) x", first, last
    )
    return count


async def begin_demo(db: Connection, *, seed: int, customers: int, events: int, until: datetime) -> Demo:
    """Reserve ids and prices. Runs in a transaction that holds both tables, so that nobody else gets one of the ids."""
    await db.execute("lock table kaixu.customer, kaixu.virtual_key in share row exclusive mode")
    firsts = []
    for table, count in (("customer", customers), ("virtual_key", 3 * customers)):
        sequence = f"pg_get_serial_sequence('kaixu.{table}', 'id')"
        first: int = await db.fetchval(
            f"select greatest(nextval({sequence}), (select coalesce(max(id), 0) + 1 from kaixu.{table}))"  # noqa: S608
        )
        await db.fetchval(f"select setval({sequence}, $1)", first + count - 1)
        firsts.append(first)
    price_ids = []
    for model in MODELS:
        rates = rates_of(model, 100)
        vendor = None if model.vendor_percent is None else rates_of(model, model.vendor_percent)
        price_ids.append(
            await db.fetchval(
                "select kaixu.price_version(p_provider => $1, p_model => $2, p_rates => $3, p_vendor => $4)",
                model.provider,
                model.model,
                rates,
                vendor,
            )
        )
    await db.execute(
        """
        insert into kaixu.demo (seed, customers, events, until, first_customer, first_key, price_ids)
        values ($1, $2, $3, $4, $5, $6, $7)
        """,
        seed,
        customers,
        events,
        until,
        *firsts,
        price_ids,
    )
    demo = await find_demo(db)
    assert demo is not None
    return demo


def rates_of(model: Model, percent: int) -> dict[str, int]:
    """The rates of a price version, in nano-dollars per million tokens; cached input costs half."""
    rate_in, rate_out = model.input * 10 * percent, model.output * 10 * percent
    return {
        "input": rate_in,
        "cached_input": rate_in // 2,
        "cache_write": rate_in,
        "output": rate_out,
        "reasoning": rate_out,
    }


#: The number i of a customer counts from 1; the lower, the more it calls. Those after the first third are younger.
#: Properties of customers have 0 to 9 as `p_what`.
CUSTOMERS = """
    insert into kaixu.customer (id, email, plan_name, monthly_cap_nusd, is_active, require_install_id, created_at)
    select $2 + i - 1, 'customer' || i || '@demo.invalid',
           case when i <= greatest($3 / 100, 1) then 'enterprise' when i <= $3 / 10 then 'pro' else 'starter' end,
           1000000000::bigint
               * case when i <= greatest($3 / 100, 1) then 20000 when i <= $3 / 10 then 2000 else 200 end,
           kaixu.demo_share(p_seed => $1, p_row => i, p_what => 3) > 0.02,
           kaixu.demo_share(p_seed => $1, p_row => i, p_what => 4) < 0.1,
           $4::timestamptz + greatest(0, (i::float8 / $3 - 0.3) / 0.7 * 12) * interval '28 days'
      from generate_series(1, $3::bigint) i
    on conflict (id) do nothing
"""

#: Of a customer with three keys the third may have replaced the second one: they are one chain.
KEYS = """
    insert into kaixu.virtual_key (id, chain_id, customer_id, key_hash, key_last4, label, role, created_at, revoked_at)
    select $3 + 3 * (i - 1) + j - 1,
           $3 + 3 * (i - 1) + case when j = 3 and x.is_rotated then 2 else j end - 1,
           $2 + i - 1,
           sha256(convert_to('demo key ' || $1 || ' ' || i || ' ' || j, 'UTF8')),
           substr(md5(i || ' ' || j), 1, 4),
           case when j = 1 then 'master' when j = 2 or x.is_rotated then 'server' else 'laptop' end,
           case j when 1 then 'owner' else 'deployer' end,
           c.created_at,
           case when j = 2 and x.is_rotated then c.created_at + interval '40 days' end
      from generate_series(1, $4::bigint) i
     cross join lateral (select
               1 + floor(3 * kaixu.demo_share(p_seed => $1, p_row => i, p_what => 1))::integer as keys,
               kaixu.demo_share(p_seed => $1, p_row => i, p_what => 2) < 0.3 as may_be_rotated) k
     cross join lateral (select k.keys = 3 and k.may_be_rotated as is_rotated) x
     cross join lateral generate_series(1, k.keys) j
      join kaixu.customer c on c.id = $2 + i - 1
    on conflict (id) do nothing
"""

DEVICES = """
    insert into kaixu.device (chain_id, install_id, customer_id, first_seen_at, last_seen_at, last_seen_agent)
    select k.chain_id, 'demo-device-' || k.chain_id, k.customer_id, k.created_at, $3, 'kaixu-client/1.0'
      from kaixu.virtual_key k
     where k.id between $1 and $2 and k.id = k.chain_id
    on conflict do nothing
"""

#: A customer in fifty tops up in a month.
TOPUPS = """
    insert into kaixu.topup (idempotency_key, customer_id, month, amount_nusd, source, created_at)
    select 'demo ' || $1::bigint || ' ' || (c.id - $2 + 1) || ' ' || $4::date, c.id, $4,
           (1 + floor(10 * kaixu.demo_share(p_seed => $1, p_row => c.id - $2 + 1, p_what => 6)))::bigint * 10000000000,
           case when kaixu.demo_share(p_seed => $1, p_row => c.id - $2 + 1, p_what => 7) < 0.7
                then 'stripe' else 'manual' end,
           $4::date::timestamp at time zone 'UTC' + interval '1 day' * (c.id % 20)
      from kaixu.customer c
     where c.id between $2 and $3 and c.created_at < ($4::date::timestamp at time zone 'UTC')
       and kaixu.demo_share(p_seed => $1, p_row => (c.id - $2 + 1) * 16 + $5, p_what => 5) < 0.02
    on conflict (idempotency_key) do nothing
"""

AUDIT = """
    insert into kaixu.audit_event (actor, action, target, after, meta, request_id, created_at)
    select 'demo', 'CUSTOMER_CREATE', 'customer:' || c.id, jsonb_build_object('email', c.email), '{}', 'demo',
           c.created_at
      from kaixu.customer c
     where c.id between $1 and $2 and (c.id - $1) % 10 = 0
     order by c.created_at
"""


async def seed_accounts(db: Connection, demo: Demo, start: datetime) -> None:
    """Customers, keys and devices; those that are there already stay."""
    await db.execute(CUSTOMERS, demo.seed, demo.first_customer, demo.customers, start)
    await db.execute(KEYS, demo.seed, demo.first_customer, demo.first_key, demo.customers)
    await db.execute(DEVICES, demo.first_key, demo.last_key, demo.until)
    await db.execute(AUDIT, demo.first_customer, demo.last_customer)


async def seed_topups(db: Connection, demo: Demo, month: date, at: int) -> None:
    """The top-ups of one month; `at`: which month of the history."""
    await db.execute(TOPUPS, demo.seed, demo.first_customer, demo.last_customer, month, at)
