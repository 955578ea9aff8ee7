"""Sign webhooks as https://www.standardwebhooks.com says; alerts also with one HMAC of the body."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID


def customer_secrets(secrets: Sequence[str], customer_id: int) -> list[str]:
    """The signing secrets of a customer's webhooks, while JWT_SECRET is being replaced: see `customer_secret`."""
    return [customer_secret(secret, customer_id) for secret in secrets]


def customer_secret(secret: str, customer_id: int) -> str:
    """The signing secret of a customer's webhooks: `whsec_` and base64, as receivers expect."""
    key = hmac.new(secret.encode(), f"webhook:{customer_id}".encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(key).decode()


def signed_headers(secrets: Sequence[str], message_id: UUID, at: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook, sent `at` this Unix time: with a signature by each secret, of which one has to fit."""
    content = f"{message_id}.{at}.".encode() + body
    signatures = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        signatures.append(f"v1,{signature}")
    return {
        "content-type": "application/json",
        "webhook-id": str(message_id),
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signatures),
    }


def alert_key(secret: str) -> str:
    """The signing key of alerts, derived: a receiver that checks signatures must not be able to make tokens."""
    return hmac.new(secret.encode(), b"alert", hashlib.sha256).hexdigest()


def alert_headers(key: str, message_id: UUID, at: int, body: bytes) -> dict[str, str]:
    """The headers of an alert to an operator's webhook, sent `at` this Unix time.

    `webhook-id` is the same in all attempts at one message, so that a receiver can tell that it has it.
    """
    signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    secret = "whsec_" + base64.b64encode(key.encode()).decode()
    return {**signed_headers([secret], message_id, at, body), "x-kaixu-signature": f"sha256={signature}"}
