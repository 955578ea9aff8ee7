"""Translates the databases of one-api and new-api: users become customers, tokens become keys.

Both count money as quota: 500,000 are one US dollar, unless the option QuotaPerUnit says something else. A user has a
balance, not a budget; it becomes this month's cap, so that as much is left as is left there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

from kaixu.accounts.key_material import key_hash, pepper_id
from kaixu.plugin.errors import Invalid
from kaixu.store.imports import NewCustomer

from . import one_api_fields as fields
from . import values
from .model_lists import plain_models
from .one_api_models import CHANNELS, OPTIONS, Ratios, channel_models
from .records import KeyRecord, ModelRecord, placeholder, report_static
from .report import Report
from .source import Source
from .values import Row, nusd

USERS = "users"
TOKENS = "tokens"
LOGS = "logs"

USER_FIELDS = ("id", "username", "email", "quota", "status", "group", "stripe_customer")
TOKEN_FIELDS = (
    "id", "user_id", "key", "status", "name", "expired_time", "remain_quota", "unlimited_quota", "models",
    "model_limits_enabled", "model_limits", "deleted_at",
)  # fmt: skip

QUOTA_OF_A_DOLLAR = Decimal(500_000)
ENABLED, DISABLED, EXPIRED, EXHAUSTED = 1, 2, 3, 4
STATES = {DISABLED: "it is disabled", EXPIRED: "it has expired", EXHAUSTED: "its quota is used up"}

#: Log entries of this type are calls.
CONSUME = 2

#: A key as it is stored; clients send it as `sk-<key>`.
KEY = re.compile(r"[A-Za-z0-9_-]{8,128}")
LABEL = "imported"

BALANCE = (
    "a balance becomes a cap for each month: what is left there, and what was spent this month. It is the same again "
    "next month: lower it, or bill by the month"
)


class OneApi:
    """One database of one-api or new-api. `month` is that of the gateway's database."""

    key_table = TOKENS
    email_field = (USERS, "email")
    wanted = frozenset({USERS, TOKENS, CHANNELS, OPTIONS, LOGS})

    def __init__(self, source: Source, report: Report, name: str, *, pepper: str, month: date, system: str) -> None:
        self.system = system
        self.source = source
        self.report = report
        self.name = name
        self.pepper = pepper
        self.ratios = Ratios(source, report)
        since = int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp())
        self.spent_of_user, self.spent_of_token = self.month_of_logs(since)
        self.of_keys: dict[str, int] = {}  # by user, in nano-dollars
        self.users: set[str] = set()

    def check(self) -> None:
        """Raises `Invalid` where the database is not of this kind."""
        if "key" not in self.source.columns(TOKENS) or "quota" not in self.source.columns(USERS):
            raise Invalid(
                f"this is no database of {self.system}: it has no tables {USERS} and {TOKENS} with a key and a quota",
                hint="one-api and new-api keep theirs in one-api.db, or where SQL_DSN points.",
            )

    def month_of_logs(self, since: int) -> tuple[dict[str, Decimal], dict[tuple[str, str], Decimal]]:
        """The quota that calls have used since the first of the month: by user, and by user and token.

        new-api notes a token's id, one-api only its name.
        """
        by = "token_id" if "token_id" in self.source.columns(LOGS) else "token_name"
        found = self.source.sums(LOGS, ["type", "user_id", by], "quota", "created_at", since)
        users: dict[str, Decimal] = {}
        tokens: dict[tuple[str, str], Decimal] = {}
        for (kind, user, token), quota in found.items():
            if values.whole(kind) == CONSUME:
                used = Decimal(str(quota))
                users[str(user)] = users.get(str(user), Decimal(0)) + used
                tokens[str(user), str(token)] = tokens.get((str(user), str(token)), Decimal(0)) + used
        return users, tokens

    def dollars(self, quota: Decimal | None) -> Decimal:
        """A quota in US dollars."""
        return (quota or Decimal(0)) / self.ratios.quota_per_dollar

    # Customers

    def customers(self) -> Iterator[NewCustomer]:
        """All users, and those that tokens refer to but no row has."""
        for row in self.source.rows(USERS, (*USER_FIELDS, "deleted_at"), "id"):
            if (user := values.text(row["id"])) is not None:
                self.users.add(user)
                yield self.customer(user, row)
        missing = {str(row["user_id"]) for row in self.source.rows(TOKENS, ("user_id",)) if row["user_id"] is not None}
        for user in sorted(missing - self.users):
            self.users.add(user)
            address = placeholder("user", user, self.name)
            self.report.changed(TOKENS, "user_id", "there is no such user any more; an inactive customer is made", user)
            yield NewCustomer(user, address, address, self.name[:40], 0, False, None)

    def customer(self, user: str, row: Row) -> NewCustomer:
        """A user as a customer."""
        report, address = self.report, placeholder("user", user, self.name)
        email = values.email(row["email"])
        report.taken(USERS, "id")
        if email is not None:
            report.taken(USERS, "email")
        else:
            report.changed(USERS, "email", f"there is none; the customer gets an address at {self.name}.invalid", user)
        if values.text(row["username"]):
            report.dropped(USERS, "username", "a customer is known by its address", user)
        quota = values.number(row["quota"]) or Decimal(0)
        report.changed(USERS, "quota", BALANCE, user)
        is_active = values.whole(row["status"]) == ENABLED and values.text(row["deleted_at"]) is None
        if is_active:
            report.taken(USERS, "status")
        else:
            report.changed(USERS, "status", "it is disabled or deleted: the customer is inactive", user)
        group = values.shown(row["group"], 40)
        if group is not None:
            report.changed(USERS, "group", "it becomes the name of the customer's plan, without effect on prices", user)
        stripe = values.shown(row["stripe_customer"], 200)
        if stripe is not None:
            report.taken(USERS, "stripe_customer")
        spent = self.spent_of_user.get(user, Decimal(0))
        return NewCustomer(
            source_id=user,
            email=email or address,
            placeholder=address,
            plan_name=group or self.name[:40],
            monthly_cap_nusd=nusd(self.dollars(max(quota, Decimal(0)) + spent)),
            is_active=is_active,
            allowed_models=None,
            stripe_customer_id=stripe,
        )

    # Keys

    def keys(self) -> Iterator[KeyRecord]:
        """All tokens; then, for each user with more spend than its tokens have, a revoked key that has the rest."""
        names: dict[tuple[str, str], int] = {}
        for row in self.source.rows(TOKENS, TOKEN_FIELDS, "id"):
            token, user = values.text(row["id"]), values.text(row["user_id"])
            key = values.text(row["key"])
            if token is None or user is None or key is None or not KEY.fullmatch(key):
                self.report.dropped(TOKENS, "key", "it is no key", token or "?")
                continue
            if values.text(row["deleted_at"]) is not None:
                self.report.dropped(TOKENS, "key", "it was deleted", token)
                continue
            yield self.key(token, user, key, row, names)
        for user in sorted(self.users):
            rest = nusd(self.dollars(self.spent_of_user.get(user))) - self.of_keys.get(user, 0)
            if rest > 0:
                made_with = pepper_id(self.pepper)
                made = key_hash(self.pepper, f"{self.name}\nrest:{user}\nno key has this text")
                yield KeyRecord(
                    f"rest:{user}", user, made, "none", "earlier spend", None, None, {}, True, rest, made_with
                )

    def key(self, token: str, user: str, key: str, row: Row, names: dict[tuple[str, str], int]) -> KeyRecord:
        """A token as a key. `names`: how many tokens of a user have had each name."""
        report = self.report
        report.taken(TOKENS, "id", "user_id")
        report.changed(TOKENS, "key", "its hash is kept; clients send `sk-` and the key, as before", token)
        name = values.shown(row["name"], 60)
        if name is not None:
            report.taken(TOKENS, "name")
        expires = values.seconds(row["expired_time"])
        if expires is not None:
            report.taken(TOKENS, "expired_time")
        spent = self.spent(token, user, row, names)
        self.of_keys[user] = self.of_keys.get(user, 0) + spent
        cap = None
        if values.flag(row["unlimited_quota"]):
            report.taken(TOKENS, "unlimited_quota")
        else:
            remaining = max(values.number(row["remain_quota"]) or Decimal(0), Decimal(0))
            cap = min(nusd(self.dollars(remaining)) + spent, values.MOST_NUSD)
            report.changed(TOKENS, "remain_quota", BALANCE, token)
        return KeyRecord(
            source_id=token,
            owner=user,
            key_hash=key_hash(self.pepper, f"sk-{key}"),
            key_last4=key[-4:],
            label=name or LABEL,
            monthly_cap_nusd=cap,
            rpm_limit=None,
            allowed_models=self.models_of(token, row),
            is_revoked=self.is_revoked(token, row),
            spent_nusd=spent,
            pepper_id=pepper_id(self.pepper),
            expires_at=expires,
        )

    def spent(self, token: str, user: str, row: Row, names: dict[tuple[str, str], int]) -> int:
        """What a token has spent this month. Of tokens with one name the first one gets what their logs say."""
        if "token_id" in self.source.columns(LOGS):
            return nusd(self.dollars(self.spent_of_token.get((user, token))))
        name = (user, values.text(row["name"]) or "")
        names[name] = names.get(name, 0) + 1
        quota = self.spent_of_token.get(name)
        if quota and names[name] > 1:
            self.report.changed(
                LOGS, "token_name", "several tokens have this name: the first one gets its spend", token
            )
        return nusd(self.dollars(quota)) if names[name] == 1 else 0

    def models_of(self, token: str, row: Row) -> dict[str, list[str]] | None:
        """The models that a token may use. one-api: `models`; new-api: `model_limits`, if they are switched on."""
        field, listed = "models", values.text(row["models"])
        if values.flag(row["model_limits_enabled"]):
            # Switched on with an empty list, nothing is allowed.
            field, listed = "model_limits", values.text(row["model_limits"])
            self.report.taken(TOKENS, "model_limits_enabled")
            if listed is None:
                return {}
        elif values.text(row["model_limits"]):
            self.report.dropped(TOKENS, "model_limits", "they are switched off", token)
        if listed is None:
            return None
        self.report.taken(TOKENS, field)
        return plain_models(listed.split(",")).allowed

    def is_revoked(self, token: str, row: Row) -> bool:
        """Whether a token no longer works."""
        status = values.whole(row["status"])
        if status != ENABLED:
            self.report.changed(
                TOKENS, "status", f"{STATES.get(status or 0, 'it is not enabled')}: the key is revoked", token
            )
        else:
            self.report.taken(TOKENS, "status")
        return status != ENABLED

    # Models, and what is left out

    def models(self) -> Iterator[ModelRecord]:
        """The models of the channels that are enabled."""
        return channel_models(self.source, self.report, self.ratios)

    def finish(self) -> None:
        """Report every field and table that was not read."""
        report, source = self.report, self.source
        if self.spent_of_user:
            for field in ("user_id", "created_at", "quota", "type"):
                report.note(LOGS, field, "taken", None, None, len(self.spent_of_user))
            by = "token_id" if "token_id" in source.columns(LOGS) else "token_name"
            report.note(LOGS, by, "taken", None, None, len(self.spent_of_token))
        report_static(source, report, USERS, fields.USER, USER_FIELDS)
        report_static(source, report, TOKENS, fields.TOKEN, TOKEN_FIELDS)
        report_static(
            source, report, CHANNELS, fields.CHANNEL, ("type", "status", "name", "base_url", "models", "model_mapping")
        )
        logs = ("user_id", "created_at", "quota", "type", "token_id", "token_name")
        report_static(source, report, LOGS, dict.fromkeys(source.columns(LOGS), fields.HISTORY), logs)
        self.ratios.report_rest()

    def table_reason(self, table: str) -> str:
        """Why a table is not read."""
        return fields.TABLES.get(table, fields.OTHER_TABLE)
