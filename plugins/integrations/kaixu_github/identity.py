"""Whose token it is, what it may do, and what it lacks, in words."""

from __future__ import annotations

from typing import Any

import msgspec

from .account import Account, Answer
from .refusals import unreadable

MOST_SCOPES = 50


class Identity(msgspec.Struct, frozen=True):
    """Somebody at GitHub. `scopes` None: the token shows none, as fine-grained ones do."""

    login: str
    id: int
    name: str | None
    scopes: list[str] | None
    user: dict[str, Any]

    def meta(self, token_type: str, given: list[str]) -> dict[str, Any]:
        """What is stored beside the token, and may be shown."""
        scopes = given if self.scopes is None else self.scopes
        return {
            "token_type": token_type,
            "scopes": [one[:100] for one in scopes[:MOST_SCOPES]],
            "login": self.login,
            "user_id": self.id,
            "name": self.name,
            "shows_scopes": self.scopes is not None,
        }


async def identity_of(account: Account) -> Identity:
    """Ask GitHub whose token it is. Raises `Failure`, `UpstreamError`."""
    return read_identity(await account.get("/user", what="this account"))


def read_identity(answer: Answer) -> Identity:
    """The account in an answer of `/user`. Raises `UpstreamError`."""
    user = answer.data
    login, number = (user.get("login"), user.get("id")) if isinstance(user, dict) else (None, None)
    if not isinstance(login, str) or not isinstance(number, int) or not login:
        raise unreadable()
    name = user.get("name")
    header = answer.headers.get("x-oauth-scopes")
    scopes = None if header is None else split_scopes(header)
    return Identity(login[:100], number, name[:100] if isinstance(name, str) and name else None, scopes, user)


def split_scopes(text: str) -> list[str]:
    """Scopes that are separated by commas or spaces."""
    return [one for one in text.replace(",", " ").split() if one]


def missing(scopes: list[str] | None) -> list[str]:
    """What a token cannot do, one sentence for each."""
    if scopes is None:
        return [
            "A fine-grained token does not show its permissions. Pushes need Contents: write, workflows need "
            "Workflows: write, pull requests need Pull requests: write, new repositories need Administration: write."
        ]
    found = []
    if "repo" not in scopes:
        if "public_repo" in scopes:
            found.append("Without the scope `repo` it can push to public repositories only.")
        else:
            found.append("Without the scope `repo` it can push to no repository.")
    if "workflow" not in scopes:
        found.append("Without the scope `workflow` it cannot push files in .github/workflows.")
    return found
