"""Encode vectors as base64 of little-endian 32-bit floats, the format of OpenAI's clients."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

import pybase64


def encode_vector(vector: Sequence[float]) -> str:
    """A vector as base64."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return pybase64.b64encode(floats.tobytes()).decode()


def decode_vector(text: str) -> list[float]:
    """A vector from its base64."""
    floats = array("f", pybase64.b64decode(text))
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
