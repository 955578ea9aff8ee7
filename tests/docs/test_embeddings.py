"""docs/clients/embeddings.md: its commands run, and the replies have the fields that it shows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from kaixu.collections.filters import LOGIC, OPERATORS
from tests.support.process import Process

from .pages import ROOT, blocks, run, same_shape, shown, text_of

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
        first, moved, answer = shown(PAGE)
        commands = [first.commands, moved.commands, answer.commands, by_openai(blocks(PAGE, "python")[0])]
        stored_and_found, imported, cited, by_sdk = await run(commands, tmp_path, environment)
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
    assert "'text': 'Rome is the capital of Italy.'" in by_sdk
    copied = json.loads(imported)
    for shortened in ("usage", "month"):
        assert moved.reply.pop(shortened)
        assert copied.pop(shortened)
    assert copied == moved.reply
    exported = [json.loads(line) for line in (tmp_path / "facts.ndjson").read_text().splitlines() if line]
    head, *rows, end = lines_of_export(PAGE)
    assert exported[0] == json.loads(head)
    assert exported[-1] == json.loads(end)
    assert sorted(exported[1]) == sorted(json.loads(rows[0].replace(",…]", "]")))


def by_openai(code: str) -> str:
    """The Python of the page as a command, with the client of the page about SDKs."""
    client = (
        'import os, openai\nclient = openai.OpenAI(base_url=os.environ["GATEWAY"] + "/v1", api_key=os.environ["KEY"])\n'
    )
    return f"python3 - <<'END'\n{client}{code}END\n"


def lines_of_export(page: str) -> list[str]:
    """The lines of the export that the page shows."""
    start = page.index('{"collection":"facts"')
    return page[start : page.index("```", start)].splitlines()


def test_every_operator_of_filters_is_on_the_page() -> None:
    assert [word for word in (*LOGIC, *OPERATORS) if f"`{word}`" not in PAGE] == []
