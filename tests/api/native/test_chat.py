"""The native chat's stream."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from kaixu.api.calls import PreparedChat
from kaixu.api.native.chat import NativeChatCall, NativeStreamEncoder
from kaixu.edge.sse import frame
from kaixu.plugin.types import ChatDelta


@given(st.text())
def test_a_piece_of_text_is_an_event_as_any_other_delta_is(text: str) -> None:
    encoder = NativeStreamEncoder(NativeChatCall(cast(PreparedChat, None), None, "m"))  # deltas need nothing of it
    assert encoder.event(ChatDelta(text)) == frame("delta", {"text": text})
