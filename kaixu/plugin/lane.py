"""The interface of a lane, which translates one vendor's protocol, and of the wire that it gets for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from weakref import WeakKeyDictionary

import httpx

from kaixu.plugin.keys import Keys
from kaixu.plugin.types import ChatEvent, ChatRequest, Embeddings, EmbedRequest, Feature, Native


class Wire(Protocol):
    """The connection to a vendor for one call. It closes when the call is settled.

    `send` limits the time, counts, and retries before the first byte. It raises
    `UpstreamRejected`, `UpstreamBusy`, `UpstreamTimeout` or `UpstreamError` for
    every response that is not 2xx, so a lane reads only successful ones; and
    `TicketClosed` once the call has been settled.
    """

    def send(self, request: httpx.Request) -> AbstractAsyncContextManager[httpx.Response]:
        """Send `request`. The body of the response is not read yet."""
        ...

    def finished(self) -> None:
        """Tell the core that the vendor has sent its finish reason. Call it at once: only the usage may follow.

        If the client leaves after that, the core waits a moment for the usage and bills exactly. Without the call
        such a client is billed an estimate; everything else works the same.
        """
        ...

    def note(self, what: str) -> None:
        """Report something odd in the vendor's response that was corrected or ignored; for the operator.

        `what` names the field and the problem in your own words, never with the vendor's text. The monitor shows each
        text once an hour.
        """
        ...


class Lane:
    """Translates between the contract's types and one vendor; opened once for each section of kaixu.yaml.

    A lane sees no virtual key, no cap, no customer, no price and no connection.
    It implements `chat`, `embed` or both.
    """

    #: The features of its chat beyond plain text. The core refuses requests that need other features.
    supports: frozenset[Feature] = frozenset()

    #: The vendor's protocol, "openai.chat" or "anthropic.messages". Requests of clients in the same protocol are passed
    #: through field by field.
    native: str | None = None

    #: Fields beyond the protocol that the vendor knows and does not charge for, as `foo` or `messages[].foo`. All other
    #: unknown fields are treated as the operator's `unknown_fields` says.
    known_fields: frozenset[str] = frozenset()

    #: Fields that its options allow although they can cost more; the names are those of a model's `allow`.
    allows: frozenset[str] = frozenset()

    #: The vendor keys that the lane signs its requests with; operators see the state of each.
    keys: Keys | None = None

    #: The maximum number of inputs of one `embed` call.
    max_batch: int = 1

    #: The maximum number of tokens of all inputs of one `embed` call together; None: no limit besides `max_batch`.
    max_batch_tokens: int | None = None

    #: Whether `embed` accepts lists of tokens besides texts, and whether it can return shorter vectors.
    embeds_tokens: bool = False
    shortens: bool = False

    #: The most tokens that the vendor or the lane adds to every request.
    request_overhead_tokens: int = 16

    #: The most tokens that the vendor adds to each message, or to each input of an embedding call.
    message_overhead_tokens: int = 16

    #: The most tokens that the vendor adds once to a request with tools.
    tools_overhead_tokens: int = 512

    async def start(self) -> None:
        """Called once, before the first call. Start slow work here, do not wait for it."""

    async def aclose(self) -> None:
        """Called once, after the last call was settled."""

    def count_tokens(self, model: str, text: str) -> int | None:
        """The exact number of tokens of `text` for `model`, or None without a tokenizer."""
        return None

    def admitted(self, native: Native) -> tuple[Native, tuple[str, ...]]:
        """Remove the betas that the operator does not allow, and the fields that they enable.

        Returns the request and the names of what was removed, which a reply header shows to the client. Called when
        the request is read.
        """
        return native, ()

    def check(self, request: ChatRequest) -> None:
        """Refuse values and combinations that `supports` cannot express. Called before anything is spent.

        The core itself refuses native fields that could cost more than the hold (`kaixu.plugin.protocols`).

        Raises `Unsupported`, with the field's name.
        """

    def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        """Answer as a stream of events, always. For clients that do not stream, the core collects them.

        A lane whose vendor often sends several events at once may return `EventBatches`: cheaper for all sides.
        """
        raise NotImplementedError(f"{type(self).__name__} does not chat")

    def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        """As `chat`, but ask the vendor for the answer in one piece: cheaper for both sides, and nothing is lost.

        Optional. Called instead of `chat` for clients that do not stream, where the answer is short and the operator
        has not switched it off (`plain_answers`). Yields the same events; for a native request, the vendor's whole
        body comes as `NativeEvent`, with the fields that the lane does not know. A vendor that streams all the same is
        read as a stream. A lane class that overrides only `chat` is never asked this way.
        """
        raise NotImplementedError(f"{type(self).__name__} has no plain answers")

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        """One vector for each input."""
        raise NotImplementedError(f"{type(self).__name__} does not embed")


#: Whether the lanes of a class have plain answers.
PLAIN_ANSWERS: WeakKeyDictionary[type[Lane], bool] = WeakKeyDictionary()


def offers_plain_answers(lane: Lane) -> bool:
    """Whether the lane has `chat_plain`, and its class has not overridden `chat` alone: that must stay in force."""
    known = PLAIN_ANSWERS.get(type(lane))
    if known is None:
        known = PLAIN_ANSWERS[type(lane)] = has_plain_answers(type(lane))
    return known


def has_plain_answers(lane_class: type[Lane]) -> bool:
    """See `offers_plain_answers`."""
    for kind in lane_class.__mro__:
        if "chat_plain" in vars(kind):
            return kind is not Lane
        if "chat" in vars(kind):
            return False
    return False
