"""The table of commands. Each is imported only when it runs, so that `kaixu --help` is fast."""

from __future__ import annotations

from importlib import import_module

import typer
from typer.core import TyperCommand, TyperGroup

#: Command → its module and its description; the module's `register(app)` adds the command or group.
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Run the gateway."),
    "work": ("work", "Run job workers only (any number of machines)."),
    "reload": ("reload", "Reload kaixu.yaml in the running gateway."),
    "check": ("check", "Check kaixu.yaml, its plugins and the database; exit 1 with all errors."),
    "migrate": ("migrate", "Apply missing migrations; safe to run from any number of machines at once."),
    "doctor": (
        "doctor",
        "Check secrets, database, schema, lanes, spool and running gateways; exit 1 if something is wrong.",
    ),
    "reconcile": ("reconcile", "Prove for every customer, key and month that events, spend, holds and top-ups add up."),
    "seed-demo": ("seed_demo", "Fill a database with made-up customers and calls, or remove them."),
    "plugins": ("plugins", "List the plugins of kaixu.yaml: name, kind, source, version, state."),
    "plugin": ("plugin", "Create a plugin of your own."),
    "prices": ("prices", "Prices: price, cost and margin of every model, and the included price lists."),
    "jobs": ("jobs", "Jobs: list, show, cancel."),
    "tail": ("tail", "Follow monitor events of all gateways of this database, until Ctrl-C."),
    "trace": (
        "trace",
        "Trace one call: who made it, its tries, first output and cost, or why it failed.",
    ),
    "failures": ("failures", "Show failed and refused calls: grouped by reason and deployment, and the newest ones."),
    "top": ("top", "Show what spent most, with calls, vendor cost and margin."),
    "customers": ("customers", "Customers: list, create, change, disable, enable, top up, cap end users."),
    "devices": ("devices", "Devices: list, revoke, unrevoke."),
    "keys": ("keys", "Virtual keys: list, create, change, rotate, revoke, unrevoke."),
    "usage": ("usage", "Usage: a customer's month, a month by lane, the cost of one call explained, files of calls."),
    "invoices": (
        "invoices",
        "Invoices: list, show, draft, finalize, credit, void, verify, PDF, billing details.",
    ),
}


class Commands(TyperGroup):
    """Lists commands with their descriptions, and imports the one that runs."""

    listing = False

    def list_commands(self, ctx: object) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """The command; for the list, its description is enough."""
        if cmd_name not in COMMANDS:
            return None
        module, description = COMMANDS[cmd_name]
        if self.listing:
            return TyperCommand(cmd_name, help=description)
        home = typer.Typer(add_completion=False)
        home.callback()(lambda: None)  # with a callback, Typer makes a group even of a single command
        import_module(f".{module}", __package__).register(home)
        command = typer.main.get_group(home).commands[cmd_name]
        assert isinstance(command, TyperCommand | TyperGroup)
        return command

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        """Show the list of commands without loading them."""
        self.listing = True
        super().format_help(ctx, formatter)  # type: ignore[arg-type]
