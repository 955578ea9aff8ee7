"""The public contract: every name that a plugin may use, and nothing else of kaixu.

A lane translates one vendor's protocol; an integration brings operations with a
price. Both are declared through pluggy hooks at start and called by the core only.
"""

from kaixu.plugin.errors import (
    Invalid,
    KaixuError,
    NotFound,
    PluginError,
    TicketClosed,
    TooLarge,
    Unavailable,
    Unprocessable,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
)
from kaixu.plugin.hookspecs import Event, RegisterIntegration, RegisterLane, hookimpl
from kaixu.plugin.lane import Lane, Options, Wire
from kaixu.plugin.operation import Call, Charge, Free, Integration, Operation, PerCall, PerUnit
from kaixu.plugin.sse import ServerSentEvent, server_sent_events
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    ImagePart,
    Message,
    Part,
    ReasoningDelta,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
)

__all__ = [
    "Call",
    "Charge",
    "ChatDelta",
    "ChatEvent",
    "ChatRequest",
    "EmbedRequest",
    "Embeddings",
    "Event",
    "Finish",
    "Free",
    "ImagePart",
    "Integration",
    "Invalid",
    "KaixuError",
    "Lane",
    "Message",
    "NotFound",
    "Operation",
    "Options",
    "Part",
    "PerCall",
    "PerUnit",
    "PluginError",
    "ReasoningDelta",
    "RegisterIntegration",
    "RegisterLane",
    "ServerSentEvent",
    "TextPart",
    "TicketClosed",
    "TooLarge",
    "Tool",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolResultPart",
    "Unavailable",
    "Unprocessable",
    "UpstreamBusy",
    "UpstreamError",
    "UpstreamRejected",
    "UpstreamTimeout",
    "Usage",
    "Wire",
    "hookimpl",
    "server_sent_events",
]
