"""The native chat doors: `gateway-chat` answers in one piece, `gateway-stream` as server-sent events."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Any

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.config.price import cents_of_nusd, usd
from kaixu.metering.gate import Admission, Caller
from kaixu.metering.month import month_reply
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatDelta, ChatRequest

from .authenticate import caller_of
from .chat_body import name_of, read_chat, request_of
from .core import Core
from .doors import Door
from .errors import rate_headers
from .incoming import Incoming
from .names import paths_of
from .reply import SSE, Reply, json_reply
from .sse import EventStream, frame

log = logging.getLogger(__name__)

#: When the whole minute's limit is free again: a sliding window empties this long after its newest call.
WINDOW_S = 60


class Asked(msgspec.Struct, frozen=True):
    """A chat call as it was asked for: who, of what, and the names the client used."""

    caller: Caller
    deployment: Deployment
    request: ChatRequest
    provider: str
    model: str


def chat_doors(core: Core) -> list[Door]:
    """The doors, bound to one gateway."""

    def read(asked: Incoming) -> Asked:
        caller = caller_of(asked, core.secrets)
        body = read_chat(asked.body)
        provider, model = name_of(body.provider, "provider"), name_of(body.model, "model")
        deployment = core.catalog.resolve(provider, model, "chat")
        wanted = request_of(body, deployment, most_messages=core.gateway.max_messages)
        return Asked(caller, deployment, wanted, provider, model)

    async def chat(asked: Incoming) -> Reply:
        ask = read(asked)
        call = core.gate.chat(ask.caller, ask.deployment, ask.request)
        work = whole_answer(core, call)
        if ask.deployment.on_disconnect == "drain":
            # A client that leaves must not end the vendor's call: it goes on in a task of its own.
            ticket, text = await asyncio.shield(asyncio.ensure_future(work))
        else:
            ticket, text = await work
        body = names(ask) | {
            "output_text": text,
            "finish_reason": ticket.finish_reason,
            "usage": usage_reply(ticket),
            "month": month_reply(ticket.figures),
            "telemetry": {"install_id": ask.caller.install_id},
        }
        return json_reply(body, 200, rate_of(ticket))

    async def stream(asked: Incoming) -> Reply:
        ask = read(asked)
        call = core.gate.chat(ask.caller, ask.deployment, ask.request)
        ticket = await call.__aenter__()  # a refusal still has a status of its own; `speak` leaves the block

        async def speak(out: EventStream) -> None:
            out.begun = True
            task = asyncio.current_task()
            assert task is not None
            call.hand_over(task)
            await spoken(core, call, ticket, ask, out)

        async def never_begun() -> None:
            await call.__aexit__(GeneratorExit, GeneratorExit(), None)

        body = EventStream(speak, never_begun, drain=ask.deployment.on_disconnect == "drain")
        headers = {"content-type": SSE, "cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
        return Reply(200, headers | rate_of(ticket), body)

    return [Door(chat, paths_of("gateway-chat")), Door(stream, paths_of("gateway-stream"))]


def rate_of(ticket: Ticket) -> dict[str, str]:
    """The `x-ratelimit-*` headers of an admitted call."""
    return rate_headers(ticket.verdict.rate_limit, ticket.verdict.rate_remaining, WINDOW_S)


async def whole_answer(core: Core, call: Admission) -> tuple[Ticket, str]:
    """The stream of the lane, folded into one text; settled when it returns."""
    pieces = []
    async with call as ticket, aclosing(core.gate.events(ticket)) as events:
        async for event in events:
            if isinstance(event, ChatDelta):
                pieces.append(event.text)
    return ticket, "".join(pieces)


async def spoken(core: Core, call: Admission, ticket: Ticket, ask: Asked, out: EventStream) -> None:
    """Write one stream's frames and settle: `meta` before the vendor answers, `done` after the money is written."""
    failure: KaixuError | None = None
    try:
        await out.put(
            frame(
                "meta",
                names(ask) | {"telemetry": {"install_id": ask.caller.install_id}, "month": month_reply(ticket.figures)},
            )
        )
        # Closed before it is settled: then the vendor has seen the cancel.
        async with aclosing(core.gate.events(ticket)) as events:
            async for event in events:
                if isinstance(event, ChatDelta):
                    await out.put(frame("delta", {"text": event.text}))
    except KaixuError as error:
        failure = error
        if ticket.first_event_s is not None:
            ticket.end_reason = "upstream_error"  # what was delivered is paid for
    except BaseException as error:
        await call.__aexit__(type(error), error, None)
        raise
    await call.__aexit__(None if failure is None else type(failure), failure, None)
    if failure is not None:
        log.warning("stream %s: %s", ask.caller.request_id, failure.message)
        await out.put(frame("error", names(ask) | error_body(failure, ask, ticket)))
        return
    done = names(ask) | {
        "usage": usage_reply(ticket),
        "month": month_reply(ticket.figures),
        "finish_reason": ticket.finish_reason,
        "end": ticket.end_reason or "complete",
    }
    await out.put(frame("done", done))


def error_body(error: KaixuError, ask: Asked, ticket: Ticket) -> dict[str, Any]:
    """An error in the middle of a stream: the envelope with the status it would have had, and what was billed."""
    body: dict[str, Any] = {
        "error": error.message,
        "code": error.code,
        "status": error.status,
        "request_id": ask.caller.request_id,
        "usage": usage_reply(ticket),
    }
    if error.hint:
        body["hint"] = error.hint
    if error.retry_after_s is not None:
        body["retry_after"] = error.retry_after_s
    return body


def names(ask: Asked) -> dict[str, Any]:
    """The public names, and those that the client used."""
    return {
        "provider": ask.deployment.provider,
        "model": ask.deployment.model,
        "requested_provider": ask.provider,
        "requested_model": ask.model,
    }


def usage_reply(ticket: Ticket) -> dict[str, Any]:
    """What the call used and cost: cents for display, dollars exactly."""
    bill, wanted = ticket.settlement, ticket.request
    assert bill is not None
    assert wanted is not None
    usage: dict[str, Any] = {
        "input_tokens": bill.input_tokens,
        "output_tokens": bill.output_tokens,
        "cached_input_tokens": bill.cached_input_tokens,
        "cost_cents": cents_of_nusd(bill.cost_nusd),
        "cost_usd": usd(bill.cost_nusd),
        "usage_source": bill.usage_source,
    }
    if ticket.lowered:
        usage["max_tokens_applied"] = wanted.max_tokens
    return usage
