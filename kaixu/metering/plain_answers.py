"""Which vendors are asked for an answer in one piece, for clients that do not stream.

It costs both sides less than a stream that is taken apart and joined again, and all fields of the answer remain. But
nothing comes before the end: a slow vendor looks like one that hangs, and proxies cut connections that are idle. So
only short answers are asked for in this way, and a deployment where it failed is asked for streams for a while.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from time import monotonic

import httpx

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from kaixu.plugin.lane import offers_plain_answers
from kaixu.plugin.types import ChatRequest

from .opening import Opened

#: The speed that is expected of a vendor at least, in output tokens per second.
LEAST_TOKENS_PER_S = 20

#: The longest that nothing may come from a vendor, in seconds: usual proxies cut an idle connection after a minute.
MOST_IDLE_S = 60

#: A failure after so many seconds may be due to the silence.
LONG_S = 15.0

#: For how long a deployment is then asked for streams, in seconds.
AVOIDED_S = 600.0

#: "This model only support stream mode, please enable the stream parameter", "Stream must be set to true".
ONLY_STREAMS = re.compile(
    r"\b(only|must|requires?|enable|set)\b.{0,60}\bstream|\bstream\w*\b.{0,40}\b(only|must|required?|true)\b",
    re.IGNORECASE | re.DOTALL,
)


class PlainAnswers:
    """Decides by the lane, the operator's setting, the length of the answer, and what happened lately."""

    def __init__(self) -> None:
        self.avoided_until: dict[tuple[str, str], float] = {}  # by lane and vendor's model

    def can_ask(self, one: Deployment, request: ChatRequest) -> bool:
        """Whether the answer is to be asked for in one piece."""
        if not one.plain_answers or one.lane is None or not offers_plain_answers(one.lane):
            return False
        if request.max_tokens > LEAST_TOKENS_PER_S * min(one.timeouts.first_byte_s, MOST_IDLE_S):
            return False
        if not self.avoided_until:
            return True
        return self.avoided_until.get((one.state.name, one.upstream), 0.0) <= monotonic()

    async def begin(self, one: Deployment, beginning: Awaitable[Opened], note: Callable[[str], None]) -> Opened | None:
        """Await the `beginning` of such an answer. None: the vendor has refused the request because it only streams."""
        began = monotonic()
        try:
            return await beginning
        except UpstreamRejected as error:
            if not says_that_it_streams(error):
                raise
            note("this model only streams: `plain_answers: false` spares a request")
            self.avoid(one)
            return None
        except (UpstreamError, httpx.HTTPError) as error:
            if isinstance(error, UpstreamTimeout | httpx.TimeoutException) or monotonic() - began >= LONG_S:
                note("no answer in one piece came in time: streams are asked for during the next ten minutes")
                self.avoid(one)
            raise

    def avoid(self, one: Deployment) -> None:
        """Ask `one` for streams for a while."""
        self.avoided_until[one.state.name, one.upstream] = monotonic() + AVOIDED_S


def says_that_it_streams(error: UpstreamRejected) -> bool:
    """Whether a vendor has refused because the model only streams."""
    return ONLY_STREAMS.search(error.vendor_words or "") is not None
