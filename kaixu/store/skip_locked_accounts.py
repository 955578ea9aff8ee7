"""Sends groups of calls to the database without waiting for locked accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from kaixu.plugin.errors import DatabaseBusy
from kaixu.store.pool import busy

Item = TypeVar("Item")
Answer = TypeVar("Answer")

#: How often a group is sent: once, and once more without those whose account turned out to be locked.
SENT_AT_MOST = 2


class SkipLockedAccounts(Generic[Item, Answer]):
    """Sends groups; where one runs into a lock, sends it again without the locked accounts.

    `send` waits a short time for locks; `locked` returns the positions of a group
    whose account is locked, and does not wait. An account that was locked is checked
    before the next group is sent, so that only one group waits for it.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        locked: Callable[[list[Item]], Awaitable[set[int]]],
        account: Callable[[Item], Hashable],
    ) -> None:
        self._send = send
        self._locked = locked
        self._account = account
        self._suspects: set[Hashable] = set()

    async def __call__(self, items: Sequence[Item]) -> list[Answer | DatabaseBusy]:
        """An answer for each item, in order. Raises what `send` raises, except `DatabaseBusy`."""
        answers: dict[int, Answer] = {}
        remaining = await self._free(items, list(range(len(items))), only_suspects=True)
        for _ in range(SENT_AT_MOST):
            if not remaining:
                break
            try:
                answers = dict(zip(remaining, await self._send([items[at] for at in remaining]), strict=True))
                break
            except DatabaseBusy:
                remaining = await self._free(items, remaining, only_suspects=False)
        return [answers[at] if at in answers else busy() for at in range(len(items))]

    async def _free(self, items: Sequence[Item], remaining: list[int], *, only_suspects: bool) -> list[int]:
        """Those of `remaining` whose account is not locked; with `only_suspects` only suspects are checked."""
        checked = [at for at in remaining if not only_suspects or self._account(items[at]) in self._suspects]
        if not checked:
            return remaining
        locked = {checked[at] for at in await self._locked([items[at] for at in checked])}
        self._suspects.difference_update(self._account(items[at]) for at in checked)
        self._suspects.update(self._account(items[at]) for at in locked)
        return [at for at in remaining if at not in locked]
