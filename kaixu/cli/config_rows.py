"""Rows of `kaixu doctor` on what kaixu.yaml asks for: mails, links, and a way in for owners."""

from __future__ import annotations

from collections.abc import Iterable

from kaixu.accounts.operators import Operator
from kaixu.accounts.outbox import STUCK_S, OutboxState
from kaixu.config.document import Document
from kaixu.gateway.environment import Environment
from kaixu.gateway.link_notes import link_notes

from .gateway_rows import Row, row


def mail_row(outbox: OutboxState, document: Document | None) -> Row:
    """Whether mails are sent."""
    is_configured = document is not None and document.mail is not None
    detail = f"{outbox.waiting} waiting, {outbox.failed} given up in the last day"
    if not is_configured:
        why = "kaixu.yaml cannot be read" if document is None else "kaixu.yaml has no `mail:`"
        detail = f"{why}; {detail}"
    if not is_configured and not outbox.waiting:
        return row("mail", False, detail, bad="off")
    if (outbox.oldest_s or 0) > STUCK_S:
        return row("mail", False, f"{detail}; the oldest has waited for {outbox.oldest_s:.0f} s: see `kaixu mail list`")
    return row("mail", True, detail)


def link_rows(document: Document, environment: Environment) -> list[Row]:
    """A row if self-service cannot mail its links."""
    url = environment.variables.get("GATEWAY_URL")
    notes = link_notes(document.selfservice, has_mail=document.mail is not None, gateway_url=url)
    return [row("links", False, note, bad="off") for note in notes]


def login_rows(operators: Iterable[Operator], document: Document, *, admin_password_login: bool) -> list[Row]:
    """A row if no owner can log in: with the admin password, a password of their own, or single sign-on."""
    section = document.operators
    if section.admin_password and admin_password_login:
        return []
    owners = [one for one in operators if one.role == "owner" and one.disabled_at is None]
    if section.oidc is not None or any(one.has_password and not section.sso_only for one in owners):
        return []
    detail = "no owner can log in: the admin password is switched off; see `kaixu operators create --role owner`"
    return [row("logins", False, detail, bad="off")]
