"""Decodes vectors: lists of numbers, or base64 of 32-bit floats."""

from __future__ import annotations

import binascii
import sys
from array import array
from collections.abc import Sequence

from pybase64 import b64decode

from kaixu.plugin.errors import UpstreamError


def floats_of(sent: str | Sequence[float]) -> Sequence[float]:
    """A vector from a list of numbers or from base64 of little-endian 32-bit floats (OpenAI's `encoding_format`).

    Base64 is a third as long as JSON numbers and decodes a hundred times faster. Raises `UpstreamError`.
    """
    if not isinstance(sent, str):
        return sent
    try:
        floats = array("f", b64decode(sent, validate=True))
    except (binascii.Error, ValueError) as error:
        raise UpstreamError("the vendor's vectors cannot be read") from error
    if sys.byteorder == "big":
        floats.byteswap()
    return floats
