"""The openai lane before a real vendor that speaks OpenAI's protocol: llama.cpp with a small model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from kaixu_local import server
from openai import AsyncOpenAI

from tests.plugins.conftest import MODELS
from tests.support.money import assert_books_balance, customer, spent_and_held, virtual_key
from tests.support.process import Process

from .stage import CAPITAL, gateway

KEY = "sk-llama"
#: The small model is a base model: this makes a dialogue of it, which it must be stopped from going on with.
TEMPLATE = (
    "{% for message in messages %}{{ 'User: ' if message.role == 'user' else 'Assistant: ' }}"
    "{{ message.content }}\n{% endfor %}Assistant:"
)
STOP = ["\nUser:", "\nAssistant:"]
CONFIG = """
lanes:
  llama:
    plugin: openai
    base_url: {url}/v1
    api_key: {key}
    max_tokens_field: max_tokens
    models:
      gemma: {{type: chat, price: {{input: 1, output: 2}}}}
"""


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """A llama.cpp server's address. It leaves when its input ends."""
    settings = {
        "model_file": None,
        "model_dir": str(MODELS),
        "context_tokens": 1024,
        "parallel": 1,
        "threads": None,
        "prompt": "dialogue",
        "template": TEMPLATE,
        "api_key": KEY,
    }
    process = subprocess.Popen(
        [sys.executable, "-P", str(Path(server.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        said = json.loads(process.stdout.readline())
        assert "port" in said, said
        yield f"http://127.0.0.1:{said['port']}"
        process.stdin.close()


@pytest.fixture(scope="module")
def before_llama(llama: str, dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A gateway before it."""
    with gateway(tmp_path_factory.mktemp("llama"), dsn, CONFIG.format(url=llama, key=KEY)) as process:
        yield process


async def test_a_real_model_answers_plain_and_streamed_and_its_own_counts_are_billed(
    before_llama: Process, pool: asyncpg.Pool
) -> None:
    customer_id = await customer(pool)
    _, key = await virtual_key(pool, customer_id)
    asked: dict[str, Any] = {
        "model": "gemma",
        "messages": [{"role": "user", "content": "What is the capital of Italy?"}],
        "max_tokens": 40,
        "temperature": 0,
        "stop": STOP,
    }
    async with AsyncOpenAI(base_url=f"{before_llama.url}/v1", api_key=key, max_retries=0) as client:
        plain = await client.chat.completions.create(**asked)
        stream = await client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert (plain.choices[0].message.content or "").strip() == said.strip() == CAPITAL
    assert plain.choices[0].finish_reason == "stop"
    assert plain.usage is not None
    assert chunks[-1].usage is not None
    used = [(one.prompt_tokens, one.completion_tokens) for one in (plain.usage, chunks[-1].usage)]
    assert used[0] == used[1]
    assert min(used[0]) > 5
    assert await spent_and_held(pool, customer_id) == (sum(put * 1000 + got * 2000 for put, got in used), 0)
    sources = await pool.fetch("select usage_source from kaixu.usage_event where customer_id = $1", customer_id)
    assert [row["usage_source"] for row in sources] == ["provider", "provider"]
    await assert_books_balance(pool)


async def test_the_most_tokens_are_the_most_it_says(before_llama: Process, pool: asyncpg.Pool) -> None:
    _, key = await virtual_key(pool, await customer(pool))
    async with AsyncOpenAI(base_url=f"{before_llama.url}/v1", api_key=key, max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="gemma",
            messages=[{"role": "user", "content": "Count from one to ten in words."}],
            max_tokens=3,
            temperature=0,
        )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
