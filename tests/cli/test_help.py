"""Every command says how it is used, rightly, and can speak JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.core import TyperCommand, TyperGroup

from kaixu.cli.lazy import COMMANDS, Commands


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Every command that does something, by the words that it is called with."""
    for name in COMMANDS:
        command = Commands(name="kaixu").get_command(None, name)
        inner = command.commands if isinstance(command, TyperGroup) else {}
        for word, one in inner.items():
            assert isinstance(one, TyperCommand)
            yield f"{name} {word}", one
        if isinstance(command, TyperCommand):
            yield name, command


EVERY = list(commands())


@pytest.mark.parametrize(("words", "command"), EVERY, ids=lambda one: one if isinstance(one, str) else "")
def test_the_example_of_a_command_is_one_of_it(words: str, command: TyperCommand) -> None:
    begin = f"Example: kaixu {words}"
    epilog = command.epilog or ""
    assert f"{epilog} ".startswith(f"{begin} ")
    command.make_context(words, shlex.split(epilog.removeprefix(begin)))  # raises what is wrong with it


@pytest.mark.parametrize(("words", "command"), EVERY, ids=lambda one: one if isinstance(one, str) else "")
def test_a_command_explains_all_that_it_takes_and_speaks_json(words: str, command: TyperCommand) -> None:
    assert command.help
    parameters: list[Any] = list(command.params)
    assert all(one.help for one in parameters), [one.name for one in parameters if not one.help]
    assert any("--json" in one.opts for one in parameters)
