"""Forms with a file that is read as it arrives: as a browser sends them, in pieces of any size, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.plugin.errors import Invalid, KaixuError, TooLarge, Unprocessable
from kaixu.web.file_form import MOST_FIELD_BYTES, FileForm, open_file_form

BOUNDARY = "----WebKitFormBoundaryAb3"
KIND = f"multipart/form-data; boundary={BOUNDARY}"


class Body:
    """A body in pieces of one size."""

    def __init__(self, content: bytes, piece: int, announced: int | None = None) -> None:
        self.content = content
        self.piece = piece
        self.announced_bytes = len(content) if announced is None else announced

    async def pieces(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.content), self.piece):
            yield self.content[at : at + self.piece]


def part(name: str, value: bytes, extra: str = "") -> bytes:
    """A part of a form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(file: bytes, fields: dict[str, str] | None = None, after: bytes = b"") -> bytes:
    """A form as browsers send it: its fields, then its file."""
    before = b"".join(part(name, value.encode()) for name, value in (fields or {"a": "b"}).items())
    end = f"--{BOUNDARY}--\r\n".encode()
    return before + part("file", file, '; filename="x.txt"\r\nContent-Type: text/plain') + after + end


async def read(body: Body) -> tuple[FileForm, bytes]:
    """The form and its whole file."""
    opened = await open_file_form(KIND, body)
    return opened, b"".join([piece async for piece in opened.pieces()])


NASTY = st.binary(max_size=300) | st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", BOUNDARY[:5].encode(), b"x", b"\0"]), max_size=40
).map(b"".join)


@given(
    file=NASTY,
    piece=st.integers(1, 200),
    value=st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=50),
)
def test_fields_and_file_come_as_they_were_sent_in_pieces_of_any_size(file: bytes, piece: int, value: str) -> None:
    opened, content = asyncio.run(read(Body(form(file, {"name": value, "empty": ""}), piece)))
    assert content == file
    assert opened.announced_bytes == len(file)
    assert dict(opened.fields.pairs) == {"name": value, "empty": ""}
    assert (opened.file_name, opened.content_type) == ("x.txt", "text/plain")


@pytest.mark.parametrize("piece", [1, 7, 100_000], ids=["bytes", "pieces", "whole"])
@pytest.mark.parametrize(
    ("content", "error"),
    [
        (form(b"file", after=part("late", b"x")), Invalid),
        (form(b"file", after=part("second", b"x", '; filename="y"')), Invalid),
        (form(b"file") + b"more", Invalid),
        (form(b"file")[:-2], Invalid),
        (form(b"file")[:-8], Invalid),
        (form(b"")[:-8], Unprocessable),
        (form(b"file")[:100], Unprocessable),
        (part("a", b"b") + f"--{BOUNDARY}--\r\n".encode(), Unprocessable),
        (part("a", b"\xff") + form(b"file"), Unprocessable),
        (part("a", b"\0") + form(b"file"), Unprocessable),
        (part("", b"x") + form(b"file"), Unprocessable),
        (b"".join(part(f"f{at}", b"x") for at in range(60)) + form(b""), Unprocessable),
        (f"--{BOUNDARY}\r\nno header\r\n\r\n".encode() + form(b"file"), Unprocessable),
        (b"nothing of a form", Unprocessable),
        (b"", Unprocessable),
    ],
    ids=[
        "field-after",
        "two-files",
        "more-after-the-end",
        "other-end",
        "cut-off",
        "empty-and-cut-off",
        "cut-off-in-a-field",
        "no-file",
        "not-utf8",
        "nul",
        "no-name",
        "many-parts",
        "no-disposition",
        "no-form",
        "empty",
    ],
)
def test_what_is_no_form_with_a_file_at_its_end_is_refused(content: bytes, error: type[KaixuError], piece: int) -> None:
    with pytest.raises(error):
        asyncio.run(read(Body(content, piece)))


@pytest.mark.parametrize("piece", [1000, 10**6], ids=["pieces", "whole"])
@pytest.mark.parametrize(
    "content",
    [
        part("a", b"x" * (MOST_FIELD_BYTES + 1)) + form(b"file"),
        b"".join(part(f"a{at}", b"x" * 30_000) for at in range(3)) + form(b"file"),
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=".encode() + b"x" * 2 * MOST_FIELD_BYTES,
    ],
    ids=["one", "together", "header"],
)
def test_fields_are_bounded(content: bytes, piece: int) -> None:
    with pytest.raises(TooLarge):
        asyncio.run(read(Body(content, piece)))


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/mixed; boundary={BOUNDARY}",
    ],
    ids=["none", "json", "no-boundary", "empty-boundary", "mixed"],
)
def test_another_type_of_body_is_refused(kind: str) -> None:
    with pytest.raises(Unprocessable):
        asyncio.run(open_file_form(kind, Body(form(b"file"), 100)))


async def test_a_refused_file_is_read_to_its_end_if_it_is_not_too_long() -> None:
    short = await open_file_form(KIND, Body(form(b"x" * 1000), 100))
    await short.discard(2000)
    assert [piece async for piece in short._pieces] == []
    long = await open_file_form(KIND, Body(form(b"x" * 1000), 100))
    await long.discard(500)
    assert [piece async for piece in long._pieces] != []
