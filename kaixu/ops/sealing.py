"""Encrypt stored texts: AES-256-GCM, with a key derived from DB_ENCRYPTION_KEY."""

from __future__ import annotations

import os
from collections.abc import Iterable
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kaixu.config.environment import Secrets

#: The first byte of sealed data: the version of the format. `NAMED`: the id of the key follows.
VERSION = b"\x01"
NAMED = b"\x02"
NONCE_BYTES = 12
KEY_ID_BYTES = 8


def derived(secret: str, purpose: bytes, length: int) -> bytes:
    """Bytes that follow from a secret, for one purpose; they tell nothing about those for another."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(secret.encode())


class SealingKey:
    """One key, and the id by which sealed data names it."""

    def __init__(self, secret: str) -> None:
        self.id = derived(secret, b"kaixu key id", KEY_ID_BYTES)
        self.cipher = AESGCM(derived(secret, b"kaixu sealed data", 32))

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt. Raises `InvalidTag`."""
        head = len(VERSION) if sealed[:1] == VERSION else len(NAMED) + KEY_ID_BYTES
        if len(sealed) <= head + NONCE_BYTES or (sealed[:1] == NAMED and sealed[1:head] != self.id):
            raise InvalidTag
        nonce = sealed[head : head + NONCE_BYTES]
        return self.cipher.decrypt(nonce, sealed[head + NONCE_BYTES :], sealed[:head] + about.encode())


class Sealer:
    """Encrypts bytes for one purpose; they cannot be decrypted for another.

    It encrypts with the key of `secret`, and also decrypts what was encrypted with those of `older`, while
    DB_ENCRYPTION_KEY is being rotated.
    """

    def __init__(self, secret: str, older: Iterable[str] = ()) -> None:
        self._present = SealingKey(secret)
        self._keys = (self._present, *(SealingKey(one) for one in older))

    def seal(self, data: bytes, about: str) -> bytes:
        """Encrypt `data`. Opening it needs the same secret and the same `about`."""
        return self._sealed(VERSION, data, about)

    def seal_named(self, data: bytes, about: str) -> bytes:
        """The same with the key's id in front, so that it can be seen which key something was encrypted with."""
        return self._sealed(NAMED + self._present.id, data, about)

    def _sealed(self, head: bytes, data: bytes, about: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return head + nonce + self._present.cipher.encrypt(nonce, data, head + about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """Decrypt. Raises `InvalidTag` for another secret, another purpose, or a changed byte."""
        if sealed[:1] not in (VERSION, NAMED):
            raise InvalidTag
        for key in self._keys[:-1]:
            try:
                return key.open(sealed, about)
            except InvalidTag:
                continue
        return self._keys[-1].open(sealed, about)

    def resealed(self, sealed: bytes, about: str) -> bytes | None:
        """The same data under the present key; None where it is already. Raises `InvalidTag`."""
        try:
            if sealed[:1] in (VERSION, NAMED):
                self._present.open(sealed, about)
                return None
        except InvalidTag:
            pass
        data = self.open(sealed, about)
        return self.seal(data, about) if sealed[:1] == VERSION else self.seal_named(data, about)


def sealer_of(secrets: Secrets) -> Sealer:
    """The sealer of a gateway or command."""
    return Sealer(secrets.db_encryption_key, (secrets.db_encryption_key_old,) if secrets.db_encryption_key_old else ())


def about_job(job_id: UUID, part: str) -> str:
    """The purpose of a part of a job: its payload, result or webhook."""
    return f"job:{job_id}:{part}"


def about_file(file_id: UUID) -> str:
    """The purpose of a file's content."""
    return f"file:{file_id}"


def about_callback(state_hash: bytes) -> str:
    """The purpose of what was noted for the return of a browser."""
    return f"callback:{state_hash.hex()}"


def about_blob(blob_id: UUID) -> str:
    """The purpose of the key of a blob's frames."""
    return f"blob:{blob_id}"


def about_secret(integration: str, customer_id: int, name: str) -> str:
    """The purpose of a customer's secret: a row that is moved to another customer, or renamed, cannot be opened."""
    return f"secret\0{integration}\0{customer_id}\0{name}"
