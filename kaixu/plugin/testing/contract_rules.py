"""What the contract tests of integrations ask of errors, requests and texts."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from kaixu.plugin.errors import KaixuError
from kaixu.plugin.job import Again

from .contract_session import Outcome
from .wire import says_which


def is_clear(error: BaseException) -> bool:
    """Whether clients and operators learn from this error what has happened."""
    return isinstance(error, KaixuError | httpx.HTTPError | TimeoutError | Again)


def recognizable(first: httpx.Request, second: httpx.Request) -> bool:
    """Whether a header tells the vendor that both are the same request."""
    return says_which(second) and all(
        first.headers.get(name) == value for name, value in second.headers.items() if says_which_name(name)
    )


def says_which_name(name: str) -> bool:
    """Whether a header of this name tells which request this is."""
    return says_which(httpx.Request("GET", "https://x.example", headers={name: "1"}))


def told_type(error: BaseException | None) -> str:
    """An error's type in a message."""
    return "nothing" if error is None else f"{type(error).__name__} ({str(error)[:200]})"


def texts_of(outcome: Outcome) -> Iterator[str]:
    """Everything that is shown of a run: its error and its log."""
    if isinstance(outcome.error, KaixuError):
        yield f"the error {outcome.error} {outcome.error.hint or ''}"
    yield from (f"the log: {line}" for line in outcome.log)


def keys_of(outcome: Outcome) -> dict[str, set[str]]:
    """The keys of what a run did once for each key."""
    call = outcome.call
    return {
        "mails": {one.key for one in call.mails},
        "credits": {one.key for one in call.database.ledger.booked},
        "charges": {f"{one.charge} {one.key}" for one in call.charges if one.kind == "charge"},
    }
