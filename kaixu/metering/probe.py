"""One cheap call to a deployment, with the operator's credential: whether the vendor answers.

It is made by `kaixu check --live` only, in a process that serves nobody. There is no customer and no ticket: the vendor
bills the operator for a token or two, and no usage event is written.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from time import monotonic

import httpx
import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import KaixuError, UpstreamError, UpstreamRejected, UpstreamTimeout
from kaixu.plugin.types import ChatRequest, EmbedRequest, Message, TextPart

from .opening import wait_for_output
from .recent_calls import failure_of
from .routing import limits_of
from .wire import TicketWire, upstream_error

PROMPT = "Reply with OK."

#: The numbers of tokens to ask for, in this order: some vendors refuse the smallest.
TOKENS = (1, 16)


class Probe(msgspec.Struct, frozen=True):
    """How one deployment has answered. `status`, `reason` and `words` are the vendor's, cleaned."""

    lane: str
    model: str
    kind: str
    ok: bool
    ms: int
    code: str | None = None
    status: int | None = None
    reason: str | None = None
    words: str | None = None
    message: str | None = None


async def probe(transport: httpx.AsyncBaseTransport, one: Deployment, *, timeout_s: float) -> Probe:
    """Call a deployment once. Never raises for what the vendor or the lane does."""
    wire = TicketWire(transport, limits_of(one), "kaixu-check-live")
    wire.private_texts = lambda: (PROMPT,)
    began = monotonic()
    error: Exception | None = None
    try:
        async with asyncio.timeout(timeout_s):
            await (embed(one, wire) if one.kind == "embed" else chat(one, wire))
    except TimeoutError:
        error = UpstreamTimeout(f"the vendor did not answer within {timeout_s:g} s")
    except httpx.HTTPError as raised:
        error = upstream_error(raised)
    except Exception as raised:  # noqa: BLE001 - a lane's bug is a result, too
        error = raised
    finally:
        wire.close()
    ms = round((monotonic() - began) * 1000)
    if error is None:
        return Probe(one.state.name, one.upstream, one.kind, True, ms)
    wire.clean(error)
    failure = failure_of(error)
    message = error.message if isinstance(error, KaixuError) else f"the lane failed: {failure.code}"
    return Probe(
        one.state.name,
        one.upstream,
        one.kind,
        False,
        ms,
        failure.code,
        failure.status,
        failure.reason,
        failure.words,
        message,
    )


async def chat(one: Deployment, wire: TicketWire) -> None:
    """Ask for the beginning of an answer. Raises what the lane raises."""
    assert one.lane is not None
    for most in TOKENS:
        request = ChatRequest(model=one.upstream, messages=(Message("user", (TextPart(PROMPT),)),), max_tokens=most)
        try:
            opened = await wait_for_output(one.lane.chat(request, wire.for_try(limits_of(one))))
        except UpstreamRejected as error:
            if most == TOKENS[-1] or error.upstream_status not in (400, 422):
                raise
            continue
        async with aclosing(opened.events):
            return


async def embed(one: Deployment, wire: TicketWire) -> None:
    """Embed one word. Raises what the lane raises, and `UpstreamError` without a vector."""
    assert one.lane is not None
    request = EmbedRequest(model=one.upstream, inputs=("ok",))
    answer = await one.lane.embed(request, wire.for_try(limits_of(one)))
    if len(answer.vectors) != 1 or not len(answer.vectors[0]):
        raise UpstreamError("the vendor returned no vector")
