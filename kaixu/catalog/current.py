"""The part of kaixu.yaml that a reload replaces while the gateway serves."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaixu.config.gateway_section import GatewaySection
from kaixu.config.invoices_section import InvoicesSection

from .catalog import Catalog


@dataclass
class CurrentConfig:
    """The catalog and the sections `gateway:` and `invoices:` in force.

    A reload replaces them whole; running calls keep the old ones. Code that must see a reload keeps this object and
    reads from it each time.
    """

    catalog: Catalog
    section: GatewaySection
    invoices: InvoicesSection = field(default_factory=InvoicesSection)
