"""Around a call of a lane: which deployments support the request, and lane errors as `KaixuError`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import httpx

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.deadline import within
from kaixu.plugin.errors import KaixuError, UpstreamError, UpstreamTimeout
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import ChatRequest

from .features import refuse_unsupported
from .model_ticket import ModelTicket
from .wire import upstream_error

log = logging.getLogger(__name__)


def supporting_deployments(deployment: Deployment, request: ChatRequest) -> tuple[Deployment, ...]:
    """The deployments that support `request`. If none does, raises the first one's refusal."""
    choices = deployment.ready
    supporting, refused = [], None
    for one in choices:
        assert one.lane is not None
        try:
            refuse_unsupported(one.lane, request)
        except KaixuError as error:
            refused = refused or error
        else:
            supporting.append(one)
    if not supporting and refused is not None:
        raise refused
    return tuple(supporting)


def lanes_of(ticket: ModelTicket) -> list[Lane]:
    """The lanes that may serve an admitted call."""
    return [one.lane for one in ticket.choices if one.lane is not None]


@asynccontextmanager
async def limit_total_time(ticket: ModelTicket) -> AsyncIterator[None]:
    """Limit the total time of a call; turn what a plugin raises into a `KaixuError`."""
    with translate_errors(ticket, ticket.deployment), within(ticket.wire.limits.total_s):
        yield


class translate_errors:
    """Turn whatever a plugin raises in the block into a `KaixuError`; `one` is the deployment that was called."""

    __slots__ = ("one", "ticket")

    def __init__(self, ticket: ModelTicket, one: Deployment) -> None:
        self.ticket = ticket
        self.one = one

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and (translation := translated(self.ticket, self.one, error)) is not error:
            raise translation from error


def translated(ticket: ModelTicket, one: Deployment, error: Exception) -> Exception:
    """What a plugin has raised, as a `KaixuError`; `one` is the deployment that was called."""
    if isinstance(error, KaixuError):
        return error
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"the answer took longer than {ticket.wire.limits.total_s:g} s")
    if isinstance(error, httpx.HTTPError):
        return upstream_error(error)
    # A bug in a plugin must not end the gateway.
    log.error("lane %s failed", one.state.name, exc_info=error)
    return UpstreamError(f"lane `{ticket.ask.provider}` failed", hint="Tell your operator.")
