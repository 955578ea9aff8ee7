"""Removes what a vendor quotes of a request from the vendor's message: prompts are in no event and no log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kaixu.plugin.types import ChatRequest, Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

#: Quotations are found from this length on; shorter ones are ordinary words.
PIECE = 12
STEP = 6

#: Of a longer text, so much is searched at each end: a failure must not cost more than the call.
MAX_SEARCHED = 200_000


def without_prompt(words: str, texts: Iterable[str]) -> str:
    """`words` without what they quote of `texts`: each run of `PIECE + STEP` characters or more becomes `…`."""
    quoted = [False] * len(words)
    for text in texts:
        if len(text) < PIECE:
            continue
        if len(text) > 2 * MAX_SEARCHED:
            text = text[:MAX_SEARCHED] + "\0" + text[-MAX_SEARCHED:]
        text = " ".join(text.split())  # the vendor's message is one line
        at = 0
        while at + PIECE <= len(words):
            found = text.find(words[at : at + PIECE])
            if found < 0:
                at += STEP
                continue
            start, end = extended(words, at, text, found)
            quoted[start:end] = [True] * (end - start)
            at = end
    if not any(quoted):
        return words
    return "".join(replaced(words, quoted))


def extended(words: str, at: int, text: str, found: int) -> tuple[int, int]:
    """The whole run that `words` and `text` have in common around one piece."""
    start, end = at, at + PIECE
    while start > 0 and found > 0 and words[start - 1] == text[found - 1]:
        start, found = start - 1, found - 1
    after = found + end - start
    while end < len(words) and after < len(text) and words[end] == text[after]:
        end, after = end + 1, after + 1
    return start, end


def replaced(words: str, quoted: list[bool]) -> Iterator[str]:
    """The characters that are not quoted, and one `…` for each run that is."""
    for at, character in enumerate(words):
        if not quoted[at]:
            yield character
        elif at == 0 or not quoted[at - 1]:
            yield "…"


def prompt_texts(request: ChatRequest) -> Iterator[str]:
    """The texts of a chat request that its client has written."""
    for message in request.messages:
        yield from message_texts(message)


def message_texts(message: Message) -> Iterator[str]:
    """The texts of one message."""
    for part in message.parts:
        if isinstance(part, TextPart | ReasoningPart):
            yield part.text
        elif isinstance(part, ToolCallPart):
            yield part.arguments
        elif isinstance(part, ToolResultPart):
            yield from (one.text for one in part.content if isinstance(one, TextPart))
