"""README.md: its commands work as pasted, with the gateway and the model that `make serve` starts."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from tests.support.process import Process

from .pages import ROOT, blocks, run, same_shape, text_of

PAGE = text_of("README.md")
ADDRESS = "localhost:8787"


async def test_its_tour_works_as_it_is_pasted(dsn: str, tmp_path: Path) -> None:
    # What lies around the commands in a checkout: the environment, and what `make serve` keeps.
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    config = (ROOT / "kaixu.yaml").read_text()
    gateway = Process(tmp_path / ".kaixu", dsn, config)
    gateway.options = ("--dev",)
    await gateway.start()
    shutil.copy(ROOT / "kaixu.yaml", tmp_path)
    _, chat, stream, messages, answers, ada = blocks(PAGE, "sh")
    try:
        async with asyncio.timeout(60):
            while "Try it:" not in gateway.log.read_text():  # it answers a moment before it has a key to show
                await asyncio.sleep(0.05)
        host = gateway.url.removeprefix("http://")
        tour = [commands.replace(ADDRESS, host) for commands in (chat, stream, messages, answers, ada)]
        said, streamed, message, answer, figures = await run(tour, tmp_path, gateway.environment)
    finally:
        await gateway.stop()
    told_reply = json.loads(blocks(PAGE, "json")[0])
    same_shape(told_reply, json.loads(said))
    assert [line for line in streamed.splitlines() if line.startswith("event: ")][-1] == "event: done"
    assert json.loads(message)["content"][0]["type"] == "text"
    stored = json.loads((tmp_path / ".kaixu" / "stored.json").read_text())
    assert stored["stored"] == len(stored["doc_ids"]) == 3
    # The page shows what the model says; what it says depends a little on the processor, what is cited does not.
    words, cited = answer.strip().splitlines()
    assert words
    assert f"\n{cited}\n```" in PAGE
    # What `reconcile` prints at the end, to the letter.
    told = PAGE.split("kaixu reconcile\n```\n\n```\n")[1].split("```")[0]
    assert figures.strip().endswith(told.strip())
    assert "laptop" in figures
