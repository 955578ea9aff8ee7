"""What an integration's transaction does for customers besides money: mails, settings, secrets.

Gathered while the transaction runs, and done when it ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag

from kaixu.ops.change_origin import CHANGE_ORIGIN, acting
from kaixu.ops.mail_content import paragraphs_content
from kaixu.ops.sealing import about_secret
from kaixu.plugin.audit import AuditEntry, audit_entry
from kaixu.plugin.customer_settings import checked_changes, read_settings, shown_settings, value_conflict
from kaixu.plugin.errors import Conflict, NotFound
from kaixu.plugin.mail import MOST_A_DAY, MOST_IN_TRANSACTION, MailRequest, mail_request
from kaixu.plugin.operation import Integration
from kaixu.plugin.replies import PageLink
from kaixu.plugin.secret import SecretValue

from .integration_secrets import SecretName, sealed_secret
from .integration_settings import stored_settings
from .pool import database
from .query import Connection, Query
from .rights import Reach, Rights

#: Effects of one transaction.
MOST_EFFECTS = 100


class RefusedEffect(msgspec.Struct, frozen=True):
    """The first effect that schema/functions/apply_effects.sql refused."""

    refused: str
    customer_id: int
    field: str | None


STORE_NOTE = """
    with forgotten as (
        delete from kaixu.plugin_effect
         where made_at not between clock_timestamp() - interval '5 minutes' and clock_timestamp() + interval '5 minutes'
    )
    insert into kaixu.plugin_effect (id, integration, customers, effects, actor, origin, request_id, most_mails)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
"""

#: Does what was noted, as the role of an integration.
PLUGIN_APPLIES = "select refused, customer_id, field from kaixu__plugin.apply_effects(p_note => $1)"

#: Does it as the gateway, for an integration without tables.
APPLY = Query(
    RefusedEffect,
    """
    select refused, customer_id, field
      from kaixu.apply_effects(
               p_integration => $1, p_customers => $2, p_effects => $3, p_actor => $4, p_origin => $5,
               p_request_id => $6, p_most_mails => $7)
    """,
)


class GatheredEffects:
    """The effects of one transaction, in the order of the requests."""

    def __init__(self, rights: Rights) -> None:
        self.rights = rights
        self.effects: list[dict[str, Any]] = []

    @property
    def reach(self) -> Reach:
        """What is needed for it. Raises `ValueError` in a transaction that is no call's."""
        if self.rights.reach is None:
            raise ValueError("this transaction does nothing for customers")
        return self.rights.reach

    @property
    def customers(self) -> set[int]:
        """Whom they concern."""
        return {one["customer_id"] for one in self.effects}

    def add(self, kind: str, customer_id: int, **values: Any) -> None:
        """Note one effect. Raises `ValueError` beyond the most of one transaction."""
        if len(self.effects) >= MOST_EFFECTS:
            raise ValueError(f"one transaction does at most {MOST_EFFECTS} things for customers")
        self.effects.append({"place": len(self.effects), "kind": kind, "customer_id": customer_id, **values})

    def add_mail(self, customer_id: int, one: MailRequest) -> None:
        """Note a mail. Raises `ValueError`."""
        self.rights.require("mail")
        if sum(each["kind"] == "mail" for each in self.effects) >= MOST_IN_TRANSACTION:
            raise ValueError(f"one transaction sends at most {MOST_IN_TRANSACTION} mails")
        if any(secret in text for secret in self.reach.lent_secrets for text in one.texts):
            raise ValueError("a mail must not have a secret in it")
        title = f"the integration `{self.rights.integration}` of the kAIxU Gateway"
        where = "" if self.reach.public_url is None else f" at {self.reach.public_url}"
        content = paragraphs_content(
            one.paragraphs, self.link_of(one.link), f"You get this mail about your account{where} from {title}."
        )
        self.add(
            "mail",
            customer_id,
            key=one.key,
            subject=one.subject,
            paragraphs=list(one.paragraphs),
            link_text=None if one.link is None else one.link.text,
            link_url=None if one.link is None else one.link.url,
            text=content.text,
            html=content.html,
            is_mailed=self.reach.sends_mail(),
        )

    def add_audit(self, customer_id: int, one: AuditEntry) -> None:
        """Note an entry of the audit log. Raises `ValueError`."""
        if any(secret in text for secret in self.reach.lent_secrets for text in one.texts):
            raise ValueError("an entry of the audit log must not have a secret in it")
        self.add("audit", customer_id, name=one.action, key=one.target, seen=one.before, changes=one.after)

    def link_of(self, link: PageLink | None) -> tuple[str, str] | None:
        """A link as a mail has it: a path needs the gateway's address."""
        if link is None:
            return None
        if not link.url.startswith("/"):
            return link.text, link.url
        return None if self.reach.public_url is None else (link.text, self.reach.public_url.rstrip("/") + link.url)

    def settings_of(self, customer_id: int, stored: dict[str, Any]) -> dict[str, Any]:
        """The values that a customer has after what was gathered."""
        gathered = [one for one in self.effects if one["kind"] == "settings" and one["customer_id"] == customer_id]
        return stored | {name: value for one in gathered for name, value in one["changes"].items()}

    def take(self) -> list[dict[str, Any]]:
        """The effects, which are done only once."""
        effects, self.effects = self.effects, []
        return effects

    def columns(self, customers: Iterable[int], effects: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
        """What the database is given."""
        origin, actor = CHANGE_ORIGIN.get(), f"integration:{self.rights.integration}"
        shown = {
            "address": origin.shown_address,
            "operator_id": origin.operator_id,
            "session_id": origin.session_id,
            "token_id": origin.token_id,
        }
        if self.rights.reach is not None:
            actor = acting(self.rights.reach.actor)
        return (self.rights.integration, sorted(customers), list(effects), actor, shown, self.rights.request_id)

    async def note(self, pool: asyncpg.Pool, customers: Iterable[int]) -> UUID:
        """Let the integration's role do them once, within a minute; the note's id. Raises `DatabaseAway`."""
        note_id = uuid4()
        with database():
            await pool.execute(STORE_NOTE, note_id, *self.columns(customers, self.take()), MOST_A_DAY)
        return note_id

    async def apply(self, connection: Any, customers: Iterable[int]) -> None:
        """Do them in the gateway's own transaction. Raises as `require_applied`."""
        require_applied(await APPLY.one(connection, *self.columns(customers, self.take()), MOST_A_DAY))


def require_applied(refused: RefusedEffect | None) -> None:
    """Raises `NotFound` for an unknown customer, `Conflict`."""
    match refused:
        case None:
            return
        case RefusedEffect("UNKNOWN_CUSTOMER"):
            raise NotFound(f"there is no customer {refused.customer_id}", code="UNKNOWN_CUSTOMER")
        case RefusedEffect("KEY_USED"):
            raise Conflict(
                "the key of this mail was used for another customer",
                hint="Use a key of its own for each mail.",
                code="IDEMPOTENCY_KEY_USED",
            )
        case RefusedEffect("TAKEN"):
            raise value_conflict(refused.field or "")
        case _:
            raise Conflict("the settings of this customer were changed meanwhile", hint="Try again.")


class CustomerEffects(ABC):
    """The part of a transaction that is about customers: what is done for them is done last in it."""

    effects: GatheredEffects
    _reader: Connection  # the gateway's: one that this transaction need not wait for with another in its hands

    @abstractmethod
    def _require_open(self) -> None:
        """Raises `TicketClosed`."""

    async def mail(
        self,
        subject: str,
        paragraphs: Sequence[str],
        *,
        key: str,
        link: PageLink | None = None,
        customer_id: int | None = None,
    ) -> None:
        """See `kaixu.plugin.Database.mail`."""
        one = mail_request(subject, paragraphs, key=key, link=link)
        self.effects.add_mail(self._customer(customer_id), one)

    async def audit(
        self,
        action: str,
        target: str | None = None,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        customer_id: int | None = None,
    ) -> None:
        """See `kaixu.plugin.Database.audit`."""
        self.effects.add_audit(self._customer(customer_id), audit_entry(action, target, before, after))

    async def settings(self, *, customer_id: int | None = None) -> Any:
        """See `kaixu.plugin.Database.settings`."""
        customer_id, kind = self._customer(customer_id), self._kind_of_settings()
        stored = await stored_settings(self._reader, customer_id, self.effects.rights.integration)
        return read_settings(kind, self.effects.settings_of(customer_id, stored))

    async def change_settings(self, changes: Mapping[str, Any], *, customer_id: int | None = None) -> Any:
        """See `kaixu.plugin.Database.change_settings`."""
        customer_id, kind = self._customer(customer_id), self._kind_of_settings()
        stored = await stored_settings(self._reader, customer_id, self.effects.rights.integration)
        self._require_open()
        seen = self.effects.settings_of(customer_id, stored)
        checked = checked_changes(kind, seen, changes)
        defaults = shown_settings(kind())
        self.effects.add(
            "settings",
            customer_id,
            changes=checked,
            seen=seen,
            defaults={name: defaults[name] for name in checked},
            unique=list(self.effects.reach.integration.unique),
        )
        return read_settings(kind, seen | checked)

    async def secret(self, name: str, *, customer_id: int | None = None) -> SecretValue | None:
        """See `kaixu.plugin.Database.secret`."""
        found = self._secret(name, customer_id)
        return await opened_secret(self._reader, self.effects.reach, found)

    async def clear_secret(self, name: str, *, version: str | None = None, customer_id: int | None = None) -> None:
        """See `kaixu.plugin.Database.clear_secret`."""
        found = self._secret(name, customer_id)
        self.effects.add("clear_secret", found.customer_id, name=name, version=version)

    def _customer(self, customer_id: int | None) -> int:
        self._require_open()
        return self.effects.rights.customer_for(customer_id)

    def _kind_of_settings(self) -> type[msgspec.Struct]:
        declared = self.effects.reach.integration
        if declared.customer is None:
            raise ValueError(f"integration `{declared.name}` declares no settings of customers")
        return declared.customer

    def _secret(self, name: str, customer_id: int | None) -> SecretName:
        return declared_secret(self.effects.reach.integration, name, self._customer(customer_id))


def declared_secret(integration: Integration, name: str, customer_id: int) -> SecretName:
    """A secret that an integration declares. Raises `ValueError`."""
    if name not in {one.name for one in integration.secrets}:
        raise ValueError(f"integration `{integration.name}` declares no secret `{name}`")
    return SecretName(customer_id, integration.name, name)


async def opened_secret(db: Connection, reach: Reach, secret: SecretName) -> SecretValue | None:
    """The value of a secret and its version, or None. Raises `Conflict`, `DatabaseAway`."""
    stored = await sealed_secret(db, secret)
    if stored is None:
        return None
    about = about_secret(secret.integration, secret.customer_id, secret.name)
    try:
        value = reach.sealer.open(stored.sealed, about).decode()
    except InvalidTag:
        raise Conflict(
            f"the secret `{secret.name}` cannot be decrypted: it was stored with another DB_ENCRYPTION_KEY",
            hint="Store it again.",
        ) from None
    reach.lent_secrets.add(value)
    return SecretValue(value, stored.version)
