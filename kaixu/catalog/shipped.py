"""The integrations that kaixu.yaml declares as it comes: each is off, and no mistake, while its plugin is missing."""

from __future__ import annotations

from kaixu.config.sections import IntegrationSection

#: Their names in kaixu.yaml, and what they are called.
SHIPPED = {"push": "KaixuPush", "github": "GitHub push", "stripe": "Stripe"}


def missing_plugin(name: str, section: IntegrationSection) -> str | None:
    """Why such an integration is off without its plugin; None for any other one, whose missing plugin is a mistake."""
    if name not in SHIPPED or section.plugin is not None:
        return None
    reason = f"the plugin `{name}` ({SHIPPED[name]}) is not installed"
    return reason if section.off is None else f"{reason}, and {section.off}"
