"""docs/clients/sdks.md: every example runs as it is, against a real gateway."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import asyncpg
import pytest
from anthropic import AsyncAnthropic, beta_async_tool

from tests.support.aimock import MODULES, NODE
from tests.support.money import customer, virtual_key
from tests.support.process import Process

from .pages import blocks, run, text_of

PAGE = text_of("docs/clients/sdks.md")
ADDRESS = "http://127.0.0.1:8787"
#: The names of the models that the gateway comes with; what they say does not matter here.
CONFIG = """
lanes:
  local: {plugin: echo, models: {local-chat: {type: chat, price: {input: 1, output: 2}}}}
  vectors: {plugin: local, chat: false, aliases: [local], models: {local-embed: {type: embed, dimensions: 256, price: {input: 0}}}}
"""
CAPITAL = "What is the capital of Italy?"


@pytest.fixture
async def gateway(dsn: str, tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway."""
    process = await Process(tmp_path / "home", dsn, CONFIG).start()
    yield process
    await process.stop()


@pytest.fixture
async def key(pool: asyncpg.Pool) -> str:
    """A valid key."""
    _, key = await virtual_key(pool, await customer(pool))
    return key


def example(title: str, language: str) -> str:
    """The example below a title."""
    [code] = blocks(PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0], language)
    return code


async def said(command: list[str], code: str, gateway: Process, key: str, folder: Path) -> str:
    """Run a program from standard input, with the gateway's address in it; returns its output."""
    assert ADDRESS in code
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "KAIXU_KEY": key},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(code.replace(ADDRESS, gateway.url).encode())
    assert process.returncode == 0, errors.decode()
    return out.decode()


@pytest.mark.parametrize("title", ["OpenAI, Python", "Anthropic, Python", "LangChain"])
async def test_an_example_in_python_runs(gateway: Process, key: str, tmp_path: Path, title: str) -> None:
    command = [sys.executable, "-W", "ignore", "-"]
    assert CAPITAL in await said(command, example(title, "python"), gateway, key, tmp_path)


@pytest.mark.parametrize("title", ["OpenAI, Node", "Anthropic, Node"])
async def test_an_example_in_node_runs(gateway: Process, key: str, title: str) -> None:
    out = await said([str(NODE), "--input-type=module"], example(title, "js"), gateway, key, MODULES)
    assert out.count(CAPITAL) == 2


async def test_the_example_for_llm_runs(gateway: Process, key: str, tmp_path: Path) -> None:
    code = example("llm", "sh").replace(ADDRESS, gateway.url)
    home = tmp_path / "llm"
    home.mkdir()
    [out] = await run([code], tmp_path, {"KAIXU_KEY": key, "LLM_USER_PATH": str(home), "PYTHONWARNINGS": "ignore"})
    assert out.strip() == CAPITAL


async def test_the_example_for_the_tool_runner_runs(gateway: Process, key: str, tmp_path: Path) -> None:
    code = example("Anthropic, tool runner", "python").replace("claude/sonnet", "local/local-chat")
    assert "How is the weather in Rome?" in await said([sys.executable, "-"], code, gateway, key, tmp_path)


async def test_the_tool_runner_is_refused_with_its_thread_as_the_page_says(gateway: Process, key: str) -> None:
    @beta_async_tool
    async def weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: its name
        """
        return city

    async with AsyncAnthropic(base_url=gateway.url, api_key=key, max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model="local/local-chat", max_tokens=9, messages=[{"role": "user", "content": CAPITAL}], tools=[weather]
        )
        with pytest.raises(anthropic.BadRequestError) as raised:
            await runner.until_done()
    assert raised.value.error_code == "unsupported_field"
    assert "`thread`" in raised.value.message
