"""Encrypt stored texts: AES-256-GCM, with a key derived from DB_ENCRYPTION_KEY."""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: The first byte of sealed data: the version of the format.
VERSION = b"\x01"
NONCE_BYTES = 12


class Sealer:
    """Encrypts bytes for one purpose; they cannot be decrypted for another."""

    def __init__(self, secret: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"kaixu sealed data").derive(secret.encode())
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, about: str) -> bytes:
        """Encrypt `data`. Opening it needs the same secret and the same `about`."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, data, VERSION + about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt. Raises `InvalidTag` for another secret, another purpose, or a changed byte."""
        if sealed[:1] != VERSION or len(sealed) <= NONCE_BYTES:
            raise InvalidTag
        nonce = sealed[1 : 1 + NONCE_BYTES]
        return self._cipher.decrypt(nonce, sealed[1 + NONCE_BYTES :], VERSION + about.encode())


def about_job(job_id: UUID, part: str) -> str:
    """The purpose of a part of a job: its payload, result or webhook."""
    return f"job:{job_id}:{part}"
