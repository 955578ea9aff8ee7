"""Requests to Stripe: by its own library, in a thread of the call, read with care."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from kaixu.plugin import BlockingWire, UpstreamError

from .options import StripeOptions

if TYPE_CHECKING:
    from stripe import StripeClient

T = TypeVar("T")

#: The codes of a request that Stripe refuses, of an object that it does not know, and of an idempotency key that it has
#: seen with other values.
REFUSED = "STRIPE_REFUSED"
GONE = "STRIPE_UNKNOWN"
REPEATED = "STRIPE_REPEATED"


class Lending(Protocol):
    """A call or a schedule, as far as it lends a thread and a wire."""

    @property
    def options(self) -> Any: ...
    @property
    def wire(self) -> Any: ...

    async def in_thread(self, function: Any, *args: Any) -> Any: ...


async def ask(call: Lending, view: type[T], work: Callable[[StripeClient], object]) -> T:
    """What Stripe answers to `work`, as `view`.

    Raises `Declined` for a card that was not charged; else the errors of vendors, with the codes `REFUSED` and `GONE`.
    """
    from .sdk import StripeError, client_for, error_of, plain

    def run(wire: BlockingWire, options: StripeOptions) -> Any:
        return plain(work(client_for(wire, options)))

    try:
        data = await call.in_thread(run, call.wire.blocking(), call.options)
    except StripeError as error:
        raise error_of(error) from None
    return read(data, view)


def read(data: object, view: type[T]) -> T:
    """Plain values as `view`. Raises `UpstreamError`."""
    try:
        return msgspec.convert(data, view)
    except msgspec.ValidationError:
        raise UpstreamError("Stripe's answer cannot be read") from None


class Declined(Exception):
    """A card was not charged. `code`: Stripe's, such as "card_declined"; `intent`: the payment intent that it tried."""

    def __init__(self, code: str, intent: str | None) -> None:
        super().__init__(code)
        self.code = code
        self.intent = intent


async def opened(options: StripeOptions) -> None:
    """Import Stripe's library while nobody waits for it: it takes a third of a second."""
    await asyncio.to_thread(import_module, f"{__package__}.sdk")
