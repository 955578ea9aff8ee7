"""How the end of a job is told: what is said, and how it is signed (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from uuid import UUID


def secret_of(secret: str, customer_id: int) -> str:
    """What a customer's webhooks are signed with, as its receivers want it: `whsec_` and base64."""
    key = hmac.new(secret.encode(), f"webhook:{customer_id}".encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(key).decode()


def signed_headers(secret: str, message_id: UUID, at: int, body: bytes) -> dict[str, str]:
    """The headers of a message that is sent `at` this time (seconds since 1970)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{message_id}.{at}.".encode() + body
    signature = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "webhook-id": str(message_id),
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{signature}",
    }
