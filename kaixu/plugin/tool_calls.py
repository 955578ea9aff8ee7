"""Assigns the pieces of a stream to their tool calls, although vendors number them differently or not at all."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from kaixu.plugin.coerced import index_of, json_text_of, object_of, word_of

DECODER = msgspec.json.Decoder()


class Call:
    """A started tool call. `id` is the vendor's or generated; `vendor_id` is the vendor's, or empty."""

    __slots__ = ("arguments", "id", "index", "name", "vendor_id")

    def __init__(self, index: int, vendor_id: str, taken: bool) -> None:
        self.index = index
        self.vendor_id = vendor_id
        self.id = f"call_{uuid4().hex}" if taken or not vendor_id else vendor_id
        self.name = ""
        self.arguments: list[str] = []

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are complete JSON, so that no more can follow."""
        text = "".join(self.arguments)
        if not text.rstrip().endswith(("}", "]")):
            return False
        try:
            DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        return True


class Piece(msgspec.Struct, frozen=True):
    """One piece of a tool call; `begins`: the first one with its name."""

    call: Call
    begins: bool
    arguments: str


class ToolCalls:
    """The tool calls of one choice of one answer.

    A piece belongs to the call with its index or its id. A new call begins with a new id or another name at a used
    index, or with a name without index and id. A known id continues its call.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.by_index: dict[int, Call] = {}
        self.by_id: dict[str, Call] = {}
        self.chunk: list[Call] = []  # the calls of the pieces of this chunk so far
        self.pieces = 0  # number of pieces in this chunk

    def begin_chunk(self, pieces: int) -> None:
        """Start a chunk of `pieces` pieces."""
        self.chunk, self.pieces = [], pieces

    def read(self, piece: dict[str, object]) -> Piece | None:
        """Read a piece in OpenAI's format; corrects its index, id and arguments in place.

        None if its call never began or has no name yet.
        """
        function = object_of(piece.get("function")) or object_of(piece.get("custom"))
        given = "arguments" if "arguments" in function or "custom" not in piece else "input"
        arguments, name = json_text_of(function.get(given)), word_of(function.get("name"))
        call, is_new = self.call_of(index_of(piece.get("index")), word_of(piece.get("id")), name, arguments)
        if call is None:
            return None
        self.chunk.append(call)
        begins = not call.name and bool(name)
        call.name = call.name or name
        held = "".join(call.arguments) if begins else ""
        if arguments:
            call.arguments.append(arguments)
        piece["index"] = call.index
        for kind in ("function", "custom"):
            if kind in piece:
                piece[kind] = function | {given: arguments}
        if is_new:
            piece["id"] = call.id
            piece.setdefault("type", "function")
        elif piece.get("id"):
            piece["id"] = call.id
        return Piece(call, begins, held + arguments) if call.name else None

    def call_of(self, index: int | None, vendor_id: str, name: str, arguments: str) -> tuple[Call | None, bool]:
        """The call of a piece, and whether the piece begins it."""
        known = self.by_id.get(vendor_id) if vendor_id else None
        call = self.unnumbered(known, vendor_id, name, arguments)
        if index is not None:
            call = self.by_index.get(index)
            if call is None or (vendor_id and call.vendor_id and vendor_id != call.vendor_id):
                # Another index and a name after complete arguments: two calls with the same id.
                call = None if known is not None and name and known.is_whole else known
            elif not (vendor_id and vendor_id == call.vendor_id) and self.begins_another(call, name, arguments):
                call = None
        is_new = call is None
        if call is None:
            if not vendor_id and not name:
                return None, False
            call = Call(len(self.calls), vendor_id, taken=vendor_id in self.by_id)
            self.calls.append(call)
        if vendor_id:
            call.vendor_id = call.vendor_id or vendor_id
            self.by_id[vendor_id] = call
        if index is not None:
            self.by_index[index] = call
        return call, is_new

    def unnumbered(self, known: Call | None, vendor_id: str, name: str, arguments: str) -> Call | None:
        """The call of a piece without an index: by its id, else by its position in a chunk with several pieces."""
        if vendor_id:
            return None if known is not None and name and known in self.chunk and known.is_whole else known
        latest = self.calls[-1] if self.calls else None
        if name:
            return None if latest is None or self.begins_another(latest, name, arguments) else latest
        place = len(self.chunk)
        return self.calls[place] if self.pieces > 1 and place < len(self.calls) else latest

    def begins_another(self, call: Call, name: str, arguments: str) -> bool:
        """Whether a piece that its id does not decide begins a new call instead of continuing `call`."""
        if not name or not call.name:
            return False
        return call in self.chunk or name != call.name or (bool(arguments) and call.is_whole)
