"""The table of commands. Each is imported only when it runs, so that `kaixu --help` is fast."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .failure import fail
from .package_commands import Found, listed_command, loaded_command, package_commands

#: Command → its module and its description; the module's `register(app)` adds the command or group.
COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve", "Run the gateway."),
    "work": ("work", "Run job workers only (any number of machines)."),
    "reload": ("reload", "Reload kaixu.yaml in the running gateway."),
    "restart": ("restart", "Replace the worker processes one by one, while the gateway serves."),
    "check": ("check", "Check kaixu.yaml, its plugins and the database; exit 1 with all errors."),
    "migrate": ("migrate", "Apply missing migrations; safe to run from any number of machines at once."),
    "accept-secrets": (
        "secrets",
        "Go on with another KEY_PEPPER or DB_ENCRYPTION_KEY than the database was set up with.",
    ),
    "secrets": (
        "stored_secrets",
        "Replace DB_ENCRYPTION_KEY and KEY_PEPPER step by step, import tokens of the older edition.",
    ),
    "doctor": (
        "doctor",
        "Check secrets, database, schema, lanes, spool and running gateways; exit 1 if something is wrong.",
    ),
    "reconcile": ("reconcile", "Prove for every customer, key and month that events, spend, holds and top-ups add up."),
    "seed-demo": ("seed_demo", "Fill a database with made-up customers and calls, or remove them."),
    "plugins": ("plugins", "List the plugins of kaixu.yaml: name, kind, source, version, state."),
    "plugin": ("plugin", "Create a plugin of your own."),
    "plans": ("plans", "Plans: list, show."),
    "codes": ("codes", "Redemption codes: list, create, show, revoke."),
    "prices": ("prices", "Prices: price, cost and margin of every model, and the included price lists."),
    "jobs": ("jobs", "Jobs: list, show, cancel."),
    "webhooks": ("webhooks", "Webhooks of integrations: list, show, handle again."),
    "tail": ("tail", "Follow monitor events of all gateways of this database, until Ctrl-C."),
    "trace": (
        "trace",
        "Trace one call: who made it, its tries, first output and cost, or why it failed.",
    ),
    "failures": ("failures", "Show failed and refused calls: grouped by reason and deployment, and the newest ones."),
    "top": ("top", "Show what spent most, with calls, vendor cost and margin."),
    "alerts": ("alerts", "Alerts: list them, send a test to every receiver, set a customer's webhook."),
    "mail": ("mail", "Mail: send a test, list the outbox, try one again."),
    "requests": ("requests", "Requests for keys by mail address: list, approve, deny."),
    "customers": (
        "customers",
        "Customers: list, create, change, disable, enable, top up, cap end users, import, export, delete.",
    ),
    "devices": ("devices", "Devices: list, revoke, unrevoke."),
    "keys": ("keys", "Virtual keys: list, show, create, change, rotate, revoke, unrevoke."),
    "groups": ("groups", "Groups of a customer's keys with caps of their own: list, create, change, delete."),
    "usage": ("usage", "Usage: a customer's month, a month by lane, the cost of one call explained, files of calls."),
    "import": ("importing", "Take over customers, keys and prices from another gateway."),
    "invoices": (
        "invoices",
        "Invoices: list, show, draft, finalize, credit, void, verify, PDF, mail, billing details.",
    ),
    "operators": (
        "operators",
        "Operators: create, invite, list, change, disable, enable, reset passwords and second factors, sessions.",
    ),
    "tokens": ("tokens", "API tokens for scripts: create, list, revoke."),
    "audit": ("audit", "Show the audit log, newest first: who changed what, from where, before and after."),
}

#: How `kaixu --help` groups them.
PANELS: dict[str, tuple[str, ...]] = {
    "Run it": (
        "serve",
        "work",
        "reload",
        "restart",
        "check",
        "migrate",
        "accept-secrets",
        "secrets",
        "doctor",
        "plugins",
        "plugin",
    ),
    "Watch it": ("tail", "trace", "failures", "top", "jobs", "webhooks", "alerts", "mail", "audit", "reconcile"),
    "Customers and keys": ("customers", "keys", "groups", "devices", "requests", "plans", "import", "seed-demo"),
    "Money": ("usage", "prices", "codes", "invoices"),
    "Who may run it": ("operators", "tokens"),
}
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}


#: Where the list shows the commands of packages.
PACKAGES = "Commands of packages"


class Commands(TyperGroup):
    """Lists commands with their descriptions, and imports the one that runs.

    Those of packages are looked for only where the list is shown, or where a command is not the gateway's own.
    """

    listing = False

    @cached_property
    def found(self) -> Found:
        """The commands of packages."""
        return package_commands(COMMANDS)

    def list_commands(self, ctx: object) -> list[str]:
        """The names, panel by panel."""
        return [*PANEL_OF, *sorted(self.found.commands)] if self.listing else list(PANEL_OF)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """The command that is called. An unknown one is told with the nearest names of the table."""
        names = [*COMMANDS, *([] if args and args[0] in COMMANDS else self.found.commands)]
        self.commands = dict.fromkeys(names)  # type: ignore[assignment]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """The command; for the list, its description is enough."""
        if cmd_name not in COMMANDS:
            return self.command_of_a_package(cmd_name)
        module, description = COMMANDS[cmd_name]
        if self.listing:
            return TyperCommand(cmd_name, help=description, rich_help_panel=PANEL_OF[cmd_name])
        home = typer.Typer(add_completion=False)
        home.callback()(lambda: None)  # with a callback, Typer makes a group even of a single command
        import_module(f".{module}", __package__).register(home)
        command = typer.main.get_group(home).commands[cmd_name]
        assert isinstance(command, TyperCommand | TyperGroup)
        return command

    def command_of_a_package(self, name: str) -> TyperCommand | TyperGroup | None:
        """The command of an installed package. Raises `CommandFailed` for one that cannot be used."""
        if (sentence := self.found.refused.get(name)) is not None:
            raise fail(sentence)
        command = self.found.commands.get(name)
        if command is None:
            return None
        return listed_command(name, command, PACKAGES) if self.listing else loaded_command(name, command)

    def format_help(self, ctx: typer.Context, formatter: object) -> None:  # type: ignore[override]
        """Show the list of commands without loading them."""
        self.listing = True
        super().format_help(ctx, formatter)  # type: ignore[arg-type]
        for sentence in self.found.refused.values():
            typer.echo(f"note: {sentence}", err=True)
