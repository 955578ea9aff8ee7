"""Encrypt a long stream in frames: each is AES-256-GCM by itself, and says where it belongs.

The key is used for one stream only, so a frame's number is its nonce. A frame that is missing, moved, repeated or of
another stream cannot be opened, and neither can a stream without its end.
"""

from __future__ import annotations

from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: The bytes of a frame before it is encrypted; the last one of a stream may have fewer, even none.
FRAME_BYTES = 1024 * 1024

KEY_BYTES = 32
NONCE_BYTES = 12


def new_key() -> bytes:
    """A key for one stream."""
    return AESGCM.generate_key(KEY_BYTES * 8)


def frames_of(size: int) -> int:
    """How many frames a stream of `size` bytes has: at least one."""
    return max(1, -(-size // FRAME_BYTES))


class Frames:
    """The frames of one stream."""

    def __init__(self, key: bytes, stream_id: UUID) -> None:
        self._cipher = AESGCM(key)
        self._about = stream_id.bytes

    def seal(self, number: int, data: bytes, *, is_last: bool) -> bytes:
        """Encrypt the frame `number`, from 0 on. Each number may be used for one content only."""
        return self._cipher.encrypt(nonce_of(number), data, self._about + (b"\x01" if is_last else b"\x00"))

    def open(self, number: int, sealed: bytes, *, is_last: bool) -> bytes:
        """Decrypt the frame `number`. Raises `InvalidTag` for anything else than that frame."""
        if len(sealed) > FRAME_BYTES + 16:
            raise InvalidTag
        return self._cipher.decrypt(nonce_of(number), sealed, self._about + (b"\x01" if is_last else b"\x00"))


def nonce_of(number: int) -> bytes:
    """The nonce of a frame."""
    return number.to_bytes(NONCE_BYTES, "big")
