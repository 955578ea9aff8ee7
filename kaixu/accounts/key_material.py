"""Virtual keys: their form, and the hashes that are stored instead of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

PREFIX = "kx_live_"
SHAPE = re.compile(r"kx_live_[A-Za-z0-9_-]{43,192}")

#: Keys that other gateways have made, which `kaixu import` takes over by their hashes. Shorter ones could be guessed.
IMPORTED_SHAPE = re.compile(r"sk-[A-Za-z0-9_-]{16,192}")


def new_key() -> str:
    """A fresh key: the prefix and 48 base64url characters, 288 random bits."""
    return PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(36)).decode()


def is_key_shaped(text: str) -> bool:
    """Whether `text` could be a key, one of ours or an imported one; older ones of ours are 51 characters long."""
    return is_own_key_shaped(text) or IMPORTED_SHAPE.fullmatch(text) is not None


def is_own_key_shaped(text: str) -> bool:
    """Whether `text` could be a key that this gateway has made."""
    return SHAPE.fullmatch(text) is not None


def key_hash(pepper: str, key: str) -> bytes:
    """HMAC-SHA256 under the pepper: what the database holds, useless without the pepper."""
    return hmac.digest(pepper.encode(), key.encode(), "sha256")


def legacy_hash(key: str) -> bytes:
    """Plain SHA-256, as keys of the older edition and of LiteLLM are stored until their first use."""
    return hashlib.sha256(key.encode()).digest()
