"""Who may call an operation, and how often."""

from __future__ import annotations

from typing import Literal

import msgspec

Rank = Literal["viewer", "deployer", "admin", "owner"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

#: What a change needs of an operator's API token: the scope of this name; a token for "all" has both.
OperatorScope = Literal["all", "money"]


class Key(msgspec.Struct, frozen=True):
    """Customers, with a virtual key or a session token; `role` is the lowest role of a key that may call it."""

    role: Rank = "viewer"


class Operator(msgspec.Struct, frozen=True):
    """Operators of the gateway: all of them may read (GET), a change needs the role `operator`.

    `customer`: the field of the body, or of the query, that names the customer it is about, as a number or as text.
    None: it is about no customer. `scope`: what a change needs of an API token: "all", or "money" for one that brings
    money in.
    """

    customer: str | None = "customer_id"
    scope: OperatorScope = "all"


class Public(msgspec.Struct, frozen=True):
    """Everybody, without a credential: at most `per_minute` requests of one network address in each gateway."""

    per_minute: int


Auth = Key | Operator | Public


class Rate(msgspec.Struct, frozen=True):
    """At most `most` calls of an operation in `per_s` seconds by one customer, or by one key.

    All gateways count together.
    """

    most: int
    per_s: float
    by: Literal["customer", "key"] = "customer"


class Caller(msgspec.Struct, frozen=True):
    """Who makes a call.

    `role`: of the key, or of the operator. `key_last4`: of the key. `email`: of the key's customer, or of the operator.
    Each is None where there is none.
    """

    kind: Literal["key", "session", "operator", "public", "job", "schedule"]
    role: str | None = None
    key_last4: str | None = None
    email: str | None = None
