"""Using an invitation: the operator who was invited chooses a password."""

from __future__ import annotations

import asyncpg
import msgspec

from kaixu.config.operators_section import OperatorsSection
from kaixu.ops.change_origin import CHANGE_ORIGIN
from kaixu.plugin.errors import Forbidden
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.operator_invitations import take_invitation
from kaixu.store.operators import Operator, locked_operator
from kaixu.store.pool import database

from .operator_invitations import find_invitation, no_invitation, token_hash
from .operator_passwords import Passwords
from .operators import replace_password


async def accept_invitation(
    pool: asyncpg.Pool,
    passwords: Passwords,
    token: str,
    password: str,
    *,
    section: OperatorsSection,
    request_id: str,
) -> Operator:
    """Set the password of the operator who was invited, and end its sessions; the link is used up.

    Raises `NotFound` for a link that cannot be used, and `Forbidden` where single sign-on is the only way.
    """
    if section.sso_only:
        raise Forbidden("operators log in with single sign-on", hint="Open /api/admin-oidc-start in a browser.")
    invited = await find_invitation(pool, token)  # before a password is computed
    password_hash = await passwords.hash(password)
    actor = f"operator:{invited.email}"
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await locked_operator(connection, invited.id)  # before the invitation's row, as in `replace_password`
            if await take_invitation(connection, token_hash(token)) is None:
                raise no_invitation()
            origin = CHANGE_ORIGIN.get()
            CHANGE_ORIGIN.set(msgspec.structs.replace(origin, actor=actor, operator_id=invited.id))
            row = await replace_password(connection, invited.id, password_hash, but=None, actor=actor)
            await write_audit(connection, AuditEvent(actor, "OPERATOR_INVITATION_USED", actor, request_id))
    return row
