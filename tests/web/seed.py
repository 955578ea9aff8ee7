"""The data that pages are tried on: months of calls of made-up companies, and what a running gateway adds to it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec
from asyncpg.pool import PoolConnectionProxy

from kaixu.accounts.demo import first_numbers, history, start_of
from kaixu.accounts.key_material import key_hash
from kaixu.store.demo import Demo, begin_demo, seed_accounts, seed_topups
from kaixu.store.demo_events import seed_events, seed_monitor, seed_refusals
from kaixu.store.demo_figures import seed_figures
from kaixu.store.partitions import make_partition, month_after
from kaixu.store.pool import open_pool
from kaixu.store.query import Connection
from tests.support.operators import admin_token, insert_session
from tests.support.process import SECRETS

CUSTOMERS = 32
EVENTS = 4000
#: How many months have calls, this one included; customers have come in a year.
MONTHS = 6

#: How many times as long the demo's calls are made, input and output: programs that write code send whole files.
LONGER = (60, 12)

#: Caps in USD: the least of them that the customer has never reached.
CAPS = (1, 2, 5, 10, 15, 25, 50, 100, 250, 1000)

#: People who run the gateway, by their role.
OPERATORS = {
    "owner": ("mara@gateway-house.example", "Mara Lindqvist"),
    "operator": ("jonas@gateway-house.example", "Jonas Weber"),
    "viewer": ("ines@gateway-house.example", "Ines Duarte"),
}

#: How many customers have keys whose secrets are known.
USABLE = 6

#: Those who call most come first.
COMPANIES = (
    "northwind-freight", "halden-robotics", "brightleaf-clinic", "osprey-analytics", "kestrel-legal", "tidewater-energy",
    "juniper-schools", "atlas-cartography", "copperfield-bank", "meadow-foods", "sable-studios", "lumen-press",
    "granite-insurance", "paper-lantern", "cobalt-security", "fjord-outfitters", "harbour-lane", "violet-biotech",
    "redwood-realty", "quartz-audio", "maple-transit", "silver-birch", "polar-logistics", "orchid-hotels",
    "beacon-travel", "tundra-games", "willow-pharma", "canyon-solar", "opal-jewellers", "drift-sailing",
    "ember-kitchens", "hazel-and-sons",
)  # fmt: skip
MAILBOXES = ("ops", "it", "platform", "accounts", "team", "dev")

APPS = (
    "support-desk", "newsletter", "code-review", "contract-search", "sales-notes", "onboarding", "translations",
    "ticket-triage", "meeting-minutes", "shop-assistant", "claims", "risk-report", "site-search", "invoicing", "lab",
)  # fmt: skip


class SeedKey(msgspec.Struct, frozen=True):
    """A key and its secret."""

    id: int
    key: str
    label: str


class SeedCustomer(msgspec.Struct, frozen=True):
    """A customer with keys that tests may use."""

    id: int
    email: str
    keys: dict[str, SeedKey]


class Seed(msgspec.Struct, frozen=True):
    """What is in the database: the operators' sessions by role, and the customers that have usable keys, by a short name."""

    operator_ids: dict[str, int]
    customers: dict[str, SeedCustomer] = {}
    names: dict[str, str] = {}  # what paths of pages.py are filled with, besides the main customer

    def token(self, role: str) -> str:
        """The admin token of an operator of this role, as it is in the cookie."""
        return admin_token(session_id(role))

    @property
    def admin_token(self) -> str:
        """The admin token of the owner."""
        return self.token("owner")


def session_id(role: str) -> str:
    """The random id of an operator's session."""
    return f"session of the {role}"


async def seed_rows(dsn: str) -> Seed:
    """A year of calls, and the operators."""
    pool = await open_pool(dsn)
    try:
        async with pool.acquire() as connection:
            demo = await make_calls(connection)
            await set_caps(connection)
            await give_names(connection, demo)
            customers = await give_keys(connection, demo)
            operator_ids = {}
            for role, (email, name) in OPERATORS.items():
                operator_ids[role] = await connection.fetchval(
                    "insert into kaixu.operator (email, name, role, last_login_at) values ($1, $2, $3, now()) returning id",
                    email,
                    name,
                    role,
                )
                await insert_session(connection, session_id(role), operator_id=operator_ids[role], method="password")
            return Seed(operator_ids, customers)
    finally:
        await pool.close()


async def make_calls(connection: PoolConnectionProxy) -> Demo:
    """Customers and calls as `kaixu seed-demo` makes them, but longer ones, and of the last months only."""
    # As in kaixu.yaml: the gateway would have to sum up all days anew.
    await connection.execute("update kaixu.rollup_state set reporting_zone = 'Europe/Berlin'")
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    async with connection.transaction():
        demo = await begin_demo(connection, seed=1, customers=CUSTOMERS, events=EVENTS, until=until)
    year = history(until)
    await seed_accounts(connection, demo, start_of(year[0]))
    months = year[-MONTHS:]
    firsts = first_numbers(EVENTS, months, until)
    for number, month in enumerate(months):
        at = year.index(month)
        start, end = start_of(month), min(start_of(month_after(month)), until)
        first, last = firsts[number], firsts[number + 1] - 1
        await make_partition(connection, f"usage_event_{month:%Y_%m}", month, month_after(month))
        await seed_topups(connection, demo, month, at)
        if first <= last:  # on the first day of a month there may be none
            await seed_events(connection, demo, month=month, at=at, first=first, last=last, start=start, end=end)
            await seed_refusals(connection, demo, at=at, first=first, last=last, start=start, end=end)
    await seed_monitor(connection, demo)
    await make_calls_longer(connection)
    async with connection.transaction():
        for month in months:
            await seed_figures(connection, demo, month)
    await connection.execute("analyze")
    return demo


async def make_calls_longer(connection: Connection) -> None:
    """More tokens for each call, and its cost from its price."""
    await connection.execute(
        """
        with longer as (
            select e.ctid as row_id, e.tableoid as part, $1 * e.input_tokens as input, $2 * e.output_tokens as output,
                   $1 * e.cached_input_tokens as cached, p.rates, p.vendor
              from kaixu.usage_event e
              join kaixu.price p on p.id = e.price_id
        )
        update kaixu.usage_event e
           set input_tokens = l.input, output_tokens = l.output, cached_input_tokens = l.cached,
               cost_nusd = r.cost, granted_nusd = r.cost * 2, vendor_cost_nusd = coalesce(r.vendor_cost, 0)
          from longer l
         cross join lateral (
            select ((l.input - l.cached) * (l.rates ->> 'input')::bigint
                       + l.cached * (l.rates ->> 'cached_input')::bigint
                       + l.output * (l.rates ->> 'output')::bigint + 500000) / 1000000 as cost,
                   ((l.input - l.cached) * (l.vendor ->> 'input')::bigint
                       + l.cached * (l.vendor ->> 'cached_input')::bigint
                       + l.output * (l.vendor ->> 'output')::bigint + 500000) / 1000000 as vendor_cost) r
         where e.ctid = l.row_id and e.tableoid = l.part
        """,
        *LONGER,
    )


async def set_caps(connection: Connection) -> None:
    """Caps that each month's spending fits into: some of them nearly reached, some hardly used."""
    await connection.execute(
        """
        update kaixu.customer c
           set monthly_cap_nusd = 1000000000 * (
                   select min(x.cap) from unnest($1::bigint[]) x (cap)
                    where x.cap * 1000000000 > 1.02 * coalesce(
                          (select max(m.spent_nusd - m.extra_nusd) from kaixu.customer_month m
                            where m.customer_id = c.id), 0))
        """,
        list(CAPS),
    )


async def give_keys(connection: Connection, demo: Demo) -> dict[str, SeedCustomer]:
    """Secrets for the keys of the first customers, who have a history; by the first word of their names."""
    customers = {}
    for at, company in enumerate(COMPANIES[:USABLE]):
        customer_id = demo.first_customer + at
        keys = {}
        for row in await connection.fetch(
            "select id, label from kaixu.virtual_key where customer_id = $1 and revoked_at is null order by id",
            customer_id,
        ):
            # The same in each run, so that pictures differ only where pages do.
            key = "kx_live_" + hashlib.sha256(f"{company} {row['id']}".encode()).hexdigest()[:48]
            await connection.execute(
                "update kaixu.virtual_key set key_hash = $2, key_last4 = $3, rpm_limit = 100000 where id = $1",
                row["id"],
                key_hash(SECRETS["KEY_PEPPER"], key),
                key[-4:],
            )
            keys[row["label"]] = SeedKey(row["id"], key, row["label"])
        email = await connection.fetchval(
            "update kaixu.customer set require_install_id = false, is_active = true where id = $1 returning email",
            customer_id,
        )
        customers[company.split("-")[0]] = SeedCustomer(customer_id, email, keys)
    return customers


async def columns_named(connection: Connection, name: str) -> list[str]:
    """The tables with a column of text of this name."""
    rows = await connection.fetch(
        """
        select c.oid::regclass::text as name
          from pg_attribute a
          join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p') and not c.relispartition
         where c.relnamespace = 'kaixu'::regnamespace and a.attname = $1 and a.atttypid = 'text'::regtype
           and c.relname not like 'invoice%'  -- these refuse every change
        """,
        name,
    )
    return [row["name"] for row in rows]


async def give_names(connection: Connection, demo: Demo) -> None:
    """Names of companies, apps and devices in the place of numbers; vendors by their usual names."""
    emails = [f"{MAILBOXES[at % len(MAILBOXES)]}@{name}.example" for at, name in enumerate(COMPANIES)]
    await connection.execute(
        "update kaixu.customer set email = ($1::text[])[id - $2 + 1] where id between $2 and $3",
        emails,
        demo.first_customer,
        demo.last_customer,
    )
    for table in await columns_named(connection, "provider"):
        await connection.execute(
            f"update {table} set provider = substr(provider, 6) where starts_with(provider, 'demo-')"
        )
    for table in await columns_named(connection, "app_id"):
        await connection.execute(
            f"update {table} set app_id = ($1::text[])[substr(app_id, 5)::integer] where app_id ~ '^app-[0-9]+$'",
            list(APPS),
        )
    for table in await columns_named(connection, "install_id"):
        await connection.execute(
            f"update {table} set install_id = 'install-' || substr(md5(install_id), 1, 12)"
            " where starts_with(install_id, 'demo-device-')"
        )
    for table in await columns_named(connection, "request_id"):
        if table != "kaixu.audit_event":
            await connection.execute(
                f"update {table} set request_id = 'req_' || substr(md5(request_id), 1, 20)"
                " where starts_with(request_id, 'demo-')"
            )
    await connection.execute("update kaixu.gateway_event set extra = '{}' where extra = '{\"demo\": true}'")
    await connection.execute("alter table kaixu.audit_event disable rule audit_event_is_never_changed")
    await connection.execute(
        """
        update kaixu.audit_event a
           set actor = 'operator:' || $1, request_id = 'req_' || substr(md5(a.id::text), 1, 20),
               after = jsonb_build_object('email', c.email, 'plan_name', c.plan_name)
          from kaixu.customer c
         where a.actor = 'demo' and a.target = 'customer:' || c.id
        """,
        OPERATORS["owner"][0],
    )
    await connection.execute("alter table kaixu.audit_event enable rule audit_event_is_never_changed")
    await connection.execute("delete from kaixu.demo")
