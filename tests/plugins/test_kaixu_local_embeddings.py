"""Local embeddings: a real model in threads, loaded on first use, without the chat model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from kaixu_local import Local, LocalOptions, child, embeddings
from kaixu_local.child import Child

from kaixu.plugin import (
    ChatDelta,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    Message,
    PluginError,
    TextPart,
    Unavailable,
    Unsupported,
    Usage,
)
from kaixu.plugin.testing import FakeWire, check_lane, event_stream

from .conftest import MODELS

HEAVY = ("numpy", "safetensors", "tokenizers", "wordllama")
PASSAGE = "The harbour lies still in the morning; boats wait for the tide, and gulls for the boats. "


def lane(**options: Any) -> Local:
    return Local(LocalOptions.model_validate({"chat": False, **options}))


async def embedded(*texts: str, **fields: Any) -> Embeddings:
    """The embeddings of these texts by a lane without chat."""
    return await lane().embed(EmbedRequest("any", texts, **fields), FakeWire())


def length(vector: Sequence[float]) -> float:
    return math.sqrt(sum(number * number for number in vector))


def likeness(one: Sequence[float], other: Sequence[float]) -> float:
    """The cosine of two vectors of unit length."""
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture
def forgotten() -> Iterator[None]:
    """The model is not loaded yet."""
    embeddings.loaded.cache_clear()
    yield
    embeddings.loaded.cache_clear()


# Vectors


async def test_texts_about_the_same_are_closer_than_others() -> None:
    dog, puppy, tax, levy = (
        await embedded(
            "The dog chased a cat through the garden.",
            "A puppy ran after the kittens and dogs.",
            "The parliament passed a law on income tax.",
            "Deputies voted for a new tax on earnings.",
        )
    ).vectors
    alike = min(likeness(dog, puppy), likeness(tax, levy))
    unlike = max(likeness(one, other) for one in (dog, puppy) for other in (tax, levy))
    assert alike > unlike + 0.1


async def test_a_question_finds_its_passage() -> None:
    passages = ("Rome is the capital of Italy.", "Bread is baked of flour and water.", "Whales are mammals of the sea.")
    asked = "Which city is the capital of Italy?"
    question = (await embedded(asked, purpose="query")).vectors[0]
    found = (await embedded(*passages, purpose="document")).vectors
    assert max(passages, key=lambda passage: likeness(question, found[passages.index(passage)])) == passages[0]
    assert (await embedded(asked, purpose="document")).vectors[0] == question


async def test_they_are_the_vectors_of_wordllama_itself() -> None:
    import wordllama

    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    texts = ["Hello", PASSAGE, "日本語 😀", "a\x00b\n\tc", "<s>not a beginning</s>"]
    for ours, theirs in zip((await embedded(*texts)).vectors, model.embed(texts, norm=True).tolist(), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("dimensions", [None, 256, 128, 64])
async def test_vectors_have_length_one_and_the_requested_dimensions(dimensions: int | None) -> None:
    vectors = (await embedded("Hello", PASSAGE, "?", dimensions=dimensions)).vectors
    assert [len(vector) for vector in vectors] == [dimensions or 256] * 3
    assert [length(vector) for vector in vectors] == pytest.approx([1, 1, 1], abs=1e-6)
    assert all(type(number) is float for vector in vectors for number in vector)


async def test_a_short_vector_is_the_beginning_of_the_long_one() -> None:
    long, short = [(await embedded(PASSAGE, dimensions=size)).vectors[0] for size in (256, 64)]
    assert [number / length(long[:64]) for number in long[:64]] == pytest.approx(list(short), abs=1e-6)


@pytest.mark.parametrize("dimensions", [0, 1, 100, 257, 512, 1024])
async def test_other_numbers_of_dimensions_are_refused_by_name(dimensions: int) -> None:
    with pytest.raises(Unsupported, match="64, 128, 256") as refused:
        await embedded("Hello", dimensions=dimensions)
    assert refused.value.field == "dimensions"


async def test_tokens_are_refused_by_name() -> None:
    with pytest.raises(Unsupported) as refused:
        await lane().embed(EmbedRequest("any", ("Hello", (1, 2))), FakeWire())
    assert refused.value.field == "input"


async def test_an_empty_text_has_a_vector_like_any_other() -> None:
    together = await embedded("Hello", "", " ", "\n")
    assert [length(vector) for vector in together.vectors] == pytest.approx([1, 1, 1, 1], abs=1e-6)
    alone = await embedded("")
    assert alone == Embeddings((together.vectors[1],), Usage(input_tokens=1))


async def test_no_texts_have_no_vectors() -> None:
    assert await embedded() == Embeddings((), Usage())


async def test_a_long_text_is_read_to_its_end() -> None:
    short, long, other = (await embedded(PASSAGE, PASSAGE * 5000, PASSAGE * 2500 + "Tax law. " * 25000)).vectors
    assert likeness(short, long) > 0.999
    assert likeness(short, other) < 0.9
    usage = (await embedded(PASSAGE * 5000)).usage
    assert usage.input_tokens == pytest.approx(5000 * (await embedded(PASSAGE)).usage.input_tokens, rel=0.1)


# Usage


async def test_usage_is_what_the_models_tokenizer_counts() -> None:
    assert (await embedded("Hello world")).usage == Usage(input_tokens=2)
    assert (await embedded("Hello world", "Hello world", "unbelievable")).usage == Usage(input_tokens=2 + 2 + 4)


async def test_a_text_is_never_more_tokens_than_bytes_and_one() -> None:
    """Input is reserved by its bytes."""
    for text in ("", "?", "日本", "😀", "\x00", " \n "):
        assert (await embedded(text)).usage.input_tokens <= len(text.encode()) + 1


# Beside the event loop


async def test_the_event_loop_goes_on_meanwhile() -> None:
    opened = lane()
    await opened.embed(EmbedRequest("any", ("loads",)), FakeWire())
    work = asyncio.ensure_future(opened.embed(EmbedRequest("any", (PASSAGE * 2000,)), FakeWire()))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await work).usage.input_tokens > 30_000
    assert turns > 5


async def test_vectors_are_arrays_of_32_bit_floats() -> None:
    [vector] = (await embedded(PASSAGE)).vectors
    assert isinstance(vector, array)
    assert (vector.typecode, len(vector)) == ("f", 256)


async def test_a_full_batch_is_embedded_in_order() -> None:
    opened = lane()
    texts = tuple(PASSAGE + "!" * number for number in range(opened.max_batch))
    whole = await opened.embed(EmbedRequest("any", texts), FakeWire())
    assert len(whole.vectors) == len(set(map(tuple, whole.vectors))) == opened.max_batch
    assert whole.vectors[200] == (await embedded(texts[200])).vectors[0]


async def test_only_so_many_batches_are_embedded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []
    counting = threading.Lock()
    now = 0
    load = embeddings.model

    def model() -> embeddings.Model:
        nonlocal now
        with counting:
            now += 1
            running.append(now)
        time.sleep(0.01)
        with counting:
            now -= 1
        return load()

    monkeypatch.setattr(embeddings, "model", model)
    opened = lane()
    await asyncio.gather(*(opened.embed(EmbedRequest("any", ("Hello",)), FakeWire()) for _ in range(10)))
    assert len(running) == 10
    assert max(running) == embeddings.AT_ONCE


@pytest.mark.usefixtures("forgotten")
async def test_the_model_is_loaded_once_for_all() -> None:
    await asyncio.gather(*(embedded("Hello") for _ in range(8)))
    assert embeddings.loaded.cache_info().misses == 1


def test_nothing_heavy_is_loaded_before_the_first_text() -> None:
    program = f"""
import asyncio, json, sys
from kaixu_local import Local, LocalOptions
from kaixu.plugin import EmbedRequest
from kaixu.plugin.testing import FakeWire

async def main() -> None:
    lane = Local(LocalOptions(chat=False))
    await lane.start()
    before = [name for name in {HEAVY!r} if name in sys.modules]
    await lane.embed(EmbedRequest("any", ("Hello",)), FakeWire())
    after = [name for name in {HEAVY!r} if name in sys.modules]
    await lane.aclose()
    print(json.dumps([before, after]))

asyncio.run(main())
"""
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(said.stdout) == [[], ["numpy", "safetensors", "tokenizers"]]
    assert said.stderr == ""


# With and without chat


async def test_a_lane_for_embeddings_starts_no_process_and_needs_nothing_for_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kaixu_local.find_spec", lambda name: None)
    before = set(psutil.Process().children())
    opened = lane()
    await opened.start()
    await opened.embed(EmbedRequest("any", ("Hello",)), FakeWire())
    assert set(psutil.Process().children()) <= before
    with pytest.raises(Unavailable, match="embeddings only"):
        await check_lane(opened, ChatRequest("any", (Message("user", (TextPart("Hi"),)),), 5), FakeWire())
    await opened.aclose()
    assert set(psutil.Process().children()) <= before


async def test_a_lane_that_chats_embeds_too_and_sends_nothing_for_it() -> None:
    opened = lane(chat=True, model_dir=MODELS)
    wire = FakeWire()
    vectors = await opened.embed(EmbedRequest("any", ("Hello world",)), wire)
    assert vectors == await embedded("Hello world")
    assert wire.requests == []
    assert (opened.shortens, opened.embeds_tokens) == (True, False)


@pytest.mark.usefixtures("forgotten")
async def test_without_the_package_chat_works_and_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None if name == "wordllama" else find(name))

    async def ready(self: Child) -> child.Model:
        return child.Model(1, "key", "chat")

    monkeypatch.setattr(Child, "ready", ready)
    opened = lane(chat=True, model_dir=MODELS)
    with pytest.raises(Unavailable, match="not installed") as caught:
        await opened.embed(EmbedRequest("any", ("Hello",)), FakeWire())
    assert "pip" not in f"{caught.value.message} {caught.value.hint}"
    assert "pip install 'kaixu[local]'" in caplog.text
    wire = FakeWire(event_stream({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}))
    request = ChatRequest("any", (Message("user", (TextPart("Hi"),)),), 5)
    assert await check_lane(opened, request, wire) == [ChatDelta("Hello"), Finish("stop")]


@pytest.mark.usefixtures("forgotten")
def test_a_lane_for_embeddings_reports_at_its_start_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "WEIGHTS", Path("weights", "another.safetensors"))
    with pytest.raises(PluginError, match=r"`wordllama` with its model: pip install 'kaixu\[local\]'"):
        lane()
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"pip install 'kaixu\[local\]'"):
        lane()
