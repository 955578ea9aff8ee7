"""The whole of kaixu.yaml."""

from __future__ import annotations

from pydantic import (
    Field,
    PrivateAttr,
)

from .alerts_section import AlertsSection
from .gateway_section import GatewaySection
from .invoices_section import InvoicesSection
from .mail_section import MailSection
from .operators_section import OperatorsSection
from .plans_section import PlanName, PlanSection
from .platforms_section import PlatformsSection
from .read import Reading
from .sections import IntegrationSection, LaneSection
from .selfservice_section import SelfserviceSection
from .station_section import StationSection
from .values import (
    PluginName,
    Section,
)


class Document(Section):
    """The whole file."""

    gateway: GatewaySection = Field(default=GatewaySection(), description="the gateway itself")
    lanes: dict[str, LaneSection] = Field(default={}, description="the lanes, by the provider name that clients send")
    plugins: list[PluginName] = Field(
        default=[], max_length=200, description="plugin files or folders besides those that lanes name"
    )
    integrations: dict[str, IntegrationSection] = Field(default={}, description="the integrations that are switched on")
    invoices: InvoicesSection = Field(default=InvoicesSection(), description="invoices: the seller, numbers, tax")
    operators: OperatorsSection = Field(default=OperatorsSection(), description="operators: how they log in")
    alerts: AlertsSection = Field(default=AlertsSection(), description="alerts: thresholds, webhooks, mail")
    mail: MailSection | None = Field(default=None, description="how mails are sent; without it none is")
    selfservice: SelfserviceSection = Field(
        default=SelfserviceSection(), description="keys that people request themselves"
    )
    platforms: PlatformsSection = Field(
        default=PlatformsSection(), description="the other surfaces that belong to this gateway"
    )
    station: StationSection = Field(default=StationSection(), description="the public page with the products")
    plans: dict[PlanName, PlanSection] = Field(
        default={}, max_length=200, description="plans: templates of customers' limits, by their names"
    )
    _reading: Reading | None = PrivateAttr(None)
    _public_name: str | None = PrivateAttr(None)

    @property
    def reading(self) -> Reading:
        """The positions of all values, for mistakes that are found later."""
        return self._reading or Reading("kaixu.yaml")

    @property
    def public_name(self) -> str | None:
        """The provider name in replies for lanes without a `public_name`."""
        return self._public_name
