"""Which tool call a piece of a stream belongs to: vendors number them in one way, in another, or not at all."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from kaixu.plugin.coerced import index_of, json_text_of, object_of, word_of

DECODER = msgspec.json.Decoder()


class Call:
    """A tool call that has begun. `id` is the vendor's, or made up; `told` is the vendor's alone."""

    __slots__ = ("arguments", "id", "index", "name", "told")

    def __init__(self, index: int, told: str, taken: bool) -> None:
        self.index = index
        self.told = told
        self.id = f"call_{uuid4().hex}" if taken or not told else told
        self.name = ""
        self.arguments: list[str] = []

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are JSON already, so that more of them could not be."""
        text = "".join(self.arguments)
        if not text.rstrip().endswith(("}", "]")):
            return False
        try:
            DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        return True


class Piece(msgspec.Struct, frozen=True):
    """What one piece of a stream says of a call: `begins` it, or goes on with it."""

    call: Call
    begins: bool
    arguments: str


class ToolCalls:
    """The tool calls of one choice of one answer.

    A piece belongs to the call that is open at its index, or has its id. A new id at a used index begins a new
    call; so does another name there, and a name where neither index nor id are given. An id that came before goes
    on with its call.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.by_index: dict[int, Call] = {}
        self.by_id: dict[str, Call] = {}
        self.chunk: list[Call] = []  # the calls that the pieces of this chunk belong to
        self.pieces = 0  # how many it has

    def begin_chunk(self, pieces: int) -> None:
        """The next `pieces` come in a chunk of their own."""
        self.chunk, self.pieces = [], pieces

    def read(self, piece: dict[str, object]) -> Piece | None:
        """A piece as OpenAI writes it, whose index, id and arguments are put right in place.

        None for one that goes on with a call that never began, or whose call has no name yet.
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

    def call_of(self, index: int | None, told: str, name: str, arguments: str) -> tuple[Call | None, bool]:
        """The call that a piece belongs to, and whether it begins it."""
        known = self.by_id.get(told) if told else None
        call = self.unnumbered(known, told, name, arguments)
        if index is not None:
            call = self.by_index.get(index)
            if call is None or (told and call.told and told != call.told):
                # Another index and a name, where the arguments are whole: two calls that have one id.
                call = None if known is not None and name and known.is_whole else known
            elif not (told and told == call.told) and self.begins_another(call, name, arguments):
                call = None
        is_new = call is None
        if call is None:
            if not told and not name:
                return None, False
            call = Call(len(self.calls), told, taken=told in self.by_id)
            self.calls.append(call)
        if told:
            call.told = call.told or told
            self.by_id[told] = call
        if index is not None:
            self.by_index[index] = call
        return call, is_new

    def unnumbered(self, known: Call | None, told: str, name: str, arguments: str) -> Call | None:
        """The call of a piece without an index: by its id, else by its place in the chunk where that has several."""
        if told:
            return None if known is not None and name and known in self.chunk and known.is_whole else known
        latest = self.calls[-1] if self.calls else None
        if name:
            return None if latest is None or self.begins_another(latest, name, arguments) else latest
        place = len(self.chunk)
        return self.calls[place] if self.pieces > 1 and place < len(self.calls) else latest

    def begins_another(self, call: Call, name: str, arguments: str) -> bool:
        """Whether a piece that could go on with `call`, and whose id does not decide it, names a call of its own."""
        if not name or not call.name:
            return False
        return call in self.chunk or name != call.name or (bool(arguments) and call.is_whole)
