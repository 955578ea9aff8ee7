"""What the translators of other gateways produce: customers, keys with their earlier spend, and models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from .report import Report
from .source import Source, static_outcomes


class KeyRecord(NamedTuple):
    """A key of the other gateway. Money is in nano-dollars.

    `owner`: the id of its customer there. `spent_nusd`: what it has spent of this month's cap.
    `pepper_id`: of the pepper of `key_hash`; None: it has none.
    """

    source_id: str
    owner: str
    key_hash: bytes
    key_last4: str
    label: str
    monthly_cap_nusd: int | None
    rpm_limit: int | None
    allowed_models: dict[str, list[str]] | None
    is_revoked: bool
    spent_nusd: int
    pepper_id: bytes | None = None
    tpm_limit: int | None = None
    day_cap_nusd: int | None = None
    expires_at: datetime | None = None


class ModelRecord(NamedTuple):
    """A model of the other gateway, as one vendor serves it. Rates are in US dollars per million tokens."""

    name: str
    provider: str
    upstream: str
    base_url: str | None
    kind: str  # chat | embed
    rates: Mapping[str, Decimal]
    note: str | None  # what an operator has to look at


def report_static(source: Source, report: Report, table: str, reasons: Mapping[str, str], known: Iterable[str]) -> None:
    """Report the fields that are never taken, and those that have no value in any row."""
    known = {*known}
    for field, reason, rows in static_outcomes(source, table, reasons, known):
        if rows:
            report.note(table, field, "dropped", reason, None, rows)
        else:
            report.note(table, field, "empty", None, None, 0)
    for field in source.columns(table):
        if field in known and not report.has(table, field):
            report.note(table, field, "empty", None, None, 0)


def placeholder(kind: str, source_id: str, source: str) -> str:
    """An address for a customer without one, which no mail server accepts (RFC 2606): `user-7@litellm.invalid`."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", source_id.lower()).strip("-.")
    if plain != source_id or not plain or len(plain) > 40:
        plain = f"{plain[:24].strip('-.')}-{hashlib.sha256(source_id.encode()).hexdigest()[:8]}".strip("-.")
    return f"{kind}-{plain}@{source}.invalid"
