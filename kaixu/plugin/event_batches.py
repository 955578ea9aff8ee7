"""Chat events that came together from a vendor, passed on together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TypeVar

from kaixu.plugin.types import ChatEvent

Document = TypeVar("Document")


class EventBatches:
    """What `Lane.chat` may return: the events of an answer, of which those that came together are passed on together.

    `batches` yields them in lists that are not empty, each as soon as its events are there. It never waits for more.
    Whoever reads the events one by one gets them so; the core takes whole lists, and sends each in one step.
    """

    __slots__ = ("batches", "ready")

    def __init__(self, batches: AsyncGenerator[list[ChatEvent], None]) -> None:
        self.batches = batches
        self.ready: list[ChatEvent] = []  # of the last list: what was not read yet

    def __aiter__(self) -> EventBatches:
        return self

    async def __anext__(self) -> ChatEvent:
        while not self.ready:
            self.ready = list(await anext(self.batches))
        return self.ready.pop(0)

    def take_ready(self) -> list[ChatEvent]:
        """The rest of a list of which some events were read one by one."""
        ready, self.ready = self.ready, []
        return ready

    async def aclose(self) -> None:
        """End the answer."""
        await self.batches.aclose()


def read_together(
    documents: Iterable[Document],
    read: Callable[[Document], Iterable[ChatEvent]],
    is_done: Callable[[], bool] = lambda: False,
) -> tuple[list[ChatEvent], Exception | None]:
    """The events of documents that came together, up to `is_done`, and the error that `read` raised after them.

    Yield the events before you raise the error: what came before it belongs to the client.
    """
    events: list[ChatEvent] = []
    try:
        for document in documents:
            events += read(document)
            if is_done():
                break
    except Exception as error:  # noqa: BLE001 - for the caller to raise
        return events, error
    return events, None
