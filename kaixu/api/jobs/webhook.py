"""The field `webhook` of a submitted job: the URL that is notified when the job ends."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from kaixu.config.gateway_section import JobsSection
from kaixu.edge.fields import Fields
from kaixu.edge.services import Services
from kaixu.jobs.webhook_signing import customer_secret
from kaixu.plugin.errors import Unprocessable

MAX_URL = 2000


def read_webhook(body: dict[str, Any], section: JobsSection) -> str | None:
    """The URL, if there is one. Raises `Unprocessable`."""
    fields = Fields(body).nested("webhook")
    if fields is None:
        return None
    url = fields.text("url", most=MAX_URL)
    if url is None:
        raise Unprocessable("`webhook.url` is missing", field="webhook.url")
    try:
        parts = urlsplit(url)
        is_valid = (
            bool(parts.hostname) and parts.port != 0 and not parts.username and url.isascii() and url.isprintable()
        )
    except ValueError:
        is_valid = False
    schemes = ("https", "http") if section.webhook_http else ("https",)
    if not is_valid or parts.scheme not in schemes:
        raise Unprocessable(f"`webhook.url` must be a URL with {' or '.join(schemes)}", field="webhook.url")
    if unknown := fields.unread():
        raise Unprocessable(f"`{unknown[0]}` is not a field of `webhook`", field=unknown[0])
    return url


def webhook_reply(services: Services, customer_id: int, url: str) -> dict[str, str]:
    """The URL, and the signing secret, which is the same for all jobs of a customer."""
    return {"url": url, "secret": customer_secret(services.secrets.jwt_secret, customer_id)}
