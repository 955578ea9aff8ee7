"""Where a change comes from: who makes it, and from which network address. The audit log writes it with each change."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import msgspec


class ChangeOrigin(msgspec.Struct, frozen=True):
    """The origin of the changes of one request, or of one command.

    `actor`: the operator, token or command; None: the change itself names who makes it, as a key does. `address`: the
    client's network address. `hash_address` hides it for everybody who is no operator.
    """

    address: str | None = None
    hash_address: Callable[[str], str] | None = None
    actor: str | None = None
    operator_id: int | None = None
    session_id: int | None = None
    token_id: int | None = None

    @property
    def shown_address(self) -> str | None:
        """The address of an operator; of others, its hash, by which addresses can be told apart."""
        if self.address is None or self.actor is not None or self.hash_address is None:
            return self.address
        return f"hash:{self.hash_address(self.address)}"


#: Actors that stand for whoever the origin of the change names: an operator over HTTP, a command.
STANDS_FOR_ORIGIN = frozenset({"admin", "operator"})

#: Before anything is known.
NOBODYS = ChangeOrigin()

#: The origin of what the running task changes. A context variable, so that no route and no command can forget it.
CHANGE_ORIGIN: ContextVar[ChangeOrigin] = ContextVar("change_origin", default=NOBODYS)


def acting(actor: str) -> str:
    """Who makes a change, to be written down with it: whom the origin names, where `actor` stands for that."""
    origin = CHANGE_ORIGIN.get()
    return origin.actor if actor in STANDS_FOR_ORIGIN and origin.actor is not None else actor
