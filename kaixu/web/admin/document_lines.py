"""Documents in a file that somebody uploads: JSON lines as they are, CSV made into them, in portions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from kaixu.plugin.errors import Unprocessable

#: A portion is one call of the API: a request of the key's rate, and all or nothing.
LINES_AT_ONCE = 500
BYTES_AT_ONCE = 2 * 1024 * 1024

#: The longest cell of a CSV file.
MOST_CELL = 2 * 1024 * 1024


def portions_of(name: str, content: bytes) -> list[list[bytes]]:
    """The lines of a file, in portions. Raises `Unprocessable` naming the line."""
    if not content.strip():
        raise Unprocessable("the file is empty", field="file")
    lines = csv_lines(content) if name.lower().endswith(".csv") else json_lines(content)
    portions: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        is_full = len(portions[-1]) >= LINES_AT_ONCE or size + len(line) > BYTES_AT_ONCE
        if is_full and portions[-1]:
            portions.append([])
            size = 0
        portions[-1].append(line)
        size += len(line) + 1
    if not portions[0]:
        raise Unprocessable("the file has no documents", field="file")
    return portions


def json_lines(content: bytes) -> Iterator[bytes]:
    """The lines of a file of JSON lines, as they are: the API checks them."""
    return (line for line in content.split(b"\n") if line.strip())


def csv_lines(content: bytes) -> Iterator[bytes]:
    """A line of JSON for each row: `doc_id` (or `id`), `text`, `metadata` as JSON; other columns become metadata.

    Raises `Unprocessable`.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unprocessable("the file is not UTF-8", hint="Save it as CSV in UTF-8.", field="file") from None
    csv.field_size_limit(MOST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = reader.fieldnames or []
    except csv.Error:
        names = []
    id_name = next((one for one in ("doc_id", "id") if one in names), None)
    if id_name is None or "text" not in names:
        raise Unprocessable(
            "the first line of the CSV file must name the columns doc_id and text",
            hint="Other columns become metadata.",
            field="file",
        )
    try:
        for row in reader:
            yield csv_line(row, id_name, reader.line_num)
    except csv.Error as error:
        raise Unprocessable(f"line {reader.line_num} is not CSV: {error}", field="file") from None


def csv_line(row: dict[str, str | None], id_name: str, number: int) -> bytes:
    """One row."""
    metadata = {
        name: value
        for name, value in row.items()
        if isinstance(name, str) and name not in (id_name, "text", "metadata", "chunk") and value
    }
    if given := (row.get("metadata") or "").strip():
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Unprocessable(f"line {number}: metadata is not a JSON object", field="file")
        metadata |= value
    line: dict[str, object] = {"doc_id": row[id_name], "text": row["text"] or "", "metadata": metadata}
    if (chunk := row.get("chunk") or "").isdigit():
        line["chunk"] = int(chunk)
    return json.dumps(line, ensure_ascii=False).encode()
