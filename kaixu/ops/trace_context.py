"""Distributed traces: the headers `traceparent` and `tracestate` (W3C Trace Context), taken and passed on.

The gateway does not begin a trace. In one that a client has begun it is a span of its own, and so is each try at a
vendor and each webhook.
"""

from __future__ import annotations

import os
import re

import msgspec

#: §3.2: the version, the trace, the span that called, and flags. Later versions may append more.
TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?"
)

#: The longest `tracestate` that is passed on (§3.3.1.5 asks for at least this). A longer one is dropped.
MAX_STATE = 512

STATE = re.compile(r"[\x20-\x7e]+=[\x20-\x7e]+")


class TraceContext(msgspec.Struct, frozen=True):
    """A trace, and the gateway's own span in it. `state`: the vendors' data of the trace, which is not changed."""

    trace_id: str
    span_id: str
    flags: str
    state: str | None = None

    @property
    def traceparent(self) -> str:
        """The trace with the gateway's span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    def child_headers(self) -> dict[str, str]:
        """The headers for whoever is called next, with a span of its own."""
        headers = {"traceparent": f"00-{self.trace_id}-{new_span()}-{self.flags}"}
        if self.state is not None:
            headers["tracestate"] = self.state
        return headers


def read_trace(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """The trace that a client's headers name, with a new span; None without a valid one (§4.3)."""
    if traceparent is None:
        return None
    match = TRACEPARENT.fullmatch(traceparent.strip())
    if match is None or (match[1] == "00" and match[5] is not None):
        return None
    state = None
    if tracestate is not None and len(tracestate) <= MAX_STATE and STATE.fullmatch(tracestate.strip()):
        state = tracestate.strip()
    # §3.2.2.5: of the flags only "sampled" and "random" are known.
    return TraceContext(match[2], new_span(), f"{int(match[4], 16) & 3:02x}", state)


def new_span() -> str:
    """A random span id, which is never zero."""
    return f"{int.from_bytes(os.urandom(8)) or 1:016x}"
