"""Redemption codes: their form, and the hash that is stored instead of them."""

from __future__ import annotations

import hmac
import re
import secrets

#: Letters and digits that are not mistaken for each other when somebody types them (Crockford's base 32).
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PREFIX = "KX"
GROUPS, GROUP_LENGTH = 5, 5
LENGTH = GROUPS * GROUP_LENGTH

#: What people write for what they see.
LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})
SEPARATORS = re.compile(r"[\s-]+")


def new_code() -> str:
    """A fresh code: `KX-` and five groups of five characters, 125 random bits."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS))
    return "-".join([PREFIX, *groups])


def normal_code(text: str) -> str | None:
    """The characters of a code, however it is written; None for what cannot be one."""
    plain = SEPARATORS.sub("", text).upper()
    if len(plain) == LENGTH + len(PREFIX) and plain.startswith(PREFIX):
        plain = plain[len(PREFIX) :]
    plain = plain.translate(LOOKALIKES)
    if len(plain) != LENGTH or not set(plain) <= set(ALPHABET):
        return None
    return plain


def code_hash(pepper: str, plain: str) -> bytes:
    """HMAC-SHA256 of a code's characters under the pepper: what the database has."""
    return hmac.digest(pepper.encode(), b"redemption code " + plain.encode(), "sha256")


def network_hash(pepper: str, network: str) -> bytes:
    """HMAC-SHA256 of a network under the pepper."""
    return hmac.digest(pepper.encode(), b"redemption network " + network.encode(), "sha256")
