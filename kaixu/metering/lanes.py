"""Around a lane's own work: which deployments can do what is asked, and what a lane raises, in our words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import KaixuError, UpstreamError, UpstreamTimeout
from kaixu.plugin.lane import Lane
from kaixu.plugin.types import ChatRequest

from .features import refuse_unsupported
from .model_ticket import ModelTicket
from .wire import translated

log = logging.getLogger(__name__)


def able(deployment: Deployment, request: ChatRequest) -> tuple[Deployment, ...]:
    """Those deployments that can do what `request` asks for. Raises what the first of them says if none can."""
    choices = deployment.ready
    able_ones, refused = [], None
    for one in choices:
        assert one.lane is not None
        try:
            refuse_unsupported(one.lane, request)
        except KaixuError as error:
            refused = refused or error
        else:
            able_ones.append(one)
    if not able_ones and refused is not None:
        raise refused
    return tuple(able_ones)


def lanes_of(ticket: ModelTicket) -> list[Lane]:
    """The lanes that may serve an admitted call."""
    return [one.lane for one in ticket.choices if one.lane is not None]


@asynccontextmanager
async def limited(ticket: ModelTicket) -> AsyncIterator[None]:
    """The time that a call may take in all; what a plugin raises in it comes out as a `KaixuError`."""
    async with understood(ticket, ticket.deployment), asyncio.timeout(ticket.wire.limits.total_s):
        yield


@asynccontextmanager
async def understood(ticket: ModelTicket, one: Deployment) -> AsyncIterator[None]:
    """Whatever a plugin raises in it comes out as a `KaixuError`; `one` is the deployment that was asked."""
    try:
        yield
    except (KaixuError, asyncio.CancelledError, GeneratorExit):
        raise
    except TimeoutError as error:
        raise UpstreamTimeout(f"the answer took longer than {ticket.wire.limits.total_s:g} s") from error
    except httpx.HTTPError as error:
        raise translated(error) from error
    except Exception as error:
        # A plugin's bug is the plugin's, not the client's and not the gateway's end.
        log.exception("lane %s failed", one.state.name)
        raise UpstreamError(f"lane `{ticket.ask.provider}` failed", hint="Tell your operator.") from error
