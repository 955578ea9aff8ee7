"""What a transaction does for customers, without a gateway: mails, settings, secrets; done when it ends well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kaixu.plugin.audit import AuditEntry, audit_entry
from kaixu.plugin.errors import Conflict
from kaixu.plugin.mail import MOST_IN_TRANSACTION, MailRequest, mail_request
from kaixu.plugin.operation import Integration
from kaixu.plugin.replies import PageLink
from kaixu.plugin.secret import SecretValue

from .customer_data import FakeSecrets, FakeSettings
from .money import FakeGrants


class FakeMail(NamedTuple):
    """A mail that a transaction has sent."""

    customer_id: int
    subject: str
    paragraphs: tuple[str, ...]
    key: str
    link: PageLink | None = None


class FakeStore:
    """The secrets and settings of customers, by id: those of the call's own, and of others as they are used."""

    def __init__(self) -> None:
        self.integration: Integration | None = None
        self.secrets: dict[int, FakeSecrets] = {}
        self.settings: dict[int, FakeSettings] = {}

    def secrets_of(self, customer_id: int) -> FakeSecrets:
        """The secrets of a customer."""
        found = self.secrets.setdefault(customer_id, FakeSecrets({}, lambda: customer_id))
        found.integration = self.integration
        return found

    def settings_of(self, customer_id: int) -> FakeSettings:
        """The settings of a customer."""
        found = self.settings.setdefault(customer_id, FakeSettings({}, {}, lambda: None, lambda: customer_id))
        found.integration = self.integration
        return found

    def used_secrets(self) -> set[str]:
        """Every value that was read or stored."""
        return {value for one in self.secrets.values() for value in one.used}


class FakeEffects(ABC):
    """The part of a `FakeDatabase` that is about customers. `mails` and `audited`: of transactions that ended well."""

    def __init__(self) -> None:
        self.grants = FakeGrants()
        self.store = FakeStore()
        self.mails: list[FakeMail] = []
        self.asked_mails: list[FakeMail] = []
        self.asked_settings: dict[int, dict[str, Any]] = {}
        self.asked_clears: list[tuple[int, str, str | None]] = []
        self.audited: list[tuple[int, AuditEntry]] = []
        self.asked_entries: list[tuple[int, AuditEntry]] = []

    customer_id: int | None = None

    @abstractmethod
    def _require_open(self) -> None:
        """Raises `TicketClosed`."""

    def customer_for(self, customer_id: int | None) -> int:
        """The call's customer, or another one with the grant. Raises `TicketClosed`, `ValueError`."""
        self._require_open()
        if customer_id is None:
            if self.customer_id is None:
                raise ValueError("this call has no customer")
            return self.customer_id
        if isinstance(customer_id, bool) or not isinstance(customer_id, int) or not 0 < customer_id < 2**63:
            raise ValueError(f"there can be no customer {customer_id!r:.40}")
        if customer_id != self.customer_id:
            self.grants.require("customers")
        return customer_id

    async def mail(
        self,
        subject: str,
        paragraphs: Sequence[str],
        *,
        key: str,
        link: PageLink | None = None,
        customer_id: int | None = None,
    ) -> None:
        """See `Database.mail`; in `mails` when the transaction ends well."""
        one = mail_request(subject, paragraphs, key=key, link=link)
        number = self.customer_for(customer_id)
        self.grants.require("mail")
        if len(self.asked_mails) >= MOST_IN_TRANSACTION:
            raise ValueError(f"one transaction sends at most {MOST_IN_TRANSACTION} mails")
        if any(secret in text for secret in self.store.used_secrets() for text in one.texts):
            raise ValueError("a mail must not have a secret in it")
        self.asked_mails.append(self.fake_mail(number, one))

    @staticmethod
    def fake_mail(customer_id: int, one: MailRequest) -> FakeMail:
        """A mail to a customer."""
        return FakeMail(customer_id, one.subject, one.paragraphs, one.key, one.link)

    async def audit(
        self,
        action: str,
        target: str | None = None,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        customer_id: int | None = None,
    ) -> None:
        """See `Database.audit`; in `audited`, with the customer, when the transaction ends well."""
        one = audit_entry(action, target, before, after)
        number = self.customer_for(customer_id)
        if any(secret in text for secret in self.store.used_secrets() for text in one.texts):
            raise ValueError("an entry of the audit log must not have a secret in it")
        self.asked_entries.append((number, one))

    async def settings(self, *, customer_id: int | None = None) -> Any:
        """See `Database.settings`."""
        number = self.customer_for(customer_id)
        return self.store.settings_of(number).with_changes(self.asked_settings.get(number, {}))

    async def change_settings(self, changes: Mapping[str, Any], *, customer_id: int | None = None) -> Any:
        """See `Database.change_settings`; stored when the transaction ends well."""
        number = self.customer_for(customer_id)
        settings, asked = self.store.settings_of(number), self.asked_settings.get(number, {})
        self.asked_settings[number] = asked | settings.checked(changes, asked)
        return settings.with_changes(self.asked_settings[number])

    async def secret(self, name: str, *, customer_id: int | None = None) -> SecretValue | None:
        """See `Database.secret`."""
        return await self.store.secrets_of(self.customer_for(customer_id)).read(name)

    async def clear_secret(self, name: str, *, version: str | None = None, customer_id: int | None = None) -> None:
        """See `Database.clear_secret`; done when the transaction ends well."""
        number = self.customer_for(customer_id)
        self.store.secrets_of(number).require(name)
        self.asked_clears.append((number, name, version))

    def forget(self) -> None:
        """A transaction begins: nothing is gathered yet."""
        self.asked_mails, self.asked_settings, self.asked_clears, self.asked_entries = [], {}, [], []

    async def do_effects(self) -> None:
        """Do what was gathered. Raises `Conflict`; then nothing is done."""
        for one in self.asked_mails:
            earlier = next((each for each in [*self.mails, *self.asked_mails] if each.key == one.key), one)
            if earlier.customer_id != one.customer_id:
                raise Conflict(
                    "the key of this mail was used for another customer", hint="Use a key of its own for each mail."
                )
        for number, changes in self.asked_settings.items():
            self.store.settings_of(number).take(changes)
        for number, name, version in self.asked_clears:
            await self.store.secrets_of(number).clear(name, version=version)
        for one in self.asked_mails:
            if one.key not in {each.key for each in self.mails}:
                self.mails.append(one)
        self.audited += self.asked_entries
        self.forget()
