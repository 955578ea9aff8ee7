"""Databases of other gateways, as their published schemas make them, with the calls of this month."""

from __future__ import annotations

import hashlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

DATA = Path(__file__).parents[1] / "accounts" / "imports" / "data"

#: The month that the files are written in; tests move it to the current one.
WRITTEN_IN = "2026-11"

#: Keys of the LiteLLM dump, by what is special about them.
LITELLM = {
    "monthly": "sk-AdaMonthlyKey0000000001",
    "no budget": "sk-AdaNoBudgetKey000000002",
    "daily": "sk-AdaDailyKey00000000003",
    "team": "sk-TeamKey000000000000004",
    "blocked": "sk-BlockedKey000000000005",
    "expired": "sk-ExpiredKey000000000006",
    "expires later": "sk-ExpiresLaterKey0000007",
    "nobody": "sk-NobodysKey000000000008",
    "lost user": "sk-LostUserKey00000000009",
    "shared budget": "sk-SharedBudgetKey0000010",
    "blocked team": "sk-TeamBlockedKey00000011",
    "over budget": "sk-OverBudgetKey000000012",
    "no models": "sk-NoModelsKey0000000013",
}


def this_month() -> str:
    """The current month, as YYYY-MM."""
    return f"{datetime.now(UTC):%Y-%m}"


def litellm_sql(folder: Path) -> Path:
    """The dump of a LiteLLM database, with this month's days."""
    path = folder / "litellm.sql"
    path.write_text((DATA / "litellm.sql").read_text().replace(WRITTEN_IN, this_month()))
    return path


def litellm_hash(key: str) -> str:
    """What LiteLLM keeps of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


#: Keys of one-api and new-api as they are stored; clients send them with `sk-` before.
ONE_API = {
    "limited": "A1limited0000000000000000000000000000000000000aa",
    "unlimited": "A2unlimited00000000000000000000000000000000000bb",
    "models": "A3models000000000000000000000000000000000000000c",
    "disabled": "A4disabled0000000000000000000000000000000000000d",
    "expired": "A5expired00000000000000000000000000000000000000e",
    "exhausted": "A6exhausted000000000000000000000000000000000000f",
    "used up": "A7usedup000000000000000000000000000000000000000g",
    "of nobody": "A8ofnobody0000000000000000000000000000000000000h",
    "deleted": "A9deleted00000000000000000000000000000000000000i",
}

ENABLED, DISABLED, EXPIRED, EXHAUSTED = 1, 2, 3, 4
NEVER, PAST, FUTURE = -1, 1_500_000_000, 4_000_000_000

#: model/user.go, token.go, channel.go, log.go and option.go of both: the columns that GORM makes of the structs.
USER_COLUMNS = (
    "id integer primary key, username text, password text, display_name text, role integer, status integer, email text, "
    "github_id text, wechat_id text, access_token text, quota bigint, used_quota bigint, request_count integer, "
    '"group" text, aff_code text, inviter_id integer'
)
TOKEN_COLUMNS = (
    "id integer primary key, user_id integer, key char(48), status integer, name text, created_time bigint, "
    "accessed_time bigint, expired_time bigint, remain_quota bigint, unlimited_quota numeric, used_quota bigint"
)
CHANNEL_COLUMNS = (
    "id integer primary key, type integer, key text, status integer, name text, weight integer, base_url text, models text, "
    '"group" text, model_mapping text, priority bigint'
)
LOG_COLUMNS = (
    "id integer primary key, user_id integer, created_at bigint, type integer, content text, token_name text, "
    "model_name text, quota integer"
)


def one_api_db(path: Path, *, is_new_api: bool = False) -> Path:
    """A SQLite database of one-api, or of new-api."""
    db = sqlite3.connect(path)
    more_user = ", stripe_customer text, deleted_at datetime" if is_new_api else ", oidc_id text"
    more_token = (
        ', model_limits_enabled numeric, model_limits text, allow_ips text, "group" text, deleted_at datetime'
        if is_new_api
        else ", models text, subnet text"
    )
    db.execute(f"create table users ({USER_COLUMNS}{more_user})")
    db.execute(f"create table tokens ({TOKEN_COLUMNS}{more_token})")
    db.execute(f"create table channels ({CHANNEL_COLUMNS})")
    db.execute(f"create table logs ({LOG_COLUMNS}{', token_id integer' if is_new_api else ''})")
    db.execute("create table options (key text primary key, value text)")
    db.execute('create table abilities ("group" text, model text, channel_id integer, enabled numeric)')

    def add(table: str, **fields: object) -> None:
        names = ", ".join(f'"{name}"' for name in fields)
        db.execute(f"insert into {table} ({names}) values ({', '.join('?' * len(fields))})", [*fields.values()])

    add(
        "users",
        id=1,
        username="root",
        password="x",
        role=100,
        status=1,
        email="",
        quota=5_000_000_000_000,
        group="default",
    )
    add(
        "users",
        id=2,
        username="ada",
        password="x",
        role=1,
        status=1,
        email="Ada@Example.com",
        quota=1_000_000,
        group="vip",
    )
    add(
        "users",
        id=3,
        username="grace",
        password="x",
        role=1,
        status=2,
        email="grace@example.com",
        quota=-5,
        group="default",
    )
    if is_new_api:
        db.execute("update users set stripe_customer = 'cus_7' where id = 2")
    status = {"disabled": DISABLED, "expired": ENABLED, "exhausted": EXHAUSTED}
    for at, (name, key) in enumerate(ONE_API.items(), start=1):
        add(
            "tokens",
            id=at,
            user_id={"of nobody": 99, "used up": 1}.get(name, 2),
            key=key,
            status=status.get(name, ENABLED),
            name="same name" if name in ("limited", "unlimited") else name,
            expired_time={"expired": PAST, "models": FUTURE}.get(name, NEVER),
            remain_quota=0 if name == "used up" else 250_000,
            unlimited_quota=name == "unlimited",
            used_quota=7,
        )
    if is_new_api:
        db.execute("update tokens set model_limits_enabled = 1, model_limits = 'gpt-4o-mini,ok' where name = 'models'")
        db.execute("update tokens set model_limits_enabled = 0, model_limits = 'gpt-4' where name = 'disabled'")
        db.execute("update tokens set deleted_at = '2026-01-01 00:00:00+00:00' where name = 'deleted'")
    else:
        db.execute("update tokens set models = 'gpt-4o-mini,ok' where name = 'models'")
        db.execute("update tokens set subnet = '10.0.0.0/8' where name = 'disabled'")
    now = int(datetime.now(UTC).timestamp())
    before = int(datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0).timestamp()) - 3600
    for kind, at, quota, token in (
        (2, now, 100_000, 1),
        (2, now, 25_000, 1),
        (2, before, 999_999, 1),
        (1, now, 5_000, 1),
        (2, now, 50_000, 77),
    ):
        more = {"token_id": token} if is_new_api else {}
        add(
            "logs",
            user_id=2,
            created_at=at,
            type=kind,
            quota=quota,
            token_name="same name" if token == 1 else "gone",
            **more,
        )
    add(
        "channels",
        id=1,
        type=1,
        key="sk-vendor-secret",
        status=1,
        name="openai",
        models="gpt-4o-mini,text-embedding-3-small",
        group="default",
        model_mapping='{"gpt-4o-mini": "gpt-4o-mini-2024-07-18"}',
    )
    add("channels", id=2, type=14, key="sk-ant-secret", status=2, name="off", models="claude", group="default")
    add(
        "channels",
        id=3,
        type=1,
        key="sk-other-secret",
        status=1,
        name="proxy",
        base_url="https://ai.example.com",
        models="fast,gpt-4o-mini",
        group="default",
    )
    for key, value in (
        ("ModelRatio", '{"gpt-4o-mini": 0.075, "fast": 0.5}'),
        ("CompletionRatio", '{"gpt-4o-mini": 4}'),
        ("GroupRatio", '{"default": 1, "vip": 0.8}'),
        ("SMTPToken", "smtp-secret"),
        ("Notice", ""),
    ):
        add("options", key=key, value=value)
    db.commit()
    db.close()
    return path
