"""Who an operator's credential stands for, and what that may do."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from kaixu.ops.change_origin import ChangeOrigin
from kaixu.plugin.errors import Forbidden

#: The roles of operators, in ascending order.
OperatorRole = Literal["viewer", "operator", "owner"]
ROLES: tuple[OperatorRole, ...] = ("viewer", "operator", "owner")

#: What a token may be made for. `all`: everything except `operators`.
TokenScope = Literal["read", "keys", "customers", "money", "collections", "settings", "operators", "all"]
SCOPES: dict[TokenScope, str] = {
    "read": "lists, reports, exports, the monitor, the audit log",
    "keys": "create, change, rotate and revoke keys, groups of keys and devices; decide on requests for keys",
    "customers": "create and change customers, their end users, webhooks for alerts, and what integrations store of "
    "them",
    "money": "top up, make redemption codes, issue and void invoices, credit, billing details",
    "collections": "embed, search and change collections in a customer's name, at the customer's cost",
    "settings": "remove monitor events, and change what concerns the gateway as a whole",
    "all": "all of these, and what later versions add; not `operators`",
    "operators": "manage operators, their sessions and tokens",
}

#: What a route needs: a scope of tokens; `own`: a session, since it is about one's own account; `any`: no scope.
AccessScope = Literal["read", "keys", "customers", "money", "collections", "settings", "operators", "all", "own", "any"]


class Access(NamedTuple):
    """What a route needs of an operator: at least this role and, of a token, this scope."""

    role: OperatorRole
    scope: AccessScope


READ = Access("viewer", "read")
KEYS = Access("operator", "keys")
CUSTOMERS = Access("operator", "customers")
MONEY = Access("operator", "money")
COLLECTIONS = Access("operator", "collections")
SETTINGS = Access("operator", "settings")
#: Changes that say nothing else.
CHANGE = Access("operator", "all")
OPERATORS = Access("owner", "operators")
#: One's own password, second factor and session.
OWN = Access("viewer", "own")
#: Whom the credential stands for.
ANY = Access("viewer", "any")


class Identity(msgspec.Struct, frozen=True):
    """An operator's valid credential: a session, a token, or the admin password itself.

    `actor`: its name in the audit log. `scopes`: of a token; None: no limit but the role's. `operator_id`: the named
    operator; None: the admin password, or a token without an operator.
    """

    actor: str
    role: OperatorRole
    scopes: Collection[str] | None = None
    operator_id: int | None = None
    email: str | None = None
    name: str | None = None
    method: str | None = None
    session_id: int | None = None
    token_id: int | None = None
    expires_at: datetime | None = None
    has_totp: bool = False

    def may(self, access: Access) -> bool:
        """Whether this is enough for a route."""
        if ROLES.index(self.role) < ROLES.index(access.role):
            return False
        if self.scopes is None or access.scope == "any":
            return True
        if access.scope in ("operators", "own"):
            return access.scope in self.scopes
        return access.scope in self.scopes or "all" in self.scopes

    def require(self, access: Access) -> None:
        """Raises `Forbidden`, saying what is missing."""
        if ROLES.index(self.role) < ROLES.index(access.role):
            raise Forbidden(f"this needs the role {access.role}; yours is {self.role}", hint="Ask an owner.")
        if not self.may(access):
            what = "a login instead of a token" if access.scope == "own" else f"a token with the scope `{access.scope}`"
            raise Forbidden(f"this needs {what}", hint="Ask an owner for another token, or log in.")

    def origin_after(self, origin: ChangeOrigin) -> ChangeOrigin:
        """The origin of changes that are made with this credential."""
        return msgspec.structs.replace(
            origin,
            actor=self.actor,
            operator_id=self.operator_id,
            session_id=self.session_id,
            token_id=self.token_id,
        )


def role_of(name: str | None) -> OperatorRole:
    """A stored role. The admin password, and tokens without an operator, have the highest."""
    for role in ROLES:
        if name == role:
            return role
    assert name is None, name
    return "owner"
