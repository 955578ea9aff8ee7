"""A form with a file (multipart/form-data, RFC 7578) whose file is not read into memory: its fields, then the file.

The file must be the last part, as browsers send it: only then its length is known before it is read. werkzeug's decoder
is not used: a delimiter that arrives in two pieces can leave a part of itself in the data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from werkzeug.http import parse_options_header

from kaixu.edge.request import UploadSource
from kaixu.plugin.errors import Invalid, TooLarge, Unprocessable

from .form_data import FormData
from .uploads import MOST_NAME, MOST_PARTS, UPLOAD

#: All fields of the form together, with their headers.
MOST_FIELD_BYTES = 64 * 1024

MOST_BOUNDARY = 200  # RFC 2046 allows 70
LINE = b"\r\n"


class FileForm:
    """The fields of a form, and its file, which is still to be read: an upload. `file_name`: as the browser says it.

    `content_type`: what the browser takes the file for.
    """

    def __init__(self, body: UploadSource, boundary: bytes) -> None:
        self.fields = FormData()
        self.file_name = ""
        self.content_type = ""
        self.announced_bytes = 0
        self._total = body.announced_bytes
        self._received = 0
        self._pieces = body.pieces()
        self._delimiter = LINE + b"--" + boundary
        self._buffer = bytearray(LINE)  # the first delimiter has no line before it
        self._taken = -len(LINE)  # of the body, from the buffer
        self._has_begun = False

    async def read_fields(self) -> None:
        """Read everything before the file. Raises `Unprocessable`, `TooLarge`, and what the body raises."""
        pairs: list[tuple[str, str]] = []
        await self._skip(self._delimiter)
        for _ in range(MOST_PARTS):
            await self._skip(LINE)
            headers = headers_of(await self._until(LINE + LINE))
            disposition, options = parse_options_header(headers.get("content-disposition", ""))
            if disposition != "form-data" or not options.get("name"):
                raise Unprocessable("a part of the form has no name")
            if "filename" in options:
                break
            pairs.append((plain_text(options["name"]), plain_text(text_of(await self._until(self._delimiter)))))
        else:
            raise Unprocessable(f"the form has more than {MOST_PARTS} parts")
        self.fields = FormData(pairs)
        self.file_name = "".join(one for one in options["filename"] if one.isprintable())[:MOST_NAME]
        self.content_type = headers.get("content-type", "")
        self.announced_bytes = self._total - self._taken - len(self._delimiter) - len(b"--" + LINE)
        if self.announced_bytes < 0:
            raise unreadable()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file as it arrives, once; exactly as long as announced. Raises `Invalid`, and what the body raises."""
        if self._has_begun:
            raise ValueError("the file of this form was read already")
        self._has_begun = True
        left, before = self.announced_bytes, b""
        while left:
            if not self._buffer:
                await self._feed()
            piece = bytes(self._buffer[:left])
            del self._buffer[: len(piece)]
            left -= len(piece)
            seen = before + piece
            if self._delimiter in seen:
                raise not_last()
            before = seen[1 - len(self._delimiter) :]
            yield piece
        while len(self._buffer) < self._total - self._taken - self.announced_bytes:
            await self._feed()
        if self._buffer != self._delimiter + b"--" + LINE:
            raise not_last()
        await self.discard(0)  # the end of the request

    async def discard(self, most_bytes: int) -> None:
        """Read the rest, if it is not longer: a browser reads the answer only when it has sent its form."""
        if self._total - self._received <= most_bytes:
            async for piece in self._pieces:
                self._received += len(piece)

    async def _skip(self, expected: bytes) -> None:
        """Take what must come next. Raises `Unprocessable` for anything else."""
        while len(self._buffer) < len(expected):
            await self._feed()
        if not self._buffer.startswith(expected):
            is_end = self._buffer.startswith(b"--")
            raise Unprocessable("the form has no file") if is_end else unreadable()
        self._take(len(expected))

    async def _until(self, mark: bytes) -> bytes:
        """What comes before a mark, which is taken, too. Raises `TooLarge`, `Unprocessable`."""
        begin = 0
        while (at := self._buffer.find(mark, begin)) < 0:
            begin = max(0, len(self._buffer) - len(mark))
            self._require_short(len(self._buffer))
            await self._feed()
        self._require_short(at)
        found = bytes(self._buffer[:at])
        self._take(at + len(mark))
        return found

    def _require_short(self, further: int) -> None:
        if self._taken + further > MOST_FIELD_BYTES:
            raise TooLarge(f"the fields of the form have more than {MOST_FIELD_BYTES >> 10} KiB")

    def _take(self, count: int) -> None:
        del self._buffer[:count]
        self._taken += count

    async def _feed(self) -> None:
        """Read a piece of the body. Raises `Unprocessable` if it has ended."""
        piece = await anext(self._pieces, None)
        if piece is None:
            raise unreadable()
        self._received += len(piece)
        self._buffer += piece


def unreadable() -> Unprocessable:
    """What cannot be understood."""
    return Unprocessable("the form cannot be read")


def not_last() -> Invalid:
    """Something comes after the file."""
    return Invalid("the file must be the last part of the form", code="LENGTH_MISMATCH")


def headers_of(data: bytes) -> dict[str, str]:
    """The headers of a part by name. Raises `Unprocessable`."""
    pairs = [line.partition(":") for line in text_of(data).split("\r\n")]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def text_of(value: bytes) -> str:
    """Bytes as text. Raises `Unprocessable`."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise unreadable() from None


def plain_text(text: str) -> str:
    """A name or a value. Raises `Unprocessable`."""
    if "\0" in text:
        raise Unprocessable("a field contains a NUL character", hint="Remove it.")
    return text.replace("\r\n", "\n")


async def open_file_form(content_type: str, body: UploadSource) -> FileForm:
    """A form of which the fields are read. Raises `Unprocessable`, `TooLarge`, and what the body raises."""
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind != UPLOAD or not boundary or not boundary.isascii() or len(boundary) > MOST_BOUNDARY:
        raise unreadable()
    form = FileForm(body, boundary.encode())
    await form.read_fields()
    return form
