"""Virtual keys: their form, and the hashes that are stored instead of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache

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


def other_hashes(peppers: Sequence[str], key: str) -> bytes:
    """What a key is looked for under if it is not found by `key_hash`: one text for the statements that find keys.

    `legacy_hash`; while KEY_PEPPER is being replaced, then the hash under the other pepper, 32 bytes each, and the
    `pepper_id` that admission stores with the present hash when it moves the key to it.
    """
    if len(peppers) == 1:
        return legacy_hash(key)
    present, old = peppers
    return legacy_hash(key) + key_hash(old, key) + pepper_id(present)


@lru_cache(maxsize=16)
def pepper_id(pepper: str) -> bytes:
    """Which pepper a hash was made with: stored beside it, so that what still needs the old one can be counted."""
    return hmac.digest(pepper.encode(), b"kaixu pepper id", "sha256")[:8]
