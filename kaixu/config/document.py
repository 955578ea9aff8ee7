"""The whole of kaixu.yaml."""

from __future__ import annotations

from pydantic import (
    Field,
    PrivateAttr,
)

from .gateway_section import GatewaySection
from .invoices_section import InvoicesSection
from .read import Reading
from .sections import IntegrationSection, LaneSection
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
