"""`kaixu operators …`: who may log in; the same rules as the admin API, and the way back in for who is locked out."""

from __future__ import annotations

from typing import Any

import typer

from kaixu.accounts import operators as accounts
from kaixu.accounts.fields import identifier
from kaixu.accounts.operator_factors import remove_totp
from kaixu.accounts.operator_invitations import invitation_link
from kaixu.accounts.operator_passwords import Passwords
from kaixu.accounts.operator_sessions import OperatorSession, end_sessions, list_sessions

from .examples import example
from .failure import fail
from .report import print_record, print_rows
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

commands = typer.Typer(
    no_args_is_help=True,
    help="Operators: create, invite, list, change, disable, enable, reset passwords and second factors, sessions.",
)

Who = typer.Argument(metavar="OPERATOR", help="Id or email.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="operators")


def operator_record(row: accounts.Operator) -> dict[str, Any]:
    """An operator for printing."""
    return {
        "id": row.id,
        "email": row.email,
        "name": row.name,
        "role": row.role,
        "state": "active" if row.disabled_at is None else "disabled",
        "has_password": row.has_password,
        "second_factor": row.has_totp,
        "single_sign_on": row.oidc_issuer is not None,
        "last_login": None if row.last_login_at is None else row.last_login_at.isoformat(timespec="seconds"),
        "created": row.created_at.isoformat(timespec="seconds"),
    }


@commands.command("list", epilog=example("operators list"))
def list_all(as_json: AsJson = False) -> None:
    """List operators."""

    async def work(session: CommandSession) -> list[accounts.Operator]:
        return await accounts.list_operators(session.pool)

    print_rows([operator_record(row) for row in with_database(work)], as_json=as_json, title="operators")


@commands.command(epilog=example("operators create ada@example.com --role owner"))
def create(
    email: str = typer.Argument(help="The address to log in with."),
    role: str = typer.Option("viewer", help="viewer, operator or owner."),
    name: str = typer.Option(None, help="The name."),
    invite: bool = typer.Option(False, "--invite", help="Print a link to choose a password by, instead of a password."),
    as_json: AsJson = False,
) -> None:
    """Create an operator. The password is made by the gateway, and printed once."""

    async def work(session: CommandSession) -> dict[str, Any]:
        given = {"email": email, "role": role, "name": name, "invite": invite}
        made = await accounts.create_operator(session.pool, Passwords(), given, actor=ACTOR, request_id=REQUEST_ID)
        return made_record(made, session)

    print_record(with_database(work), as_json=as_json)


@commands.command(epilog=example("operators invite ada@example.com"))
def invite(who: str = Who, as_json: AsJson = False) -> None:
    """Print a link by which an operator chooses a password, once within 72 hours."""

    async def work(session: CommandSession) -> dict[str, Any]:
        row = await accounts.find_operator(session.pool, who)
        made = await accounts.invite_operator(session.pool, row.id, actor=ACTOR, request_id=REQUEST_ID)
        return made_record(made, session)

    print_record(with_database(work), as_json=as_json)


def made_record(made: accounts.MadeOperator, session: CommandSession) -> dict[str, Any]:
    """An operator for printing, with the password or the invitation that is shown once."""
    record = operator_record(made.row)
    if made.invitation is not None:
        return {"invitation": invitation_link(made.invitation, session.settings.gateway_url)} | record
    return {"password": made.password} | record


@commands.command(epilog=example("operators change ada@example.com --role operator"))
def change(
    who: str = Who,
    role: str = typer.Option(None, help="viewer, operator or owner."),
    name: str = typer.Option(None, help="The name."),
    as_json: AsJson = False,
) -> None:
    """Change an operator's role or name, from the next request on."""
    given = {key: value for key, value in (("role", role), ("name", name)) if value is not None}
    if not given:
        raise fail("nothing to change", hint="Use --role or --name.")
    print_record(operator_record(apply_change(who, given)), as_json=as_json)


@commands.command(epilog=example("operators disable ada@example.com"))
def disable(who: str = Who, as_json: AsJson = False) -> None:
    """Lock an operator out: its sessions end, and its tokens stop."""
    print_record(operator_record(apply_change(who, {"is_disabled": True})), as_json=as_json)


@commands.command(epilog=example("operators enable ada@example.com"))
def enable(who: str = Who, as_json: AsJson = False) -> None:
    """Let an operator log in again."""
    print_record(operator_record(apply_change(who, {"is_disabled": False})), as_json=as_json)


def apply_change(who: str, given: dict[str, Any]) -> accounts.Operator:
    """Change an operator; also the last owner: whoever can run commands can make another."""

    async def work(session: CommandSession) -> accounts.Operator:
        row = await accounts.find_operator(session.pool, who)
        return await accounts.change_operator(
            session.pool, row.id, given, keep_owner=False, actor=ACTOR, request_id=REQUEST_ID
        )

    return with_database(work)


@commands.command("reset-password", epilog=example("operators reset-password ada@example.com"))
def reset_password(who: str = Who, as_json: AsJson = False) -> None:
    """Give an operator a new password, which is printed once; its sessions end."""

    async def work(session: CommandSession) -> accounts.MadeOperator:
        row = await accounts.find_operator(session.pool, who)
        return await accounts.reset_password(session.pool, Passwords(), row.id, {}, actor=ACTOR, request_id=REQUEST_ID)

    made = with_database(work)
    print_record({"password": made.password} | operator_record(made.row), as_json=as_json)


@commands.command("reset-totp", epilog=example("operators reset-totp ada@example.com"))
def reset_totp(who: str = Who, as_json: AsJson = False) -> None:
    """Remove an operator's second factor, for one who has lost the device and the recovery codes."""

    async def work(session: CommandSession) -> accounts.Operator:
        row = await accounts.find_operator(session.pool, who)
        await remove_totp(session.pool, row.id, row.email, actor=ACTOR, request_id=REQUEST_ID)
        return await accounts.find_operator(session.pool, row.id)

    print_record(operator_record(with_database(work)), as_json=as_json)


@commands.command("reset-sso", epilog=example("operators reset-sso ada@example.com"))
def reset_sso(who: str = Who, as_json: AsJson = False) -> None:
    """Forget which user of the identity provider an operator is; the next one with its address is the operator."""

    async def work(session: CommandSession) -> accounts.Operator:
        row = await accounts.find_operator(session.pool, who)
        return await accounts.unlink_operator(session.pool, row.id, actor=ACTOR, request_id=REQUEST_ID)

    print_record(operator_record(with_database(work)), as_json=as_json)


@commands.command(epilog=example("operators sessions ada@example.com"))
def sessions(
    who: str = typer.Argument(
        None, metavar="[OPERATOR]", help="Id or email; without: all, also of the admin password."
    ),
    ended: bool = typer.Option(False, "--ended", help="Also those that are over."),
    as_json: AsJson = False,
) -> None:
    """List open sessions, newest first."""

    async def work(session: CommandSession) -> list[OperatorSession]:
        operator_id = None if who is None else (await accounts.find_operator(session.pool, who)).id
        return await list_sessions(session.pool, operator_id=operator_id, with_ended=ended)

    print_rows([session_record(row) for row in with_database(work)], as_json=as_json, title="sessions")


@commands.command(epilog=example("operators revoke ada@example.com"))
def revoke(
    who: str = typer.Argument(None, metavar="[OPERATOR]", help="Id or email: all of its sessions."),
    session_id: int = typer.Option(None, "--session", help="One session by its id."),
    as_json: AsJson = False,
) -> None:
    """End sessions, in all processes at once."""
    if (who is None) == (session_id is None):
        raise fail("name an operator, or a --session", hint="`kaixu operators sessions` lists them.")

    async def work(session: CommandSession) -> list[OperatorSession]:
        operator_id = None if who is None else (await accounts.find_operator(session.pool, who)).id
        return await end_sessions(
            session.pool,
            operator_id=operator_id,
            session_id=None if session_id is None else identifier(session_id, "session"),
            actor=ACTOR,
            request_id=REQUEST_ID,
        )

    print_rows([session_record(row) for row in with_database(work)], as_json=as_json, title="ended sessions")


def session_record(row: OperatorSession) -> dict[str, Any]:
    """A session for printing."""
    return {
        "id": row.id,
        "operator": row.email or "admin password",
        "method": row.method,
        "address": row.address,
        "agent": row.user_agent,
        "begun": row.created_at.isoformat(timespec="seconds"),
        "last_seen": row.last_seen_at.isoformat(timespec="seconds"),
        "ends": row.expires_at.isoformat(timespec="seconds"),
        "revoked": None if row.revoked_at is None else row.revoked_at.isoformat(timespec="seconds"),
    }
