"""Decompress request bodies (`content-encoding`) piece by piece, within the size limit."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import brotli

from kaixu.plugin.errors import Invalid, TooLarge, UnsupportedEncoding

from .request_body import BodyShare

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes that are read or produced in one step; other requests are served between steps.
STEP_BYTES = 64 * 1024

#: The maximum number of encodings of a body, and of members (gzip) or frames (zstd).
MAX_ENCODINGS = 3
MAX_MEMBERS = 100

#: 8 MiB, as RFC 8878 §3.1.1.1.2 recommends. The sender chooses the window, which costs memory.
MAX_ZSTD_WINDOW_LOG = 23

Pieces = Iterator[bytes]


class InvalidData(Exception):
    """The data is not valid in its encoding."""


def read_encodings(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The encodings of a body, in the order they were applied, without `identity`. Raises `UnsupportedEncoding`."""
    sent = headers.get("content-encoding")
    if not sent:
        return ()
    named = [one.strip().lower() for one in sent.split(",")]
    encodings = tuple(one for one in named if one not in ("", "identity"))
    for one in encodings:
        if one not in DECODERS:
            raise UnsupportedEncoding(f"unsupported content-encoding `{one[:40]}`", hint=f"Send one of {ACCEPTED}.")
    if len(encodings) > MAX_ENCODINGS:
        raise UnsupportedEncoding(
            f"the body has {len(encodings)} content-encodings; at most {MAX_ENCODINGS} are supported",
            hint=f"Send one of {ACCEPTED}.",
        )
    return encodings


async def decode_body(body: bytes, encodings: tuple[str, ...], most: int, share: BodyShare) -> bytes:
    """Decode the body. Raises `TooLarge` as soon as it exceeds `most` bytes, `Invalid`, `Overloaded`."""
    if not body or not encodings:
        return body
    parts = []
    async for piece in decoded_pieces(body, encodings, most):
        share.take(len(piece))
        parts.append(piece)
    return b"".join(parts)


async def decoded_pieces(body: bytes, encodings: tuple[str, ...], most: int) -> AsyncIterator[bytes]:
    """The decoded body in pieces. Raises `TooLarge`, `Invalid`."""
    pieces = split_body(body)
    for name in reversed(encodings):
        pieces = limit_size(DECODERS[name](pieces), most)
    while True:
        try:
            piece = next(pieces, None)
        except InvalidData:
            raise Invalid(
                f"the body is not complete, valid {', '.join(encodings)} data",
                hint="Send it again, or without content-encoding.",
            ) from None
        if piece is None:
            return
        yield piece
        await asyncio.sleep(0)


def split_body(body: bytes) -> Pieces:
    """Split a body into pieces."""
    for at in range(0, len(body), STEP_BYTES):
        yield body[at : at + STEP_BYTES]


def limit_size(pieces: Pieces, most: int) -> Pieces:
    """Pass the pieces on. Raises `TooLarge` after more than `most` bytes."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > most:
            raise TooLarge(f"the decompressed body is longer than {most} bytes")
        yield piece


def decode_gzip(pieces: Pieces) -> Pieces:
    """Gzip, with one or several members (RFC 1952 §2.2)."""
    return inflate(pieces, lambda _: zlib.decompressobj(wbits=31), MAX_MEMBERS)


def decode_deflate(pieces: Pieces) -> Pieces:
    """Deflate in zlib's format (RFC 9110 §8.4.1.2), or raw, as many clients send it."""

    def new_decoder(first: bytes) -> Any:
        is_zlib = len(first) >= 2 and first[0] & 0x0F == 8 and int.from_bytes(first[:2], "big") % 31 == 0
        return zlib.decompressobj(wbits=15 if is_zlib else -15)

    return inflate(pieces, new_decoder, 1)


def inflate(pieces: Pieces, begin: Callable[[bytes], Any], most_members: int) -> Pieces:
    """Decompress with zlib. `begin` makes the decoder for a member from its first bytes."""
    decoder: Any = None
    members = 0
    for piece in pieces:
        rest = piece
        while rest:
            if decoder is None:
                if members and not rest.strip(b"\0"):
                    break  # padding after the last member
                members += 1
                if members > most_members:
                    raise InvalidData
                decoder = begin(rest)
            try:
                data = decoder.decompress(rest, STEP_BYTES)
            except zlib.error:
                raise InvalidData from None
            if data:
                yield data
            rest = decoder.unconsumed_tail
            if decoder.eof:
                rest, decoder = decoder.unused_data, None
            elif not rest and len(data) == STEP_BYTES:
                yield from drain(decoder)
                if decoder.eof:
                    rest, decoder = decoder.unused_data, None
    if decoder is not None or not members:
        raise InvalidData


def drain(decoder: Any) -> Pieces:
    """The rest of zlib's output."""
    while data := decoder.decompress(b"", STEP_BYTES):
        yield data


def decode_brotli(pieces: Pieces) -> Pieces:
    """Brotli (RFC 7932)."""
    decoder = brotli.Decompressor()
    for piece in pieces:
        if decoder.is_finished():
            raise InvalidData  # nothing may follow
        data = piece
        while True:
            try:
                out = decoder.process(data, output_buffer_limit=STEP_BYTES)
            except brotli.error:
                raise InvalidData from None
            if out:
                yield out
            if decoder.is_finished() or (decoder.can_accept_more_data() and len(out) < STEP_BYTES):
                break
            data = b""
    if not decoder.is_finished():
        raise InvalidData


def decode_zstd(pieces: Pieces) -> Pieces:
    """Zstandard (RFC 8878), with one or several frames."""
    options = {int(zstd.DecompressionParameter.window_log_max): MAX_ZSTD_WINDOW_LOG}
    decoder: Any = None
    frames = 0
    for piece in pieces:
        rest = piece
        while rest or (decoder is not None and not decoder.needs_input):
            if decoder is None:
                frames += 1
                if frames > MAX_MEMBERS:
                    raise InvalidData
                decoder = zstd.ZstdDecompressor(options=options)
            try:
                data = decoder.decompress(rest, STEP_BYTES)
            except (zstd.ZstdError, EOFError):
                raise InvalidData from None
            if data:
                yield data
            rest = b""
            if decoder.eof:
                rest, decoder = decoder.unused_data, None
    if decoder is not None or not frames:
        raise InvalidData


DECODERS: dict[str, Callable[[Pieces], Pieces]] = {
    "gzip": decode_gzip,
    "x-gzip": decode_gzip,
    "deflate": decode_deflate,
    "br": decode_brotli,
    "zstd": decode_zstd,
}

#: The supported encodings, as errors list them.
ACCEPTED = "gzip, deflate, br, zstd"
