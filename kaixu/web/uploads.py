"""Forms with files (multipart/form-data, RFC 7578), read from a body that is in memory."""

from __future__ import annotations

import io

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

from kaixu.plugin.errors import Unprocessable

from .form_data import FormData, Upload

UPLOAD = "multipart/form-data"
MOST_PARTS = 50
MOST_NAME = 200


def read_upload(content_type: str, body: bytes) -> FormData:
    """The fields and files of a form. Raises `Unprocessable`."""
    _, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise Unprocessable("the form cannot be read")
    try:
        parser = MultiPartParser(
            stream_factory=lambda *_, **__: io.BytesIO(), max_form_memory_size=len(body) + 1, max_form_parts=MOST_PARTS
        )
        fields, files = parser.parse(io.BytesIO(body), boundary.encode(), len(body))
    except (ValueError, HTTPException):
        raise Unprocessable("the form cannot be read") from None
    if None in fields or None in files:
        raise Unprocessable("a part of the form has no name")
    pairs = [(name, value.replace("\r\n", "\n")) for name, value in fields.items(multi=True)]
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Unprocessable("a field contains a NUL character", hint="Remove it.")
    uploads = {}
    for name, file in files.items():
        shown = "".join(one for one in (file.filename or "") if one.isprintable())[:MOST_NAME]
        uploads[name] = Upload(shown, file.read())
    return FormData(pairs, uploads)
