"""Reads responses in OpenAI's Chat Completions protocol, streamed or whole, in the variants of many vendors."""

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
from kaixu.plugin.usage import WITHOUT_USAGE, RunningUsage

#: Names of the reasoning field; `reasoning` is used by OpenRouter and Groq.
THOUGHTS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
#: Types of content parts that contain reasoning (Mistral and others).
THINKING = frozenset({"thinking", "reasoning", "reasoning_content"})
#: The fields of a chunk with nothing but text, besides those that are null.
TEXT_ALONE = frozenset({"content", "role"})
CHOICE_ALONE = frozenset({"index", "delta", "logprobs", "content_filter_results"})  # the last one is Azure's
#: The fields of a message, besides its text, that become events.
BESIDE_TEXT = frozenset({"refusal", "tool_calls", "function_call", *THOUGHTS})
MOST_CHOICES = 1000
#: Fields of a delta that must be strings.
TEXTS = frozenset({"content", "refusal", *THOUGHTS})


class CompletionReader:
    """Converts the chunks of one response into chat events; keeps the state between them.

    Corrects or removes unexpected shapes in place and adds a `note`, so that native clients can read the chunk too.
    Calls `ended` when every choice has a finish reason (`kaixu.plugin.Wire.finished`).
    """

    def __init__(self, note: Callable[[str], None], *, native: bool, ended: Callable[[], None] = lambda: None) -> None:
        self.note = note
        self.ended = ended
        self.native = native
        self.usage = RunningUsage()
        self.finish: Finish | None = None
        self.started: set[int] = set()  # indexes of choices that were received
        self.ended_choices: set[int] = set()
        self.calls: dict[int, ToolCalls] = {}
        self.indexes: dict[tuple[int, int], int] = {}  # (choice, tool call) → index across all choices
        self.malformed = False

    def finished(self) -> bool:
        """Whether every choice has a finish reason; later failures do not matter."""
        return self.finish is not None and self.started <= self.ended_choices

    def read(self, chunk: dict[str, Any]) -> Iterator[ChatEvent]:
        """The chat events of one chunk; for a native request, the chunk itself comes first.

        Raises `UpstreamError` for an error chunk, never with the vendor's text.
        """
        text = only_text_of(chunk)
        if text is None:
            return self.read_whole(chunk) or self.read_any(chunk)
        self.started.add(chunk["choices"][0]["index"])
        event = ChatDelta(text)
        return iter((NativeEvent(chunk), event) if self.native else (event,))

    def read_whole(self, chunk: dict[str, Any]) -> Iterator[ChatEvent] | None:
        """As `read_any`, for an answer in one piece with one text and nothing else; None for others."""
        whole = whole_text_of(chunk)
        if whole is None:
            return None
        choice, text = whole
        index = choice.setdefault("index", 0)
        choice["delta"] = choice.pop("message")
        self.started.add(index)
        self.ended_choices.add(index)
        self.finish = self.finish or Finish(choice.get("finish_reason") or "stop")
        if self.finished():
            self.ended()
        events: list[ChatEvent] = [NativeEvent(chunk), ChatDelta(text)] if self.native else [ChatDelta(text)]
        if (usage := self.usage.add(chunk)) is not None:
            events.append(usage)
        return iter(events)

    def read_any(self, chunk: dict[str, Any]) -> Iterator[ChatEvent]:
        """The chat events of a chunk that may contain anything."""
        if is_error(chunk):
            if self.finished():
                self.note("ignored an error after the end of the answer")
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
        """The finish event. Raises `UpstreamError` if the answer is incomplete or empty."""
        if self.finish is not None:
            return self.finish
        if answer.lost or ((answer.unreadable or self.malformed) and not self.started):
            raise UpstreamError("the vendor's answer cannot be read")  # the end, or all of it, may be missing
        if answer.done and self.started:
            return Finish("stop")  # ended without a finish reason
        if answer.done or not (answer.streamed or self.started):
            raise UpstreamError("the vendor sent an empty answer")
        raise UpstreamError("the vendor broke off before its answer was complete")

    def choices_of(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The choices of a chunk, each an object with an index."""
        value = chunk.get("choices")
        choices = objects_of(value)
        if value and (not isinstance(value, list) or len(choices) != len(value)):
            self.note("`choices` is not a list of objects")
            self.malformed = True
        if "choices" in chunk:
            chunk["choices"] = choices
        for place, choice in enumerate(choices):
            index = index_of(choice.get("index"))
            choice["index"] = (place if len(choices) > 1 else 0) if index is None else index
        return choices

    def choice(self, choice: dict[str, Any]) -> Iterator[ChatEvent]:
        """The chat events of one choice. A whole response has `message` where a chunk has `delta`."""
        index: int = choice["index"]
        whole = not isinstance(choice.get("delta"), dict)
        if whole and choice.get("delta") is not None:
            self.note("`delta` of a choice is not an object")
        content = choice.get("message") if whole else choice["delta"]
        if whole and isinstance(choice.get("text"), str) and not isinstance(content, dict):
            content = {"content": choice.pop("text")}  # the form of legacy completions
        delta = content if isinstance(content, dict) else {}
        choice.pop("message", None)
        choice["delta"] = delta
        if isinstance(content, dict):
            self.started.add(index)
        yield from self.delta(delta, index)
        reason = choice.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            self.note("`finish_reason` is not a string")
            choice["finish_reason"] = reason = None
        if not reason and whole and isinstance(content, dict):
            reason = "stop"
        if reason:
            self.started.add(index)
            self.ended_choices.add(index)
            # Only the first one counts: some vendors repeat it in the chunk with the usage.
            self.finish = self.finish or Finish(reason)
            if self.finished():
                self.ended()

    def delta(self, delta: dict[str, Any], index: int) -> Iterator[ChatEvent]:
        """The chat events of a delta."""
        not_strings = [field for field in delta if field in TEXTS and not isinstance(delta[field], str | None)]
        for field in not_strings:
            self.note(f"`{field}` of a delta is not a string")
            self.convert_text(delta, field)
        for field in THOUGHTS:
            if delta.get(field):
                yield ReasoningDelta(delta[field])  # only once: some vendors send it under two names
                break
        if text := delta.get("content") or delta.get("refusal"):
            yield ChatDelta(text)
        pieces = delta.get("tool_calls")
        if pieces:
            if not isinstance(pieces, list):
                self.note("`tool_calls` of a delta is not a list")
            delta["tool_calls"] = objects_of(pieces)
            yield from self.tool_calls(delta["tool_calls"], index)
        if call := object_of(delta.get("function_call")):  # the older form of tool calls
            yield from self.tool_calls([{"index": 0, "function": dict(call)}], index)

    def convert_text(self, delta: dict[str, Any], field: str) -> None:
        """Convert a text field that is not a string, such as Mistral's list of parts, which contains reasoning."""
        value, thoughts = delta[field], ""
        if field == "content" and isinstance(value, list):
            inner = [part for part in value if isinstance(part, dict) and part.get("type") in THINKING]
            thoughts = "".join(text_of(next((part[name] for name in THINKING if name in part), part)) for part in inner)
            value = [part for part in value if part not in inner]
        delta[field] = text_of(value)
        if thoughts and not any(delta.get(name) for name in THOUGHTS):
            delta["reasoning_content"] = thoughts

    def tool_calls(self, pieces: list[dict[str, Any]], index: int) -> Iterator[ChatEvent]:
        """The chat events of the tool call pieces of one chunk."""
        calls = self.calls.setdefault(index, ToolCalls())
        calls.begin_chunk(len(pieces))
        for piece in pieces:
            parsed = calls.read(piece)
            if parsed is None:
                if "function" in piece and not word_of(piece.get("id")):
                    self.note("a piece of a tool call without its beginning")
                continue
            at = self.indexes.setdefault((index, parsed.call.index), len(self.indexes))
            if parsed.begins:
                yield ToolCallDelta(at, parsed.call.id, parsed.call.name, parsed.arguments)
            elif parsed.arguments:
                yield ToolCallDelta(at, None, None, parsed.arguments)


def only_text_of(chunk: dict[str, Any]) -> str | None:
    """The text of a chunk that contains nothing else: nearly all chunks of a stream. None for all others."""
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
        return None
    delta, index = choice.get("delta"), choice.get("index")
    if type(delta) is not dict or type(index) is not int or not 0 <= index < MOST_CHOICES:
        return None
    if "message" in choice:  # also null: who reads the chunk would take it for the whole answer
        return None
    text = delta.get("content")
    if type(text) is not str or not text:
        return None
    for name, value in delta.items():
        if value is not None and name not in TEXT_ALONE:
            return None
    for name, value in choice.items():
        if value is not None and name not in CHOICE_ALONE:
            return None
    for name, value in chunk.items():
        if value is not None and name not in WITHOUT_USAGE:
            return None
    return text


def whole_text_of(chunk: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """The choice of an answer in one piece that has one text and nothing else to read, and the text; else None."""
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
        return None
    message, index, reason = choice.get("message"), choice.get("index", 0), choice.get("finish_reason")
    if type(message) is not dict or "delta" in choice or "text" in choice:
        return None
    if type(index) is not int or not 0 <= index < MOST_CHOICES or not isinstance(reason, str | None):
        return None
    text = message.get("content")
    if type(text) is not str or not text or chunk.get("error") or type(chunk.get("usage", {})) is not dict:
        return None
    for name in message.keys() & BESIDE_TEXT:
        if message[name] is not None:
            return None
    return choice, text


def is_error(chunk: dict[str, Any]) -> bool:
    """Whether a chunk is an error: in the field `error`, or in another form that vendors use."""
    if chunk.get("error"):
        return True
    if chunk.get("choices"):
        return False
    return "error" in (chunk.get("object"), chunk.get("type")) or bool(chunk.get("message") and "code" in chunk)
