"""What a lane is: a vendor's protocol, translated; and the wire it is lent for each call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import httpx
from pydantic import BaseModel, ConfigDict

from kaixu.plugin.types import ChatEvent, ChatRequest, Embeddings, EmbedRequest, Feature, Native

if TYPE_CHECKING:
    from kaixu.plugin.keys import Keys


class Options(BaseModel):
    """A lane's own fields in kaixu.yaml. Unknown fields are mistakes; secrets are `SecretStr`."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Wire(Protocol):
    """The way out to a vendor, lent with a ticket and dead with it.

    `send` times, counts and, before the first byte, retries. It raises
    `UpstreamRejected`, `UpstreamBusy`, `UpstreamTimeout` or `UpstreamError` for
    every answer that is not 2xx, so a lane only ever reads success; and
    `TicketClosed` once the call has been settled.
    """

    def send(self, request: httpx.Request) -> AbstractAsyncContextManager[httpx.Response]:
        """Send `request`; the response's body is still unread."""
        ...

    def finished(self) -> None:
        """Tell the core that the vendor has said why it stopped, as soon as it has: only its usage may follow.

        A client that leaves from then on gets the exact bill: the core reads on for the usage, for a moment. A lane
        that never says so loses nothing but that: its `Finish` says the same when all has come.
        """
        ...

    def note(self, what: str) -> None:
        """Tell the operator of something odd in the vendor's answer that was coerced or ignored.

        `what` names the field and what is wrong with it, in a few words of your own, never the vendor's text. The
        monitor shows each text once an hour.
        """
        ...


class Lane:
    """One section of kaixu.yaml, opened: translates between the contract's types and one vendor.

    A lane sees no virtual key, no cap, no customer, no price and no connection.
    It implements `chat`, `embed` or both.
    """

    #: What its chat can do beyond plain text. Whatever else a request asks for is refused by the core, by name.
    supports: frozenset[Feature] = frozenset()

    #: The protocol that its vendor speaks: a client that speaks the same is passed through, every field. Known:
    #: "openai.chat", "anthropic.messages".
    native: str | None = None

    #: Further fields of that protocol that its vendor knows and charges nothing extra for, as `foo` or
    #: `messages[].foo`; others than the protocol's own go by the operator's `unknown_fields`.
    known_fields: frozenset[str] = frozenset()

    #: What its options let through though it can cost more than usual, by the names that `allow` of a model has.
    allows: frozenset[str] = frozenset()

    #: The operator's keys with the vendor, where the lane signs its requests with such: operators see how each stands.
    keys: Keys | None = None

    #: The most inputs that one `embed` call may carry.
    max_batch: int = 1

    #: The most tokens that all inputs of one `embed` call may have together; None: as many as `max_batch` inputs have.
    max_batch_tokens: int | None = None

    #: Whether `embed` takes lists of tokens besides texts, and whether it can shorten its vectors.
    embeds_tokens: bool = False
    shortens: bool = False

    #: Tokens that the vendor, or the lane itself, may add to every request, at most.
    request_overhead_tokens: int = 16

    #: Tokens that the vendor may add around each message, or each input of an embedding call, at most.
    message_overhead_tokens: int = 16

    #: Tokens that it may add once where a request has tools, at most.
    tools_overhead_tokens: int = 512

    async def start(self) -> None:
        """Called once, before the first call. Slow work belongs behind it, not in it."""

    async def aclose(self) -> None:
        """Called once, after the last call was settled."""

    def count_tokens(self, model: str, text: str) -> int | None:
        """Exactly how many tokens `model` makes of `text`, or None where no tokenizer is at hand."""
        return None

    def admitted(self, native: Native) -> tuple[Native, tuple[str, ...]]:
        """A native request without the betas that the operator does not allow and without the fields that they switch
        on, and the names of what was left out. Called when the request is read, so that its client is told.
        """
        return native, ()

    def check(self, request: ChatRequest) -> None:
        """Refuse what `supports` cannot say: a value, or two fields together. Called before anything is spent.

        What could make a native request dearer than its hold is refused by the core (`kaixu.plugin.protocols`).

        Raises `Unsupported`, with the field's name.
        """

    def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        """Answer as a stream of events, always; "not streaming" is the core's fold of it."""
        raise NotImplementedError(f"{type(self).__name__} does not chat")

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        """One vector for each input."""
        raise NotImplementedError(f"{type(self).__name__} does not embed")
