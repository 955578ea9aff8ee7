"""The end of a request: one record of what it was and how it ended, for the access log, the monitor and metrics."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from .call_facts import CallFacts
from .log_format import on_one_line

log = logging.getLogger(__name__)

#: The status of a request whose client disconnected before a reply had begun, as nginx logs it.
CLIENT_GONE = 499


#: A key that a client has put into a path by mistake.
KEY_IN_PATH = re.compile(r"(?i)(?<![a-z0-9])((?:kx|sk|pk|rk)[-_])[a-z0-9_.-]{6,}")

MAX_PATH = 500


def shown_path(path: str) -> str:
    """A path for logs and events: without keys and control characters, cut."""
    return cleaned_path(path[: 2 * MAX_PATH])  # cut before it is cached: a path may have 60 kB


@lru_cache(maxsize=1000)
def cleaned_path(path: str) -> str:
    """A path of at most twice the length that is shown."""
    return on_one_line(KEY_IN_PATH.sub(r"\1…", path))[:MAX_PATH]


class RequestEnd(msgspec.Struct, frozen=True):
    """A request that has ended. Nothing in it is secret: no body, no query, no key, and the address only as a hash.

    `status` is what the client got, `CLIENT_GONE` if it got nothing; a stream that failed has 200 and an `error_code`.
    `path` is a `shown_path`, `function` its last part. `provider` is the lane. `is_client_gone`: the client left
    before the reply's end. `facts`: the tries, and all that is known about an error. A call may go on after its client
    has disconnected, so `facts` may still change.
    """

    request_id: str
    method: str
    path: str
    function: str
    status: int
    duration_ms: int
    request_bytes: int
    response_bytes: int
    is_client_gone: bool
    facts: CallFacts
    user_agent: str | None = None
    origin: str | None = None
    referer: str | None = None
    ip_hash: str | None = None
    ended_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))

    @property
    def traceparent(self) -> str | None:
        """The client's trace, with the gateway's span."""
        return None if self.facts.trace is None else self.facts.trace.traceparent

    @property
    def app_id(self) -> str | None:
        """The client's `x-kaixu-app`."""
        return self.facts.app_id

    @property
    def build_id(self) -> str | None:
        """The client's `x-kaixu-build`."""
        return self.facts.build_id

    @property
    def customer_id(self) -> int | None:
        """The customer, if admission has found one; also for refused calls."""
        return self.facts.customer_id

    @property
    def key_id(self) -> int | None:
        """The virtual key."""
        return self.facts.key_id

    @property
    def provider(self) -> str | None:
        """The lane."""
        return self.facts.provider

    @property
    def model(self) -> str | None:
        """The model."""
        return self.facts.model

    @property
    def deployment(self) -> str | None:
        """The deployment that was called last."""
        return self.facts.deployment

    @property
    def error_code(self) -> str | None:
        """The error's code; None for a success, and for paths that do not exist."""
        return self.facts.error_code

    @property
    def upstream_status(self) -> int | None:
        """The status that a vendor refused the call with."""
        return self.facts.upstream_status


#: Called for each request that has ended, on the event loop: it must be quick.
RequestListener = Callable[[RequestEnd], None]


def tell(listeners: Iterable[RequestListener], end: RequestEnd) -> None:
    """Call all listeners. One that raises does not hurt the request nor the other listeners."""
    for listener in listeners:
        try:
            listener(end)
        except Exception:
            log.exception("a listener failed at the end of request %s", end.request_id)
