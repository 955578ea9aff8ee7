"""A seeded database in which every text that an outsider can fill is an attack on the pages that show it."""

from __future__ import annotations

import asyncpg

from .seed import Seed

#: What must stay text: elements, attributes, addresses, templates, directions, and lengths. `pwned` marks them.
PAYLOADS = (
    '"><img src=x onerror="pwned(1)"><script>pwned(2)</script>',
    "'></title></textarea></option></select></script><svg onload=pwned(3)>{{7*7}}${7*7}{% raw %}",
    'javascript:pwned(4)//" hx-get="/gateway/pwned" hx-on:click="pwned(5)" data-hx-get="/pwned" autofocus onfocus="pwned(6)',
    '=HYPERLINK("http://evil.example/pwned")\u202egpj.\u2066exe\u2028' + "A" * 180,
)

#: The columns, by table: those that a request, a customer or a vendor fills, and those of operators' forms.
COLUMNS = {
    "alert_sent": "alert",
    "audit_event": "actor target",
    "billing_account": "name email tax_id",
    "code_batch": "note",
    "customer": "email",
    "device": "device_label install_id last_seen_agent",
    "document": "doc_id body",
    "end_user_month": "end_user",
    "gateway_event": (
        "app_id build_id error_code error_message function_name model origin path provider referer user_agent "
        "upstream_body detail deployment"
    ),
    "key_group": "name",
    "key_request": "address recipient",
    "operator": "name",
    "operator_session": "address user_agent",
    "operator_token": "name last_address",
    "platform_ops": "notes owner",
    "platform_state": "updated_by",
    "topup": "source",
    "usage_event": "app_id build_id end_user install_id model provider deployment",
    "usage_series": "model provider",
    "virtual_key": "label",
    "webhook_delivery": "last_error",
}

#: Objects: a payload is a name in them and a value.
OBJECTS = {
    "audit_event": "after before meta",
    "document": "metadata",
    "gateway_event": "extra",
    "platform_state": "state",
}


async def make_hostile(dsn: str, seed: Seed) -> int:
    """Put a payload into each column, as far as the database takes it; the number of columns that have one now."""
    connection = await asyncpg.connect(dsn)
    filled = 0
    try:
        await connection.execute("alter table kaixu.audit_event disable rule audit_event_is_never_changed")
        own = {"operator_token": f"operator_id = {seed.operator_ids['owner']}"}
        for table, columns in COLUMNS.items():
            key = "id" if await has_column(connection, table, "id") else "ctid"
            for column in columns.split():
                if not await has_column(connection, table, column):
                    continue
                # In the place of values that are there, each row with its own: some must be unique.
                number = "abs(hashtext(t.ctid::text))"
                text = f"($1::text[])[1 + {number} % {len(PAYLOADS)}]"
                filled += await tried(
                    connection,
                    (f"update kaixu.{table} t set {column} = {text}", f"{column} is not null", own.get(table)),
                    (
                        f"update kaixu.{table} t set {column} = left({text}, 100) || '#' || {key}",
                        f"{column} is not null",
                    ),
                    (f"update kaixu.{table} t set {column} = left({text}, 60)", f"{column} is not null"),
                )
        for table, columns in OBJECTS.items():
            for column in columns.split():
                one, two, three, four = (f"($1::text[])[{number}]" for number in (1, 2, 3, 4))
                named = f"jsonb_build_object({one}, {two}, {three}, jsonb_build_array({four}))"
                filled += await tried(connection, (f"update kaixu.{table} set {column} = {named}",))
        await connection.execute("alter table kaixu.audit_event enable rule audit_event_is_never_changed")
    finally:
        await connection.close()
    return filled


async def has_column(connection: asyncpg.Connection, table: str, column: str) -> bool:
    """Whether a table has a column."""
    found: bool = await connection.fetchval(
        "select exists (select from pg_attribute where attrelid = ('kaixu.' || $1)::regclass and attname = $2)",
        table,
        column,
    )
    return found


async def tried(connection: asyncpg.Connection, *statements: tuple[str | None, ...]) -> bool:
    """Run the first statement that the constraints allow; whether one was, and changed something."""
    for statement, *conditions in statements:
        where = " and ".join(one for one in conditions if one)
        try:
            async with connection.transaction():
                done = await connection.execute(f"{statement} where {where}" if where else str(statement), PAYLOADS)
            return not done.endswith(" 0")
        except asyncpg.PostgresError:
            continue
    return False
