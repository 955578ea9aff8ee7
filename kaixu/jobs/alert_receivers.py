"""The operator's receivers of alerts, by kaixu.yaml and the environment as they are now."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from kaixu.catalog.current import CurrentConfig
from kaixu.config.alerts_section import AlertsSection
from kaixu.config.environment import Secrets, Settings
from kaixu.store.alerts import ALERTS

from .webhook_signing import alert_key


class WebhookReceiver(msgspec.Struct, frozen=True):
    """A webhook of the operator's. `name` is its destination in the outbox; `types`: only these, empty: all."""

    name: str
    url: str
    key: str
    types: Collection[str] = ()

    def wants(self, alert_type: str) -> bool:
        """Whether it gets alerts of this type."""
        return not self.types or alert_type in self.types


class AlertReceivers:
    """Who gets alerts. `current` is read at each use, so a reload applies."""

    def __init__(self, settings: Settings, secrets: Secrets, current: CurrentConfig) -> None:
        self.settings = settings
        self.secrets = secrets
        self.current = current

    @property
    def section(self) -> AlertsSection:
        """The `alerts:` section in force."""
        return self.current.alerts

    def thresholds(self) -> list[int]:
        """The thresholds of caps without their own, in percent."""
        return self.section.cap_thresholds(self.settings.cap_warn_pct)

    def webhooks(self) -> list[WebhookReceiver]:
        """The operator's webhooks."""
        derived = alert_key(self.secrets.jwt_secret)
        receivers = []
        if self.settings.alert_webhook_url is not None:
            receivers.append(WebhookReceiver(ALERTS, self.settings.alert_webhook_url.get_secret_value(), derived))
        for name, one in self.section.webhooks.items():
            key = derived if one.secret is None else one.secret.get_secret_value()
            receivers.append(WebhookReceiver(f"{ALERTS}:{name}", one.url.get_secret_value(), key, one.types))
        return receivers

    def addresses(self, alert_type: str) -> list[str]:
        """The operator's addresses that get alerts of this type; none where no mail is sent."""
        types = self.section.mail_types
        if self.current.mail is None or (types and alert_type not in types):
            return []
        return list(dict.fromkeys(self.section.mail))

    def mails_customer(self, own_choice: bool | None) -> bool:
        """Whether a customer gets alerts of its account by mail; `own_choice` is its `alert_mail`."""
        return self.current.mail is not None and (self.section.customers if own_choice is None else own_choice)
