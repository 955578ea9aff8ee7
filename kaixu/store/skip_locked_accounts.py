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
    """Sends groups, and where one meets a lock sends it again without the locked accounts.

    `send` waits for locks, but not long; `locked` says at which positions of a group
    the account is locked, and waits for none. Who was found locked is asked about
    before the next group leaves, so that only the first one waits.
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
        """One answer an item, in order. Raises what `send` raises, but for `DatabaseBusy`."""
        answers: dict[int, Answer] = {}
        going = await self._free(items, list(range(len(items))), only_suspects=True)
        for _ in range(SENT_AT_MOST):
            if not going:
                break
            try:
                answers = dict(zip(going, await self._send([items[at] for at in going]), strict=True))
                break
            except DatabaseBusy:
                going = await self._free(items, going, only_suspects=False)
        return [answers[at] if at in answers else busy() for at in range(len(items))]

    async def _free(self, items: Sequence[Item], going: list[int], *, only_suspects: bool) -> list[int]:
        """Those of `going` whose account is not locked, as far as that is asked."""
        asked = [at for at in going if not only_suspects or self._account(items[at]) in self._suspects]
        if not asked:
            return going
        locked = {asked[at] for at in await self._locked([items[at] for at in asked])}
        self._suspects.difference_update(self._account(items[at]) for at in asked)
        self._suspects.update(self._account(items[at]) for at in locked)
        return [at for at in going if at not in locked]
