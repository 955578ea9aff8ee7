"""The contract tests detect lanes that break the contract, and name the problem."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence

import httpx
import msgspec
import pytest
from kaixu_openai import OpenAI, OpenAIOptions
from pydantic import SecretStr

from kaixu.plugin import (
    AnswerReader,
    ChatDelta,
    ChatEvent,
    ChatRequest,
    CompletionReader,
    Finish,
    Free,
    HostNotDeclared,
    Integration,
    Job,
    Lane,
    Operation,
    Options,
    PerCall,
    PerUnit,
    Schedule,
    TooLarge,
    Tries,
    UpstreamBusy,
    UpstreamError,
    Usage,
    Wire,
    WireUrl,
    server_sent_events,
    until_end,
)
from kaixu.plugin.testing import (
    Answer,
    Example,
    FakeCall,
    FakeWire,
    IntegrationContract,
    LaneContract,
    check_integration,
    event_stream,
    run,
    run_schedule,
)


class Good(OpenAI):
    """Keeps the contract."""

    supports = OpenAI.supports - {"tools"}

    def __init__(self, secret: str) -> None:
        super().__init__(OpenAIOptions(api_key=SecretStr(secret)))

    async def of(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        """The answer of the real contract."""
        async for event in super().chat(request, wire):
            yield event


class Contract(LaneContract):
    kind: type[Good] = Good

    def lane(self) -> Lane:
        return self.kind(self.secret)

    def says(self, pieces: Sequence[str], usage: Usage) -> Answer:
        return event_stream(
            *({"choices": [{"delta": {"content": piece}}]} for piece in pieces),
            {"choices": [{"delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}},
        )


class TakesACutForAnEnd(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        try:
            async for event in self.of(request, wire):
                yield event
        except UpstreamError:
            yield Finish("stop")


class TellsNoUsage(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        async for event in self.of(request, wire):
            if not isinstance(event, Usage):
                yield event


class WaitsForAll(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        for event in [event async for event in self.of(request, wire)]:
            yield event


class KeepsItsEndToItself(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        reader = CompletionReader(wire.note, native=False)
        async with wire.send(self.outgoing(self.chat_url, self.body(request))) as response:
            answer = AnswerReader(response, wire.note)
            async for document in until_end(answer.documents(), reader.finished):
                for event in reader.read(document.data):
                    yield event
            yield reader.end(answer)


class ReadsChunksForEvents(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        reader = CompletionReader(wire.note, native=False)
        async with wire.send(self.outgoing(self.chat_url, self.body(request))) as response:
            async for chunk in response.aiter_bytes():
                for line in chunk.decode().split("\n\n"):
                    if line.startswith("data: ") and line != "data: [DONE]":
                        for event in reader.read(json.loads(line[6:])):
                            yield event


class KeepsTheRequest(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        self.latest = request
        async for event in self.of(request, wire):
            await asyncio.sleep(0)
            yield ChatDelta(self.latest.messages[0].text) if isinstance(event, ChatDelta) else event


class TellsItsHeaders(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        try:
            async for event in self.of(request, wire):
                yield event
        except UpstreamError as error:
            raise UpstreamError(f"{error} {dict(self.headers)}") from error


class LogsItsHeaders(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        logging.getLogger("a lane").info("calling with %s", dict(self.headers))
        async for event in self.of(request, wire):
            yield event


class MakesBusyBroken(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        try:
            async for event in self.of(request, wire):
                yield event
        except UpstreamBusy:
            raise UpstreamError("failed") from None


class SwallowsTheCancel(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        try:
            async for event in self.of(request, wire):
                yield event
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            yield Finish("stop")


class KeepsItOpen(Good):
    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        reader = CompletionReader(wire.note, native=False)
        response = await wire.send(self.outgoing(self.chat_url, self.body(request))).__aenter__()
        async for sent in server_sent_events(response):
            if sent.data == b"[DONE]":
                break
            for event in reader.read(json.loads(sent.data)):
                yield event


def wrongs(kind: type[Good], options: type[Options] | None = None) -> list[str]:
    """The failure of the contract tests for a lane."""
    contract = Contract()
    contract.kind = kind
    Contract.options = options
    said = []
    for name in dir(contract):
        if name.startswith("test_"):
            try:
                getattr(contract, name)()
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")
    return said


def test_a_good_lane_passes() -> None:
    assert wrongs(Good, OpenAIOptions) == []


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (TakesACutForAnEnd, "was accepted as an answer"),
        (TellsNoUsage, "no Usage came"),
        (WaitsForAll, "sends nothing before the vendor has finished"),
        (KeepsItsEndToItself, "call `wire.finished()`"),
        (ReadsChunksForEvents, ""),
        (KeepsTheRequest, "the lane keeps state between calls"),
        (TellsItsHeaders, "the secret appears in"),
        (LogsItsHeaders, "the secret is logged"),
        (MakesBusyBroken, "429: the lane must pass on the wire"),
        (SwallowsTheCancel, "do not catch CancelledError"),
        (KeepsItOpen, "the lane kept a response open"),
    ],
)
def test_a_lane_that_does_not_is_caught_and_told_why(kind: type[Good], says: str) -> None:
    said = wrongs(kind)
    assert said
    assert any(says in one for one in said), said


def test_a_secret_in_plain_text_is_caught() -> None:
    class Plain(Options):
        api_key: str = ""

    assert any("api_key of Plain must be a SecretStr" in one for one in wrongs(Good, Plain))


class Body(msgspec.Struct):
    words: str = ""


async def counts_too_much(call: FakeCall) -> Body:
    call.count("word", 11)
    return Body()


async def counts_nothing(call: FakeCall) -> Body:
    return Body()


async def hands_in_what_is_not_there(call: FakeCall) -> Body:
    await call.enqueue("notes.other", Body())
    return Body()


async def says_no_struct(call: FakeCall) -> dict[str, str]:
    return {"words": ""}


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (counts_too_much, "11 word are more than the 10 that one call may use"),
        (counts_nothing, "counted none"),
        (hands_in_what_is_not_there, "has no job `notes.other`"),
        (says_no_struct, "must return a msgspec.Struct"),
    ],
)
async def test_an_operation_that_does_not_keep_its_contract_is_caught(handler: object, says: str) -> None:
    operation = Operation("notes.do", handler, Body, PerUnit("words", unit="word", most=10))  # type: ignore[arg-type]
    with pytest.raises((AssertionError, TooLarge, ValueError), match=says):
        await run(Integration("notes", [operation]), "notes.do", FakeCall(Body()))


class VendorOptions(Options):
    base_url: WireUrl = "https://vendor.example"


async def uploads(call: FakeCall) -> Body:
    request = httpx.Request("POST", call.options.base_url, content=b"x" * 10)
    async with call.wire.send(request, accept={404}, tries=Tries(3)) as response:
        await response.aread()
    return Body()


UPLOAD = Operation("notes.upload", uploads, Body, PerUnit("sent", unit="bytes_sent", most=15))


async def test_bytes_that_are_sent_are_counted_as_in_the_gateway_and_pauses_are_not_waited_for() -> None:
    integration = Integration("notes", [UPLOAD], options=VendorOptions)
    wire = FakeWire(Answer(503, {"retry-after": "40"}), Answer(429), Answer(200))
    call = FakeCall(Body(), options=VendorOptions(), wire=wire)
    await run(integration, "notes.upload", call)
    assert (call.counted, len(wire.requests), len(wire.pauses), wire.pauses[0]) == ({"bytes_sent": 10}, 3, 2, 40)
    refused = FakeCall(Body(), options=VendorOptions(), wire=FakeWire(Answer(404)))
    await run(integration, "notes.upload", refused)
    assert refused.counted == {}


async def test_a_wire_that_would_go_where_nothing_was_declared_is_caught() -> None:
    call = FakeCall(Body(), options=VendorOptions(base_url="https://vendor.example"), wire=FakeWire(Answer(200)))
    call.options = Undeclared()
    with pytest.raises(HostNotDeclared, match="may not send to https://elsewhere"):
        await run(Integration("notes", [UPLOAD], hosts=["vendor.example"]), "notes.upload", call)


class Undeclared(Options):
    base_url: str = "https://elsewhere.example"


def test_names_and_handlers_are_looked_at() -> None:
    for operation, says in (
        (Operation("other.do", counts_nothing, Body, PerCall("x")), "must begin with 'notes.'"),
        (Operation("notes.do", lambda call: None, Body, PerCall("x")), "must be `async def`"),  # type: ignore[arg-type, return-value]
    ):
        with pytest.raises(AssertionError, match=says):
            check_integration(Integration("notes", [operation]))


async def hands_in_sweep(call: FakeCall) -> None:
    async with call.db() as db:
        await db.enqueue("notes.sweep", Body())


async def sweeps(call: FakeCall) -> Body:
    return Body(str(call.customer_id))


async def needs_a_customer(call: FakeCall) -> Body:
    return Body(str(call.customer_id + 1))  # type: ignore[operator]


def notes_with(job: Job) -> type[IntegrationContract]:
    """The contract suite of an integration whose schedule hands `job` in."""

    class Notes(IntegrationContract):
        integration = Integration(
            "notes", [], jobs=[job], schedules=[Schedule("notes.nightly", hands_in_sweep, 3600, why_free="a test")]
        )

        def examples(self) -> dict[str, Example]:
            return {"notes.sweep": Example(body=Body()), "notes.nightly": Example()}

    return Notes


def test_a_schedule_s_job_runs_without_a_customer() -> None:
    notes = notes_with(Job("notes.sweep", sweeps, Body, Free("a test")))()
    notes.test_every_example_succeeds_and_leaves_nothing_behind()
    notes.test_what_schedules_and_webhooks_enqueue_needs_no_customer()


@pytest.mark.parametrize(
    ("job", "says"),
    [
        (Job("notes.sweep", needs_a_customer, Body, Free("a test")), "fails without a customer: TypeError"),
        (Job("notes.sweep", sweeps, Body, PerCall("sweep")), "has a price"),
        (Job("notes.other", sweeps, Body, Free("a test")), "has no job `notes.sweep`"),
    ],
    ids=["needs a customer", "has a price", "is not declared"],
)
def test_a_schedule_s_job_that_cannot_run_for_nobody_is_caught(job: Job, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        notes_with(job)().test_what_schedules_and_webhooks_enqueue_needs_no_customer()


async def test_a_schedule_with_a_customer_is_caught() -> None:
    integration = notes_with(Job("notes.sweep", sweeps, Body, Free("a test"))).integration
    with pytest.raises(AssertionError, match="has no customer"):
        await run_schedule(integration, "notes.nightly", FakeCall())


async def test_a_block_that_fails_hands_nothing_in_and_nothing_works_after_the_end() -> None:
    from kaixu.plugin import TicketClosed

    call = FakeCall(Body(), results=["INSERT 0 1"])

    async def fails() -> None:
        async with call.db() as db:
            await db.enqueue("notes.count", Body())
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fails()
    async with call.db() as db:
        await db.execute("insert into note default values")
    assert call.jobs == []
    call.close()
    with pytest.raises(TicketClosed):
        await db.execute("select 1")
