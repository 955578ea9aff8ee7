"""Random bytes for ids, from few system calls: each call of a model has two ids, and asking for each costs more."""

from __future__ import annotations

import os
from uuid import UUID

#: How many bytes are read from the system at once.
AT_ONCE = 1600


class RandomBytes:
    """Bytes of `os.urandom`, each given out once. For one thread; a process that is forked gets bytes of its own."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = b""
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Give out none of the bytes that were read before."""
        self.left = b""

    def take(self, count: int) -> bytes:
        """The next `count` bytes, at most `AT_ONCE`."""
        if len(self.left) < count:
            self.left = os.urandom(AT_ONCE)
        taken, self.left = self.left[:count], self.left[count:]
        return taken


RANDOM = RandomBytes()


def random_uuid() -> UUID:
    """A random UUID (version 4, RFC 9562 §5.4), as `uuid.uuid4` makes it."""
    return UUID(bytes=RANDOM.take(16), version=4)
