"""Tools for testing plugins: a wire that answers from a list, the contract tests, and a real gateway.

wire = FakeWire(event_stream({"choices": [{"delta": {"content": "Hello"}}]}))
events = await check_lane(MyLane(options), request, wire)
assert json.loads(wire.requests[0].content)["model"] == "their-model"

A lane that passes `LaneContract`, and an integration that passes `IntegrationContract`, behave in the gateway as
operators expect. pytest finds the tests of both; nothing here imports it.

async with gateway("integrations: {notes: {price: {note: 0.001}}}") as kaixu:
    customer = await kaixu.customer()
    reply = await kaixu.call("POST", "/v1/notes/leave", {"text": "Hello"}, key=customer.key)
"""

from kaixu.plugin.testing.blobs import FakeBlobs, FakeUpload
from kaixu.plugin.testing.checks import check_lane, check_usage, must
from kaixu.plugin.testing.contract import IntegrationContract
from kaixu.plugin.testing.customer_data import FakeSecrets, FakeSettings
from kaixu.plugin.testing.database import FakeDatabase
from kaixu.plugin.testing.effects import FakeMail
from kaixu.plugin.testing.embeddings import EmbeddingContract
from kaixu.plugin.testing.example import Example
from kaixu.plugin.testing.integrations import (
    FakeCall,
    check_integration,
    run,
    run_schedule,
)
from kaixu.plugin.testing.lanes import LaneContract
from kaixu.plugin.testing.real_gateway import Customer, TrialGateway, gateway
from kaixu.plugin.testing.views import FakeView, load_panel
from kaixu.plugin.testing.wire import Answer, Chunks, FakeWire, Reply, Respond, event_stream, json_answer, no_answer

__all__ = [
    "Answer",
    "Chunks",
    "Customer",
    "EmbeddingContract",
    "Example",
    "FakeBlobs",
    "FakeCall",
    "FakeDatabase",
    "FakeMail",
    "FakeSecrets",
    "FakeSettings",
    "FakeUpload",
    "FakeView",
    "FakeWire",
    "IntegrationContract",
    "LaneContract",
    "Reply",
    "Respond",
    "TrialGateway",
    "check_integration",
    "check_lane",
    "check_usage",
    "event_stream",
    "gateway",
    "json_answer",
    "load_panel",
    "must",
    "no_answer",
    "run",
    "run_schedule",
]
