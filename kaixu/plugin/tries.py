"""How often a request is sent, and the pause before each further time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection
from itertools import count
from typing import Literal

import httpx
import msgspec

from kaixu.plugin.blob import BlobBody
from kaixu.plugin.errors import UpstreamBusy, UpstreamError
from kaixu.plugin.refusals import retry_after

#: The most tries of one request.
MOST_TRIES = 10


#: The statuses besides 2xx that come as an answer and not as an error.
Accept = Collection[int] | Literal["all"]

ALL = range(100, 1000)


def accepted_statuses(accept: Accept) -> Collection[int]:
    """The statuses that a request accepts. Raises `ValueError`."""
    if accept == "all":
        return ALL
    if isinstance(accept, str):
        raise ValueError(f'`accept` names statuses, or is "all", not {accept!r:.40}')
    return accept


def require_most_bytes(most_bytes: int | None) -> None:
    """Check the limit of an answer. Raises `ValueError`."""
    if most_bytes is not None and (isinstance(most_bytes, bool) or not isinstance(most_bytes, int) or most_bytes < 1):
        raise ValueError(f"`most_bytes` of an answer must be at least 1, not {most_bytes!r:.40}")


def answer_too_large(most_bytes: int) -> UpstreamError:
    """The error for an answer that is longer than somebody wants to read."""
    size = f"{most_bytes >> 20} MiB" if most_bytes % (1 << 20) == 0 else f"{most_bytes} bytes"
    return UpstreamError(f"the vendor's answer is larger than {size}")


class Tries(msgspec.Struct, frozen=True):
    """How often a request is sent at most, and after which answers again: the statuses `on`, and none at all.

    Give it only to requests that may arrive twice: after a broken connection or a time-out nobody knows whether the
    vendor has worked. Between two tries the wire waits as long as the vendor's `retry-after` says, else a pause from
    `first_wait_s` on that doubles. Where the vendor wants more than `most_wait_s`, there is no further try.
    """

    most: int = 5
    on: Collection[int] = frozenset({429, 502, 503, 504})
    first_wait_s: float = 0.5
    most_wait_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST_TRIES:
            raise ValueError(f"a request is sent from 1 to {MOST_TRIES} times, not {self.most}")

    def pause_s(self, number: int, told_s: int | None) -> float | None:
        """The pause after the try `number`, in seconds; None: the vendor wants too long a one."""
        if told_s is not None and told_s > self.most_wait_s:
            return None
        if told_s:
            return told_s
        longest_s = min(self.first_wait_s * 2.0 ** (number - 1), self.most_wait_s)
        return longest_s * random.uniform(0.5, 1)  # noqa: S311


ONCE = Tries(1)


def can_be_sent_again(request: httpx.Request) -> bool:
    """Whether the body of `request` is in memory or in blobs. Another stream can be read only once."""
    return isinstance(request.stream, httpx.ByteStream | BlobBody)


def is_worth_another_try(error: UpstreamError, tries: Tries) -> bool:
    """Whether the failure is a status that `tries` names, or the vendor has not answered at all."""
    if error.upstream_status is not None:
        return error.upstream_status in tries.on
    return error.hint is None  # with a hint: what came, or the request, is wrong


def told_wait_s(error: UpstreamError) -> int | None:
    """The seconds that the vendor itself wants to be left alone, in a header or in its text."""
    if isinstance(error, UpstreamBusy):
        return error.retry_after_s if error.wait_told else None
    return error.retry_after_s if error.told_wait_s is None else error.told_wait_s


async def with_tries(
    request: httpx.Request,
    tries: Tries,
    send: Callable[[], Awaitable[httpx.Response]],
    pause: Callable[[float], Awaitable[bool]],
) -> httpx.Response:
    """What `send` returns, after as many tries as it takes. Raises what its last one raises.

    `pause(seconds)` returns False if there is no time for a pause and another try.
    """
    if tries.most > 1 and not can_be_sent_again(request):
        tries = ONCE
    for number in count(1):
        may_repeat = number < tries.most
        try:
            response = await send()
        except UpstreamError as error:
            if not may_repeat or not is_worth_another_try(error, tries):
                raise
            wait_s = tries.pause_s(number, told_wait_s(error))
            if wait_s is None or not await pause(wait_s):
                raise
            continue
        if not may_repeat or response.status_code not in tries.on:
            return response
        wait_s = tries.pause_s(number, retry_after(response.headers))
        if wait_s is None:
            return response
        try:
            has_time = await pause(wait_s)
        except BaseException:
            await response.aclose()
            raise
        if not has_time:
            return response
        await response.aclose()
    raise AssertionError("the loop returns or raises")
