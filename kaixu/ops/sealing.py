"""What is kept sealed: AES-256-GCM under a key of its own, made from DB_ENCRYPTION_KEY."""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: Said first in everything that is sealed: the form of the rest.
FORM = b"\x01"
NONCE_BYTES = 12


class Sealer:
    """Seals bytes, each for one purpose: what was sealed as one thing does not open as another."""

    def __init__(self, secret: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"kaixu sealed data").derive(secret.encode())
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, about: str) -> bytes:
        """`data`, readable only by who has the secret and says the same `about`."""
        nonce = os.urandom(NONCE_BYTES)
        return FORM + nonce + self._cipher.encrypt(nonce, data, FORM + about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed. Raises `InvalidTag` for anything else: another secret, another purpose, a changed byte."""
        if sealed[:1] != FORM or len(sealed) <= NONCE_BYTES:
            raise InvalidTag
        nonce = sealed[1 : 1 + NONCE_BYTES]
        return self._cipher.decrypt(nonce, sealed[1 + NONCE_BYTES :], FORM + about.encode())


def about_job(job_id: UUID, part: str) -> str:
    """What a sealed text of a job is."""
    return f"job:{job_id}:{part}"
