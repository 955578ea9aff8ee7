"""Which tax applies to a customer, and whether a tax id can be right."""

from __future__ import annotations

import msgspec

from kaixu.config.invoices_section import InvoicesSection
from kaixu.store.billing import Billing


class Tax(msgspec.Struct, frozen=True):
    """The tax of an invoice. `rate` is in hundredths of a percent."""

    name: str
    rate: int
    note: str | None


def tax_of(section: InvoicesSection, billing: Billing) -> Tax:
    """The customer's own rate, or the first rule of kaixu.yaml that matches; no tax without one."""
    if billing.tax_rate is not None:
        return Tax("VAT", billing.tax_rate, billing.tax_note)
    for rule in section.tax:
        if rule.countries and billing.country not in rule.countries:
            continue
        if rule.has_tax_id is not None and rule.has_tax_id != (billing.tax_id is not None):
            continue
        return Tax(rule.name, rule.hundredths, billing.tax_note or rule.note)
    return Tax("VAT", 0, billing.tax_note)


def percent(rate: int) -> str:
    """A rate as text: 1900 is `19 %`, 750 is `7.5 %`."""
    return f"{rate / 100:g} %"


def checked_tax_id(country: str | None, number: str) -> str | None:
    """The number in its compact form; None for one that cannot be right. Countries without a known form take any."""
    if country is None:
        return number
    # It loads the checks of all countries, and only changes of billing details need them.
    import stdnum
    from stdnum.eu import vat as eu_vat
    from stdnum.exceptions import ValidationError

    module = stdnum.get_cc_module(country.lower(), "vat")
    if module is None:
        return number
    try:
        compact: str = module.validate(number)
    except ValidationError:
        return None
    prefix = "EL" if country == "GR" else country
    if country.lower() in eu_vat.MEMBER_STATES or country == "GR":
        return compact if compact.startswith(prefix) else prefix + compact
    return compact
