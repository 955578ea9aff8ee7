"""The services that handlers use, opened at start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from kaixu.accounts.monitor_archive import MonitorArchive
from kaixu.accounts.operator_passwords import Passwords
from kaixu.accounts.selfservice import Selfservice
from kaixu.catalog.catalog import Catalog
from kaixu.catalog.current import CurrentConfig
from kaixu.collections.searches import Searches
from kaixu.config.environment import Secrets, Settings
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.mail_section import MailSection
from kaixu.config.operators_section import OperatorsSection
from kaixu.config.platforms_section import PlatformsSection
from kaixu.config.station import Station, station_of
from kaixu.jobs.batches import Batches
from kaixu.jobs.queue import Queue
from kaixu.metering.gate import Gate
from kaixu.metering.metrics import Metrics
from kaixu.metering.panels import PanelLoads
from kaixu.metering.statements import StateMonth, statements_of
from kaixu.ops.events import Monitor
from kaixu.ops.heartbeat import Beats
from kaixu.ops.mail_health import MailHealth
from kaixu.reports.monitor_tail import MonitorTail

#: Asks for the processes of this gateway: slot, process id, state, since when, version; None if it is not known.
AskWorkers = Callable[[], Awaitable[list[dict[str, Any]] | None]]


@dataclass
class Services:
    """The services of one gateway. A reload replaces `current`'s content; calls in flight keep the old catalog.

    Database connections: `pool` for general use, `reports` for operators' lists, `searches` for collections.
    """

    settings: Settings
    secrets: Secrets
    pool: asyncpg.Pool
    gate: Gate
    monitor: Monitor
    current: CurrentConfig
    queue: Queue
    batches: Batches
    reports: asyncpg.Pool
    searches: Searches
    tail: MonitorTail
    metrics: Metrics
    monitor_archive: MonitorArchive
    beats: Beats = field(default_factory=Beats)
    passwords: Passwords = field(default_factory=Passwords)
    mail_health: MailHealth = field(default_factory=MailHealth)
    panel_loads: PanelLoads = field(default_factory=PanelLoads)
    workers: AskWorkers | None = None  # the processes of this gateway, if there are several

    @property
    def catalog(self) -> Catalog:
        """The catalog in force."""
        return self.current.catalog

    @property
    def gateway(self) -> GatewaySection:
        """The `gateway:` section in force."""
        return self.current.section

    @property
    def invoices(self) -> InvoicesSection:
        """The `invoices:` section in force."""
        return self.current.invoices

    @property
    def statements(self) -> Mapping[str, StateMonth]:
        """What books show in invoices, by the book's name."""
        return statements_of(self.catalog)

    @property
    def operators(self) -> OperatorsSection:
        """The `operators:` section in force; the environment can switch the admin password off, too."""
        section = self.current.operators
        if section.admin_password and not self.settings.admin_password_login:
            return section.model_copy(update={"admin_password": False})
        return section

    @property
    def mail(self) -> MailSection | None:
        """The `mail:` section in force; None: no mails are sent."""
        return self.current.mail

    @property
    def selfservice(self) -> Selfservice:
        """The settings of self-service in force."""
        return Selfservice(self.current.selfservice, self.mail, self.settings, self.secrets)

    @property
    def platforms(self) -> PlatformsSection:
        """The `platforms:` section in force."""
        return self.current.platforms

    @property
    def station(self) -> Station:
        """The station in force."""
        return station_of(self.current.station, self.settings)
