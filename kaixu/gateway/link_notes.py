"""Find self-service that cannot mail the links it is set up for, because the gateway does not know its own address."""

from __future__ import annotations

from kaixu.config.selfservice_section import SelfserviceSection


def link_notes(section: SelfserviceSection, *, has_mail: bool, gateway_url: str | None) -> list[str]:
    """A note, if there is something to note: links begin with GATEWAY_URL, never with what a request says."""
    if gateway_url or section.mode == "off":
        return []
    if section.mode != "open":
        return [
            f"self-service mails links in the mode `{section.mode}`, but GATEWAY_URL is not set: it refuses everybody"
        ]
    return ["GATEWAY_URL is not set: self-service can mail no link to people who have an account"] if has_mail else []
