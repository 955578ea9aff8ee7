"""The address of this gateway, for what people copy from its pages."""

from __future__ import annotations

from kaixu.edge.own_url import own_url

from .visits import Visit


def gateway_url(visit: Visit) -> str:
    """`GATEWAY_URL`, or the address that the page was opened at; without a slash at its end."""
    return (visit.services.settings.gateway_url or own_url(visit.request, "")).rstrip("/")
