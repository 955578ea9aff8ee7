"""Events in lists can be read one by one, too."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from kaixu.plugin import ChatDelta, ChatEvent, EventBatches, Finish

A, B, END = ChatDelta("a"), ChatDelta("b"), Finish("stop")


async def lists(*batches: list[ChatEvent]) -> AsyncGenerator[list[ChatEvent], None]:
    for batch in batches:
        yield batch


async def test_events_are_read_one_by_one_and_an_empty_list_is_none() -> None:
    events = EventBatches(lists([], [A, B], [], [END]))
    assert [event async for event in events] == [A, B, END]


async def test_the_list_of_a_lane_is_not_changed() -> None:
    batch: list[ChatEvent] = [A, B]
    events = EventBatches(lists(batch))
    assert await anext(events) == A
    assert events.take_ready() == [B]
    assert batch == [A, B]


async def test_closing_ends_the_answer() -> None:
    events = EventBatches(lists([A], [B]))
    assert await anext(events) == A
    await events.aclose()
    assert [event async for event in events] == []
