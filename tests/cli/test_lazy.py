"""The list of commands is right, though none of them is loaded for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.core import TyperCommand, TyperGroup

from kaixu.cli.lazy import COMMANDS, PANELS, Commands


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says(name: str) -> None:
    command = Commands(name="kaixu").get_command(None, name)
    assert isinstance(command, TyperCommand | TyperGroup)
    assert command.name == name
    assert (command.help or "").splitlines()[0] == COMMANDS[name][1]


def test_the_list_loads_no_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kaixu", "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in ran.stderr.splitlines()}
    assert "kaixu.cli.lazy" in loaded
    assert not loaded & {"quart", "asyncpg", "pydantic", "kaixu.cli.serve"}
    assert all(f" {name} " in ran.stdout for name in COMMANDS)


def test_a_command_that_is_not_there_is_a_usage_error() -> None:
    ran = subprocess.run([sys.executable, "-m", "kaixu", "nonsense"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "nonsense" in ran.stderr
    ran = subprocess.run([sys.executable, "-m", "kaixu", "customer"], capture_output=True, text=True, check=False)
    assert (ran.returncode, "Did you mean 'customers'" in ran.stderr) == (2, True)


def test_every_command_is_in_one_panel_of_the_list() -> None:
    assert sorted(name for names in PANELS.values() for name in names) == sorted(COMMANDS)
