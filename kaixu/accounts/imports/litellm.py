"""Translates LiteLLM's database: users and teams become customers, verification tokens become keys.

A key belongs to its team, if it has one, else to its user: so does its budget at LiteLLM. LiteLLM keeps the SHA-256 of
a key, and so does this gateway until the key's first use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from kaixu.accounts.fields import MOST_CALLS, MOST_TOKENS
from kaixu.plugin.errors import Invalid
from kaixu.store.imports import NewCustomer

from . import litellm_fields as fields
from . import values
from .budgets import Cap, cap_of
from .litellm_models import MODELS, access_groups, model_records
from .model_lists import ModelList, litellm_list
from .records import KeyRecord, ModelRecord, placeholder, report_static
from .report import Report
from .source import Source
from .values import MOST_NUSD, Row

KEYS = "LiteLLM_VerificationToken"
USERS = "LiteLLM_UserTable"
TEAMS = "LiteLLM_TeamTable"
BUDGETS = "LiteLLM_BudgetTable"
DAILY = "LiteLLM_DailyUserSpend"

KEY_FIELDS = (
    "token", "key_name", "key_alias", "spend", "expires", "models", "user_id", "team_id", "blocked", "tpm_limit",
    "rpm_limit", "max_budget", "budget_duration", "budget_reset_at", "budget_id",
)  # fmt: skip
OWNER_FIELDS = ("max_budget", "spend", "models", "tpm_limit", "rpm_limit", "budget_duration", "budget_reset_at")
USER_FIELDS = ("user_id", "user_email", *OWNER_FIELDS)
TEAM_FIELDS = ("team_id", "team_alias", "blocked", *OWNER_FIELDS)
BUDGET_FIELDS = ("budget_id", "max_budget", "tpm_limit", "rpm_limit", "budget_duration", "budget_reset_at")

HASH = re.compile(r"[0-9a-f]{64}")
LABEL = "imported"

#: The id of the customer that gets keys without a user and a team.
NOBODY = "nobody"

#: The team of keys that LiteLLM makes when somebody logs in to its pages; no row has it.
PAGES = "litellm-dashboard"

#: The most calls and tokens a minute that a limit can have here.
MOST_RATE = MOST_CALLS

#: The namespace of ids that are made from ids of other gateways.
NAMESPACE = UUID("6b616978-752d-496d-b06f-727400000000")


class Owner:
    """A user or a team, as the keys that belong to it need it."""

    def __init__(self, *, budget: Decimal | None, cap: Cap | None, rpm: int | None, is_blocked: bool) -> None:
        self.budget = budget
        self.cap = cap
        self.rpm = rpm
        self.is_blocked = is_blocked
        self.of_keys_nusd = 0  # what its keys have spent


class LiteLLM:
    """One database of LiteLLM. `now` and `month` are the time of the gateway's database."""

    system = "litellm"
    key_table = KEYS
    email_field = (USERS, "user_email")
    wanted = frozenset({KEYS, USERS, TEAMS, BUDGETS, DAILY, MODELS})

    def __init__(self, source: Source, report: Report, name: str, *, now: datetime, month: date, cap_nusd: int) -> None:
        self.source = source
        self.report = report
        self.name = name
        self.now = now
        self.cap_nusd = cap_nusd  # of a customer without a budget
        self.groups = access_groups(source)
        self.budgets = {str(row["budget_id"]): row for row in source.rows(BUDGETS, BUDGET_FIELDS)}
        sums = source.sums(DAILY, ["api_key"], "spend", "date", month.isoformat())
        self.monthly = {key: Decimal(str(spend)) for (key,), spend in sums.items()}
        self.owners: dict[str, Owner] = {}
        self.used_budgets: set[str] = set()

    def check(self) -> None:
        """Raises `Invalid` where the database is not LiteLLM's."""
        if "token" not in self.source.columns(KEYS):
            raise Invalid(
                f"this is no database of LiteLLM: it has no table {KEYS}",
                hint="Name the database that LiteLLM's DATABASE_URL names.",
            )

    # Customers

    def customers(self) -> Iterator[NewCustomer]:
        """Users, teams, and what keys refer to but no table has."""
        for row in self.source.rows(USERS, USER_FIELDS, "user_id"):
            if (user := values.text(row["user_id"])) is not None:
                yield self.customer(USERS, f"user:{user}", row, values.email(row["user_email"]) or values.email(user))
        for row in self.source.rows(TEAMS, TEAM_FIELDS, "team_id"):
            if (team := values.text(row["team_id"])) is not None:
                yield self.customer(TEAMS, f"team:{team}", row, None)
        missing = {
            owner
            for row in self.source.rows(KEYS, ("user_id", "team_id"))
            if (owner := owner_of(row)) not in self.owners and owner != f"team:{PAGES}"
        }
        for owner in sorted(missing):
            yield self.customer(USERS, owner, {}, values.email(owner.partition(":")[2]))

    def customer(self, table: str, source_id: str, row: Row | dict[str, Any], email: str | None) -> NewCustomer:
        """A user or a team as a customer."""
        report, shown = self.report, values.shown(source_id, 60) or "?"
        kind, _, own = source_id.partition(":")
        address = placeholder(kind, own, self.name) if own else f"{kind}@{self.name}.invalid"
        budget = values.number(row.get("max_budget"))
        cap = None if budget is None else self.cap(row, budget, None)
        models = litellm_list(row.get("models"), self.groups)
        blocked = values.flag(row.get("blocked"))
        rpm = rate_of(row, "rpm_limit", MOST_RATE)
        self.owners[source_id] = Owner(budget=budget, cap=cap, rpm=rpm, is_blocked=blocked)
        if row:
            self.report_owner(table, row, shown, email, cap, models)
        if not row and source_id != NOBODY:
            report.changed(
                KEYS, f"{kind}_id", f"no {kind} of this id is there any more; a customer is made for it", shown
            )
        return NewCustomer(
            source_id=source_id,
            email=email or address,
            placeholder=address,
            plan_name=self.name[:40],
            monthly_cap_nusd=self.cap_nusd if cap is None or cap.cap_nusd is None else cap.cap_nusd,
            is_active=not blocked,
            allowed_models=models.allowed,
            tpm_limit=rate_of(row, "tpm_limit", MOST_TOKENS),
            day_cap_nusd=None if cap is None else cap.day_cap_nusd,
        )

    def report_owner(
        self, table: str, row: Row | dict[str, Any], shown: str, email: str | None, cap: Cap | None, models: ModelList
    ) -> None:
        """Report the fields of a user or a team."""
        report = self.report
        report.taken(table, "user_id" if table == USERS else "team_id")
        if table == USERS and email is None:
            why = "it is not an address" if values.text(row["user_email"]) else "there is none"
            report.changed(table, "user_email", f"{why}; the customer gets an address at {self.name}.invalid", shown)
        elif table == USERS:
            report.taken(table, "user_email")
        elif values.text(row["team_alias"]):
            report.changed(table, "team_alias", f"a customer has an address: one at {self.name}.invalid", shown)
        if cap is None:
            report.changed(table, "max_budget", "without a budget the customer gets the cap of --cap-cents", shown)
        else:
            self.report_cap(table, cap, row, shown)
        self.report_models(table, models, row, shown)
        if values.whole(row["rpm_limit"]) is not None:
            report.changed(table, "rpm_limit", "its keys without a rate of their own get it, each", shown)
        if values.whole(row["tpm_limit"]) is not None:
            report.taken(table, "tpm_limit")
        if table == TEAMS and values.flag(row["blocked"]):
            report.taken(table, "blocked")

    def report_cap(self, table: str, cap: Cap, row: Row | dict[str, Any], shown: str) -> None:
        """Report a budget, its length, and what was spent of it."""
        if cap.reason is None:
            self.report.taken(table, "max_budget")
        else:
            self.report.changed(table, "max_budget", cap.reason, shown)
        if values.text(row["budget_duration"]):
            self.report.changed(table, "budget_duration", "caps are for calendar months", shown)
        if values.text(row["budget_reset_at"]):
            self.report.changed(table, "budget_reset_at", "caps begin anew on the first of the month (UTC)", shown)
        self.report.taken(table, "spend")

    def report_models(self, table: str, models: ModelList, row: Row | dict[str, Any], shown: str) -> None:
        """Report a list of models."""
        if models.reason is None and not values.text_list(row["models"]):
            return
        if models.reason is None:
            self.report.taken(table, "models")
        else:
            self.report.changed(table, "models", models.reason, shown)

    def cap(self, row: Row | dict[str, Any], budget: Decimal, this_month: Decimal | None) -> Cap:
        """A budget in a row as a cap."""
        return cap_of(
            budget,
            duration=values.text(row.get("budget_duration")),
            spent=values.number(row.get("spend")),
            reset_at=values.moment(row.get("budget_reset_at")),
            this_month=this_month,
            now=self.now,
        )

    # Keys

    def keys(self) -> Iterator[KeyRecord]:
        """All tokens; then a revoked key for each customer whose budget has more spend than its keys: the rest."""
        for row in self.source.rows(KEYS, KEY_FIELDS, "token"):
            token = (values.text(row["token"]) or "").lower()
            if not HASH.fullmatch(token):
                self.report.dropped(KEYS, "token", "it is not the SHA-256 of a key", "?")
                continue
            if values.text(row["team_id"]) == PAGES:
                self.report.dropped(KEYS, "token", "a session of LiteLLM's pages", token[:8])
                continue
            self.report.taken(KEYS, "token")
            yield self.key(token, row)
        for source_id, owner in sorted(self.owners.items()):
            rest = 0 if owner.cap is None else owner.cap.spent_nusd - owner.of_keys_nusd
            if rest > 0:
                yield rest_of(source_id, rest, self.name)

    def key(self, token: str, row: Row) -> KeyRecord:
        """A token as a key."""
        report, shown = self.report, token[:8]
        owner = self.owners[owner_of(row)]
        cap, rpm, tpm = self.limits(row, shown)
        spent = self.spent(token, row, cap, shown)
        owner.of_keys_nusd += spent
        if rpm is None and owner.rpm is not None:
            rpm = owner.rpm
        models = litellm_list(row["models"], self.groups)
        self.report_models(KEYS, models, row, shown)
        expires = values.moment(row["expires"])
        is_revoked = values.flag(row["blocked"])
        if expires is not None:
            report.taken(KEYS, "expires")
        elif (values.text(row["expires"]) or "infinity").lower() != "infinity":
            report.changed(KEYS, "expires", "it cannot be read: the key is revoked", shown)
            is_revoked = True
        if values.flag(row["blocked"]):
            report.changed(KEYS, "blocked", "the key is revoked", shown)
        label = values.shown(row["key_alias"], 60)
        if label is not None:
            report.taken(KEYS, "key_alias")
        last4 = values.shown(row["key_name"], 100)
        if last4 is not None:
            report.changed(KEYS, "key_name", "its last four characters are kept", shown)
        for field in ("user_id", "team_id"):
            if values.text(row[field]):
                report.taken(KEYS, field)
        return KeyRecord(
            source_id=token,
            owner=owner_of(row),
            key_hash=bytes.fromhex(token),
            key_last4=(last4 or "")[-4:].rjust(4, "?"),
            label=label or LABEL,
            monthly_cap_nusd=None if cap is None else cap.cap_nusd,
            rpm_limit=rpm,
            allowed_models=models.allowed,
            is_revoked=is_revoked,
            spent_nusd=spent,
            tpm_limit=tpm,
            day_cap_nusd=None if cap is None else cap.day_cap_nusd,
            expires_at=expires,
        )

    def limits(self, row: Row, shown: str) -> tuple[Cap | None, int | None, int | None]:
        """A key's caps, calls and tokens a minute: its own and those of its row in the budget table; the lower."""
        report = self.report
        shared = self.budgets.get(str(row["budget_id"])) if row["budget_id"] else None
        if row["budget_id"]:
            if shared is None:
                report.dropped(KEYS, "budget_id", "there is no such budget", shown)
            else:
                self.used_budgets.add(str(row["budget_id"]))
                report.changed(KEYS, "budget_id", "its limits are written into the key", shown)
        month = self.monthly.get(row["token"])
        caps = []
        for one in (row, shared):
            if one is not None and (budget := values.number(one["max_budget"])) is not None:
                caps.append(self.cap({**one, "spend": row["spend"]}, budget, month))
        cap = lowest(caps)
        if values.number(row["max_budget"]) is not None and cap is not None:
            self.report_cap(KEYS, cap, row, shown)
        rates: dict[str, list[int]] = {"rpm_limit": [], "tpm_limit": []}
        for field, most in (("rpm_limit", MOST_RATE), ("tpm_limit", MOST_TOKENS)):
            rates[field] += [
                rate for one in (row, shared) if one is not None and (rate := rate_of(one, field, most)) is not None
            ]
            if values.whole(row[field]) is not None:
                report.taken(KEYS, field)
        return cap, min(rates["rpm_limit"], default=None), min(rates["tpm_limit"], default=None)

    def spent(self, token: str, row: Row, cap: Cap | None, shown: str) -> int:
        """What a key has spent of this month's cap: of its budget, or, without one, since the first of the month."""
        if cap is not None:
            return cap.spent_nusd
        month = self.monthly.get(token)
        if values.number(row["spend"]):
            self.report.changed(
                KEYS,
                "spend",
                f"without a budget it is of all time; this month's is taken from {DAILY}"
                if month is not None
                else "without a budget it is of all time, and this month's is not known: 0 is taken",
                shown,
            )
        return values.nusd(month)

    # Models, and what is left out

    def models(self) -> Iterator[ModelRecord]:
        """The models that LiteLLM has in its database."""
        return model_records(self.source, self.report)

    def finish(self) -> None:
        """Report every field and table that was not read."""
        report, source = self.report, self.source
        for budget, row in self.budgets.items():
            shown = values.shown(budget, 60) or "?"
            for field in BUDGET_FIELDS:
                if budget not in self.used_budgets:
                    report.dropped(BUDGETS, field, "no key has this budget", shown)
                elif values.text(row[field]):
                    report.changed(BUDGETS, field, "written into the keys that have this budget", shown)
        report_static(source, report, KEYS, fields.KEY, KEY_FIELDS)
        report_static(source, report, USERS, fields.USER, USER_FIELDS)
        report_static(source, report, TEAMS, fields.TEAM, TEAM_FIELDS)
        report_static(source, report, BUDGETS, fields.BUDGET, BUDGET_FIELDS)
        report_static(source, report, MODELS, fields.MODEL, ("model_name", "litellm_params", "model_info"))
        for field in ("api_key", "date", "spend"):
            if self.monthly:
                report.note(DAILY, field, "taken", None, None, len(self.monthly))
        report_static(
            source,
            report,
            DAILY,
            fields.DAILY | dict.fromkeys(source.columns(DAILY), fields.HISTORY),
            ("api_key", "date", "spend"),
        )

    def table_reason(self, table: str) -> str:
        """Why a table is not read."""
        return next((reason for name, reason in fields.TABLES.items() if table.startswith(name)), fields.OTHER_TABLE)


def rate_of(row: Row | dict[str, Any], field: str, most: int) -> int | None:
    """The calls, or the tokens, a minute of a row, within what the gateway allows."""
    rate = values.whole(row.get(field))
    return None if rate is None else max(0, min(rate, most))


def lowest(caps: list[Cap]) -> Cap | None:
    """The lower cap of each kind, with what was spent; None without any."""
    if not caps:
        return None
    months = [one.cap_nusd for one in caps if one.cap_nusd is not None]
    days = [one.day_cap_nusd for one in caps if one.day_cap_nusd is not None]
    return caps[0]._replace(cap_nusd=min(months, default=None), day_cap_nusd=min(days, default=None))


def owner_of(row: Row) -> str:
    """The id of the customer that a key belongs to."""
    if team := values.text(row["team_id"]):
        return f"team:{team}"
    return f"user:{user}" if (user := values.text(row["user_id"])) else NOBODY


def rest_of(owner: str, spent_nusd: int, source: str) -> KeyRecord:
    """A revoked key that nobody has, for spend of a customer that is of none of its keys."""
    source_id = f"rest:{owner}"
    # A hash of no key: nobody can know a text of which this is the SHA-256.
    made = uuid5(NAMESPACE, f"{source}\n{source_id}").bytes
    return KeyRecord(
        source_id,
        owner,
        b"none" + made + b"\0" * 12,
        "none",
        "earlier spend",
        None,
        None,
        {},
        True,
        min(spent_nusd, MOST_NUSD),
    )
