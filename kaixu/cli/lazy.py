"""The table of commands. Each is imported when it runs, so that `kaixu --help` does not load the gateway."""

from __future__ import annotations

from importlib import import_module

import typer
from typer.core import TyperCommand, TyperGroup

#: Command → its module and its sentence; the module's `register(app)` adds the command, or the group of commands.
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Run the gateway."),
    "work": ("work", "Run job workers only (any number of machines)."),
    "reload": ("reload", "Reload kaixu.yaml in the running gateway."),
    "check": ("check", "Check kaixu.yaml, its plugins and the database; exit 1 with everything that is wrong."),
    "migrate": ("migrate", "Update the database's schema; safe to run from any number of machines at once."),
    "doctor": (
        "doctor",
        "Look at secrets, database, schema, lanes, spool and running gateways; exit 1 if something is wrong.",
    ),
    "reconcile": ("reconcile", "Prove for every customer, key and month that events, spend, holds and top-ups add up."),
    "plugins": ("plugins", "Every plugin that kaixu.yaml names: name, kind, source, version, state."),
    "plugin": ("plugin", "Plugins of your own: write a new one."),
    "prices": ("prices", "Prices: what every model costs and earns, and the included price lists of vendors."),
    "jobs": ("jobs", "Jobs: list, show, cancel."),
    "trace": ("trace", "The history of one call: admission, tries, first output, settlement, cost."),
    "customers": ("customers", "Customers: list, create, change, disable, enable, top up."),
    "devices": ("devices", "Devices: list, revoke, unrevoke."),
    "keys": ("keys", "Virtual keys: list, create, change, rotate, revoke, unrevoke."),
    "usage": ("usage", "Usage: a customer's month, a month by lane, and the cost of one call explained."),
}


class Commands(TyperGroup):
    """Lists its commands by name and sentence, and imports the one that runs."""

    listing = False

    def list_commands(self, ctx: object) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """The command; while the list is shown, its sentence is enough."""
        if cmd_name not in COMMANDS:
            return None
        module, sentence = COMMANDS[cmd_name]
        if self.listing:
            return TyperCommand(cmd_name, help=sentence)
        home = typer.Typer(add_completion=False)
        home.callback()(lambda: None)  # with one, even a lone command is a group's
        import_module(f".{module}", __package__).register(home)
        command = typer.main.get_group(home).commands[cmd_name]
        assert isinstance(command, TyperCommand | TyperGroup)
        return command

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        """The list of commands, without loading one."""
        self.listing = True
        super().format_help(ctx, formatter)  # type: ignore[arg-type]
