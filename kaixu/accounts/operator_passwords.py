"""Operators' passwords: argon2id, computed in a few threads of their own, so that logins cannot use up the machine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kaixu.plugin.errors import Overloaded, Unprocessable

#: Each computation takes 64 MiB and some 50 ms of a processor.
THREADS = 2

#: How many may wait for a thread; more are refused.
MAX_WAITING = 16

Result = TypeVar("Result")

LEAST_LENGTH = 12

#: Longer than any password, so that clients cannot make the gateway hash a megabyte.
MOST_LENGTH = 1000


class Passwords:
    """Hashes and verifies passwords. `waiting`: how many computations run or wait in this process."""

    def __init__(self) -> None:
        self.hasher = PasswordHasher()  # argon2id with the parameters of RFC 9106
        self.threads: ThreadPoolExecutor | None = None
        self.waiting = 0
        self.nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """The hash of a password, to be stored. Raises `Overloaded`."""
        return await self._compute(lambda: self.hasher.hash(encoded(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one of a stored hash. Without a hash it takes as long, and is wrong.

        Raises `Overloaded`.
        """

        def compare() -> bool:
            if self.nobodys is None:
                self.nobodys = self.hasher.hash(secrets.token_urlsafe())
            try:
                return self.hasher.verify(stored or self.nobodys, encoded(password)) and stored is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._compute(compare)

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self.hasher.check_needs_rehash(stored)

    async def _compute(self, work: Callable[[], Result]) -> Result:
        """Run `work` in one of the threads. If the caller is cancelled, the work runs on and still counts."""
        if self.waiting >= MAX_WAITING:
            raise Overloaded("too many logins at the same time", hint="Try again in a moment.", retry_after_s=2)
        if self.threads is None:
            self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="kaixu-passwords")
        self.waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self.threads, work)
        running.add_done_callback(self._done)
        return await asyncio.shield(running)

    def _done(self, running: asyncio.Future[Any]) -> None:
        """One computation has ended."""
        self.waiting -= 1
        if not running.cancelled():
            running.exception()  # seen, also where nobody waits any more


def encoded(password: str) -> bytes:
    """The bytes that are hashed; also for text with halves of characters."""
    return password.encode("utf-8", "surrogatepass")


def new_password() -> str:
    """A random password to hand over."""
    return secrets.token_urlsafe(18)


def acceptable(password: object, field: str) -> str:
    """A new password. Only its length counts. Raises `Unprocessable`."""
    if not isinstance(password, str) or not LEAST_LENGTH <= len(password) <= MOST_LENGTH:
        raise Unprocessable(
            f"`{field}` must be text of {LEAST_LENGTH} to {MOST_LENGTH} characters",
            hint="A few random words are a good password.",
            field=field,
        )
    return password
