"""Commands that installed packages bring, found by their entry points: no kaixu.yaml is needed.

A package that is broken, or claims a name that is taken, breaks nothing else: it is told in a sentence.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import traceback
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from .failure import fail

#: The group of entry points: the name of each is the command's, its object a function, or a mapping of names to such.
GROUP = "kaixu.commands"

NAME = re.compile(r"[a-z][a-z0-9]{0,39}(-[a-z0-9]{1,40})*")
MOST_DESCRIPTION = 120

#: Set, it shows where a package's command failed.
TRACEBACK = "KAIXU_TRACEBACK"

DEFAULT_URL = "http://127.0.0.1:8787"
RESERVED = ("url", "key")

Url = Annotated[str, typer.Option("--url", envvar="KAIXU_URL", help="The gateway's address.")]
Key = Annotated[
    str,
    typer.Option(
        "--key", envvar="KAIXU_KEY", help="A virtual key. Better in KAIXU_KEY: others may see a command's arguments."
    ),
]


class PackageCommand(NamedTuple):
    """A command of a package, not imported."""

    entry: EntryPoint
    package: str
    summary: str


class Found(NamedTuple):
    """The commands of all packages by name, and what is wrong with others: by name, in a sentence."""

    commands: Mapping[str, PackageCommand]
    refused: Mapping[str, str]


class Broken(Exception):
    """A package's command cannot be used as it is; the message says why."""


def package_commands(taken: Mapping[str, Any]) -> Found:
    """The commands of installed packages. `taken`: the gateway's own, which no package can replace."""
    claims: dict[str, dict[tuple[str, str], PackageCommand]] = {}
    refused: dict[str, str] = {}
    seen: set[str] = set()
    for distribution in distributions():
        try:
            package = str(distribution.metadata["Name"])
            if package.lower() in seen:  # the first one on the path counts
                continue
            seen.add(package.lower())
            entries = [one for one in distribution.entry_points if one.group == GROUP]
            summary = summary_of(distribution) if entries else ""
        except Exception as error:  # noqa: BLE001 - files that somebody else has written
            where = str(getattr(distribution, "_path", "a package"))
            refused[where] = f"the entry points of {Path(where).name} cannot be read: {type(error).__name__}"
            continue
        for entry in entries:
            command = PackageCommand(entry, package, summary)
            if entry.name in taken:
                sentence = f"`kaixu {entry.name}` is the gateway's own command: that of package {package} is left out"
                refused[f"{package}:{entry.name}"] = sentence
            elif not NAME.fullmatch(entry.name):
                shown = printable(entry.name)[:60]
                refused[f"{package}:{entry.name}"] = f"package {package}: `{shown}` cannot be the name of a command"
            else:
                claims.setdefault(entry.name, {})[package, entry.value] = command
    commands = {}
    for name, claimed in claims.items():
        if len(claimed) == 1:
            commands[name] = next(iter(claimed.values()))
        else:
            owners = " and ".join(sorted(one.package for one in claimed.values()))
            refused[name] = f"`kaixu {name}` is claimed by the packages {owners}: uninstall one of them"
    return Found(commands, refused)


def printable(text: str) -> str:
    """A text without characters that a terminal acts on."""
    return "".join(one if one.isprintable() else " " for one in text)


def summary_of(distribution: Distribution) -> str:
    """What a package says of itself."""
    return str(distribution.metadata["Summary"]) if "Summary" in distribution.metadata else ""


def listed_command(name: str, command: PackageCommand, panel: str) -> TyperCommand:
    """The command for the list: with its description only, so that nothing of the package runs."""
    description = described(command.entry) or command.summary or f"A command of the package {command.package}."
    text = printable(description.strip().partition("\n")[0])
    return TyperCommand(name, help=text[:MOST_DESCRIPTION], rich_help_panel=panel)


def described(entry: EntryPoint) -> str:
    """The first line of the docstring of a function, or of its module, from the source; empty if it is not found."""
    try:
        source = source_of(entry.module)
        if source is None:
            return ""
        tree = ast.parse(source.read_text(encoding="utf-8"))
        functions = [
            one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == (entry.attr or "").strip()
        ]
        text = ast.get_docstring(functions[0]) if functions else ast.get_docstring(tree)
        return (text or "").strip().partition("\n")[0]
    except (OSError, ValueError, SyntaxError, RecursionError):
        return ""


def source_of(module: str) -> Path | None:
    """The file of a module, without importing the packages that it is in."""
    spec: ModuleSpec | None = None
    path: Any = None
    parts = module.split(".")
    for at in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: at + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return None if spec is None or spec.origin is None or not spec.origin.endswith(".py") else Path(spec.origin)


def loaded_command(name: str, command: PackageCommand) -> TyperCommand | TyperGroup:
    """The command to run. Raises `CommandFailed` with a sentence for a package that is broken."""
    try:
        target = command.entry.load()
        return built(name, target)
    except (Exception, SystemExit) as error:  # third-party code can raise anything  # noqa: BLE001
        show_traceback()
        why = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        raise fail(
            f"`kaixu {name}` cannot be loaded from the package {command.package}: {printable(why)[:300]}",
            hint=f"Update the package or uninstall it; {TRACEBACK}=1 shows where it failed.",
        ) from None


def built(name: str, target: Any) -> TyperCommand | TyperGroup:
    """The command of an entry point's object. Raises `Broken`."""
    home = typer.Typer(add_completion=False)
    home.callback()(lambda: None)  # with a callback, Typer makes a group even of a single command
    if isinstance(target, Mapping):
        inner = typer.Typer(add_completion=False, no_args_is_help=True)
        inner.callback()(lambda: None)
        for word, function in target.items():
            if not isinstance(word, str) or not NAME.fullmatch(word):
                raise Broken(f"{word!r:.60} cannot be the name of a command")
            inner.command(word, help=help_of(function))(client_command(f"{name} {word}", function))
        home.add_typer(inner, name=name, help=f"{', '.join(target)}.")
    else:
        home.command(name, help=help_of(target))(client_command(name, target))
    command = typer.main.get_group(home).commands[name]
    assert isinstance(command, TyperCommand | TyperGroup)
    return command


def help_of(function: Any) -> str:
    """What a command says of itself."""
    return inspect.getdoc(function) or "No description."


def client_command(name: str, function: Any) -> Callable[..., None]:
    """A function as a command: with the options of the URL and the key in place of its first parameter.

    Raises `Broken`.
    """
    if not inspect.isfunction(function):
        raise Broken(f"a command is a function, not {function!r:.60}")
    if inspect.iscoroutinefunction(function):
        raise Broken("a command is a plain function, not an `async def`")
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise Broken("the first parameter of a command is the gateway's client")
    hints = get_type_hints(function, include_extras=True)
    own = [one.replace(annotation=hints.get(one.name, str)) for one in parameters[1:]]
    for one in own:
        if one.name in RESERVED or one.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            raise Broken(f"a command cannot have the parameter `{one.name}`")

    def run(**given: Any) -> None:
        from kaixu.plugin.command import CommandError

        from .gateway_client import GatewayClient

        url, key = given.pop("url"), given.pop("key")
        try:
            if not key:
                raise CommandError(
                    f"`kaixu {name}` needs a key", hint="Set KAIXU_KEY, or give --key. Your operator issues keys."
                )
            gateway = GatewayClient(url, key)
            try:
                function(gateway, **given)
            finally:
                gateway.close()
        except CommandError as error:
            hint = None if error.hint is None else printable(error.hint)
            raise fail(printable(error.message), hint=hint) from None
        except (typer.Exit, typer.Abort, typer.BadParameter, SystemExit, KeyboardInterrupt):
            raise
        except Exception as error:  # third-party code can raise anything  # noqa: BLE001
            show_traceback()
            raise fail(
                f"`kaixu {name}` failed: {type(error).__name__}: {printable(str(error))[:300]}",
                hint=f"{TRACEBACK}=1 shows where.",
            ) from None

    keyword_only = inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter("url", keyword_only, default=DEFAULT_URL, annotation=Url),
        inspect.Parameter("key", keyword_only, default="", annotation=Key),
    ]
    every = [*(one.replace(kind=keyword_only) for one in own), *options]
    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in every} | {"return": None}
    return run


def show_traceback() -> None:
    """Print where the package failed, if that is wanted."""
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
