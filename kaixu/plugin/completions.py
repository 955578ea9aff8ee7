"""Reading OpenAI's chat completions, streamed or whole, as the many vendors write them that speak its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kaixu.plugin.answer import AnswerReader
from kaixu.plugin.coerced import index_of, object_of, objects_of, text_of, word_of
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.refusals import error_in_answer
from kaixu.plugin.tool_calls import ToolCalls
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
)
from kaixu.plugin.usage import RunningUsage

#: What vendors call the reasoning; the second is OpenRouter's and Groq's name for it.
THOUGHTS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
#: What a part of a content is called that holds reasoning: Mistral's, and others'.
THINKING = frozenset({"thinking", "reasoning", "reasoning_content"})
#: Texts of a delta that are sent on as strings only.
TEXTS = frozenset({"content", "refusal", *THOUGHTS})


class CompletionReader:
    """Reads the chunks of one answer, and keeps what later ones need.

    A chunk is changed in place: what has an unexpected shape is put right or taken out, and `note`d, so that a client
    that gets it natively can read it too. `ended` is called when every choice has come to its end
    (`kaixu.plugin.Wire.finished`).
    """

    def __init__(self, note: Callable[[str], None], *, native: bool, ended: Callable[[], None] = lambda: None) -> None:
        self.note = note
        self.ended = ended
        self.native = native
        self.usage = RunningUsage()
        self.finish: Finish | None = None
        self.answered: set[int] = set()  # the choices that came
        self.over: set[int] = set()  # those of them that are at their end
        self.calls: dict[int, ToolCalls] = {}
        self.indexes: dict[tuple[int, int], int] = {}  # of calls, across all choices
        self.odd = False

    def finished(self) -> bool:
        """Whether every choice has come to its end: what comes after that is no matter."""
        return self.finish is not None and self.answered <= self.over

    def read(self, chunk: dict[str, Any]) -> Iterator[ChatEvent]:
        """What one chunk says, in the contract's words; before them, for a native request, in its own.

        Raises `UpstreamError`, never with the vendor's words, for one that tells of a failure.
        """
        if tells_of_failure(chunk):
            if self.finished():
                self.note("an error after the end of the answer was passed over")
                return
            raise error_in_answer(chunk.get("error") or chunk)
        events: list[ChatEvent] = []
        for choice in self.choices_of(chunk):
            events += self.choice(choice)
        usage = self.usage.add(chunk)
        if self.native:
            if "usage" in chunk and not isinstance(chunk["usage"], dict):
                del chunk["usage"]
            yield NativeEvent(chunk)
        yield from events
        if usage is not None:
            yield usage

    def end(self, answer: AnswerReader) -> Finish:
        """How the answer ended. Raises `UpstreamError` for one that did not, and for one that never began."""
        if self.finish is not None:
            return self.finish
        if answer.lost or ((answer.unreadable or self.odd) and not self.answered):
            raise UpstreamError("the vendor's answer cannot be read")  # what is missing may be the end, or all of it
        if answer.done and self.answered:
            return Finish("stop")  # it said so without a reason
        if answer.done or not (answer.streamed or self.answered):
            raise UpstreamError("the vendor answered with nothing")
        raise UpstreamError("the vendor broke off before its answer was complete")

    def choices_of(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The choices of a chunk, each an object with an index."""
        said = chunk.get("choices")
        choices = objects_of(said)
        if said and (not isinstance(said, list) or len(choices) != len(said)):
            self.note("`choices` is not a list of objects")
            self.odd = True
        if "choices" in chunk:
            chunk["choices"] = choices
        for place, choice in enumerate(choices):
            index = index_of(choice.get("index"))
            choice["index"] = (place if len(choices) > 1 else 0) if index is None else index
        return choices

    def choice(self, choice: dict[str, Any]) -> Iterator[ChatEvent]:
        """What one choice says. A vendor that answers in one piece says `message` where a chunk says `delta`."""
        index: int = choice["index"]
        whole = not isinstance(choice.get("delta"), dict)
        if whole and choice.get("delta") is not None:
            self.note("`delta` of a choice is no object")
        said = choice.get("message") if whole else choice["delta"]
        if whole and isinstance(choice.get("text"), str) and not isinstance(said, dict):
            said = {"content": choice.pop("text")}  # as completions without a chat have it
        delta = said if isinstance(said, dict) else {}
        choice.pop("message", None)
        choice["delta"] = delta
        if isinstance(said, dict):
            self.answered.add(index)
        yield from self.delta(delta, index)
        reason = choice.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            self.note("`finish_reason` is no string")
            choice["finish_reason"] = reason = None
        if not reason and whole and isinstance(said, dict):
            reason = "stop"
        if reason:
            self.answered.add(index)
            self.over.add(index)
            # Told last and once: some vendors repeat it in the chunk that carries the usage.
            self.finish = self.finish or Finish(reason)
            if self.finished():
                self.ended()

    def delta(self, delta: dict[str, Any], index: int) -> Iterator[ChatEvent]:
        """What a delta says."""
        odd = [field for field in delta if field in TEXTS and not isinstance(delta[field], str | None)]
        for field in odd:
            self.note(f"`{field}` of a delta is no string")
            self.put_right(delta, field)
        for field in THOUGHTS:
            if delta.get(field):
                yield ReasoningDelta(delta[field])  # under one name, though some vendors send it under two
                break
        if text := delta.get("content") or delta.get("refusal"):
            yield ChatDelta(text)
        pieces = delta.get("tool_calls")
        if pieces:
            if not isinstance(pieces, list):
                self.note("`tool_calls` of a delta is no list")
            delta["tool_calls"] = objects_of(pieces)
            yield from self.tool_calls(delta["tool_calls"], index)
        if call := object_of(delta.get("function_call")):  # before there were tools
            yield from self.tool_calls([{"index": 0, "function": dict(call)}], index)

    def put_right(self, delta: dict[str, Any], field: str) -> None:
        """Make a string of a text that came as something else: Mistral's lists of parts with the thoughts in them."""
        said, thoughts = delta[field], ""
        if field == "content" and isinstance(said, list):
            inner = [part for part in said if isinstance(part, dict) and part.get("type") in THINKING]
            thoughts = "".join(text_of(next((part[name] for name in THINKING if name in part), part)) for part in inner)
            said = [part for part in said if part not in inner]
        delta[field] = text_of(said)
        if thoughts and not any(delta.get(name) for name in THOUGHTS):
            delta["reasoning_content"] = thoughts

    def tool_calls(self, pieces: list[dict[str, Any]], index: int) -> Iterator[ChatEvent]:
        """The pieces of tool calls that one chunk has."""
        calls = self.calls.setdefault(index, ToolCalls())
        calls.begin_chunk(len(pieces))
        for piece in pieces:
            read = calls.read(piece)
            if read is None:
                if "function" in piece and not word_of(piece.get("id")):
                    self.note("a piece of a tool call that never began")
                continue
            at = self.indexes.setdefault((index, read.call.index), len(self.indexes))
            if read.begins:
                yield ToolCallDelta(at, read.call.id, read.call.name, read.arguments)
            elif read.arguments:
                yield ToolCallDelta(at, None, None, read.arguments)


def tells_of_failure(chunk: dict[str, Any]) -> bool:
    """Whether a chunk is an error: under `error`, or in the forms that vendors have for one beside an answer."""
    if chunk.get("error"):
        return True
    if chunk.get("choices"):
        return False
    return "error" in (chunk.get("object"), chunk.get("type")) or bool(chunk.get("message") and "code" in chunk)
