"""docs/operators/lanes.md has every included lane with all its options, and examples that `kaixu check` accepts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from kaixu_openai import OpenAI, turns_of

from kaixu.config.price_list import packaged
from kaixu.plugin import Lane, Message, Options, ReasoningPart, TextPart, ToolResultPart
from tests.support.kaixu import run_kaixu

from .pages import ROOT, blocks, text_of

PAGE = text_of("docs/operators/lanes.md")
#: The included plugins that are lanes, by name; integrations are in a folder of their own.
LANES = {path.stem for path in (ROOT / "plugins" / "lanes").iterdir()}
ENTRIES: dict[str, str] = tomllib.loads(text_of("pyproject.toml"))["project"]["entry-points"]["kaixu"]
PLUGINS = {name: module for name, module in ENTRIES.items() if module in LANES}
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "VOYAGE_API_KEY", "AZURE_OPENAI_API_KEY")


def kinds() -> dict[str, tuple[type[Lane], type[Options]]]:
    """The lanes that the included plugins register."""
    found: dict[str, tuple[type[Lane], type[Options]]] = {}

    def register(name: str, lane: type[Lane], options: type[Options]) -> None:
        found[name] = lane, options

    for module in PLUGINS.values():
        import_module(module).register_lanes(register)
    return found


def section(name: str) -> str:
    """The section of a lane."""
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_every_option_of_every_lane_is_named(name: str) -> None:
    rows = [line.split("|") for line in section(name).splitlines() if line.startswith("| `")]
    told = {option: row[2].strip() for row in rows for option in re.findall(r"`(\w+)`", row[1])}
    fields = kinds()[name][1].model_fields
    assert sorted(told) == sorted(fields)
    assert {option for option in told if told[option] == "required"} == {
        option for option, field in fields.items() if field.is_required()
    }


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_the_table_of_lanes_is_true(name: str) -> None:
    lane, _ = kinds()[name]
    row = next(line.split("|") for line in PAGE.splitlines() if line.startswith(f"| [`{name}`]"))
    _, _, _, chat, embeds, prices, native, _ = (cell.strip() for cell in row)
    assert (chat == "✓") == (lane.chat is not Lane.chat)
    assert (embeds == "✓") == (lane.embed is not Lane.embed)
    assert (prices == f"`{name}`") == (name in packaged())
    doors = {None: "", "openai.chat": "of `/v1/chat/completions`", "anthropic.messages": "of `/v1/messages`"}
    assert native == doors[lane.native]


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_its_example_is_a_whole_file_that_kaixu_check_takes(name: str, tmp_path: Path) -> None:
    [example] = blocks(section(name), "yaml")
    assert name in {lane["plugin"] for lane in yaml.safe_load(example)["lanes"].values()}
    (tmp_path / "kaixu.yaml").write_text(example)
    environment = {"KAIXU_HOME": str(tmp_path), "KAIXU_CONFIG": str(tmp_path / "kaixu.yaml"), "AZURE_RESOURCE": "ours"}
    environment |= {"PATH": os.environ["PATH"], **dict.fromkeys(KEYS, "k")}
    done = run_kaixu("check", "--no-database", environment=environment, folder=ROOT)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^off\s*(–|-)?\s*$", done.stdout, re.MULTILINE), done.stdout


def test_its_commands_run(tmp_path: Path) -> None:
    [commands] = blocks(PAGE, "sh")
    for line in commands.splitlines():
        words = line.split("#")[0].split()
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env={"PATH": os.environ["PATH"], "KAIXU_HOME": str(tmp_path), "COLUMNS": "200"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_openai_is_not_told_of_failures_and_thoughts_as_the_page_says() -> None:
    worked, failed = (ToolResultPart("t", (TextPart("no"),), is_error) for is_error in (False, True))
    assert turns_of(Message("user", (failed,))) == turns_of(Message("user", (worked,)))
    assert turns_of(Message("assistant", (ReasoningPart("hm", "s"), TextPart("Hi")))) == [
        {"role": "assistant", "content": "Hi"}
    ]
    assert "tool_result_images" not in OpenAI.supports
