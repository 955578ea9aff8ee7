"""The part of kaixu.yaml that a reload replaces while the gateway serves."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaixu.config.alerts_section import AlertsSection
from kaixu.config.document import Document
from kaixu.config.gateway_section import GatewaySection
from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.mail_section import MailSection
from kaixu.config.operators_section import OperatorsSection
from kaixu.config.platforms_section import PlatformsSection
from kaixu.config.selfservice_section import SelfserviceSection
from kaixu.config.station_section import StationSection

from .catalog import Catalog


@dataclass
class CurrentConfig:
    """The catalog and the sections of kaixu.yaml in force.

    A reload replaces them whole; running calls keep the old ones. Code that must see a reload keeps this object and
    reads from it each time.
    """

    catalog: Catalog
    section: GatewaySection
    invoices: InvoicesSection = field(default_factory=InvoicesSection)
    operators: OperatorsSection = field(default_factory=OperatorsSection)
    alerts: AlertsSection = field(default_factory=AlertsSection)
    mail: MailSection | None = None
    selfservice: SelfserviceSection = field(default_factory=SelfserviceSection)
    platforms: PlatformsSection = field(default_factory=PlatformsSection)
    station: StationSection = field(default_factory=StationSection)

    def take(self, document: Document) -> None:
        """Put the sections of a document in force, other than `gateway:` and what the catalog is built of."""
        self.invoices = document.invoices
        self.alerts = document.alerts
        self.operators = document.operators
        self.mail = document.mail
        self.selfservice = document.selfservice
        self.platforms = document.platforms
        self.station = document.station
