"""docs/operators/station.md: its example loads, its commands run, and its replies are as shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from kaixu.accounts.platforms import HEALTH, LIFECYCLE, ONBOARDING
from kaixu.config.check import check
from kaixu.config.platforms_section import StorageMode
from kaixu.config.read import read_text
from tests.support.process import Process

from .pages import blocks, run, same_shape, shown, text_of

PAGE = text_of("docs/operators/station.md")
CONFIG = "lanes: {local: {plugin: echo, models: {local-chat: {type: chat, price: {input: 1, output: 2}}}}}\n"


def test_its_example_loads() -> None:
    surfaces, station = blocks(PAGE, "yaml")
    document = check(read_text(CONFIG + surfaces + station, "kaixu.yaml", {}))
    assert set(document.platforms.surfaces) == {"cohort-command"}
    assert document.station.name == "Example Station"


def test_every_choice_is_named() -> None:
    for choice in (*HEALTH, *ONBOARDING, *LIFECYCLE, *get_args(StorageMode)):
        assert f"`{choice}`" in PAGE


async def test_its_commands_run_and_its_replies_are_as_shown(dsn: str, tmp_path: Path) -> None:
    gateway = await Process(tmp_path / "home", dsn, CONFIG).start()
    told = shown(PAGE)
    try:
        printed = await run([one.commands for one in told], tmp_path, {"GATEWAY": gateway.url})
    finally:
        await gateway.stop()
    assert len(told) == 2
    for one, real in zip(told, printed, strict=True):
        same_shape(one.reply, json.loads(real))
