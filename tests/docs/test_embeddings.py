"""docs/clients/embeddings.md: its commands run, and its replies have the fields that it shows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from kaixu.collections.filters import LOGIC, OPERATORS
from tests.support.process import Process

from .pages import ROOT, run, same_shape, shown, text_of

PAGE = text_of("docs/clients/embeddings.md")


async def test_its_commands_run_and_its_reply_is_as_shown(dsn: str, tmp_path: Path) -> None:
    gateway = Process(tmp_path / ".kaixu", dsn, (ROOT / "kaixu.yaml").read_text())
    gateway.options = ("--dev",)
    await gateway.start()
    try:
        async with asyncio.timeout(60):
            while "Try it:" not in gateway.log.read_text():
                await asyncio.sleep(0.05)
        key = (tmp_path / ".kaixu" / "dev-key").read_text().strip()
        environment = gateway.environment | {"GATEWAY": gateway.url, "KEY": key}
        first, answer = shown(PAGE)
        stored_and_found, cited = await run([first.commands, answer.commands], tmp_path, environment)
    finally:
        await gateway.stop()
    stored, _, found = stored_and_found.partition("}{")
    assert json.loads(stored + "}")["stored"] == 3
    real = json.loads("{" + found)
    for shortened in ("matches", "usage", "month"):
        assert first.reply.pop(shortened)
        assert real.pop(shortened)
    same_shape(first.reply, real)
    assert real["results"] == first.reply["results"]
    assert json.loads(cited)["citations"][0]["text"] == "Rome is the capital of Italy."


def test_every_operator_of_filters_is_on_the_page() -> None:
    assert [word for word in (*LOGIC, *OPERATORS) if f"`{word}`" not in PAGE] == []
