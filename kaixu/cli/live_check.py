"""`kaixu check --live`: one cheap call to each deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import typer

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.metering.connections import open_transport
from kaixu.metering.probe import Probe, probe
from kaixu.plugin.errors import PluginError

from .failure import fail

#: Calls at once: a vendor's rate limit must not be what the check finds.
AT_ONCE = 4

COSTS = (
    "Live check: one call to each deployment with your own credentials. Your vendors bill you for a token or two each; "
    "no customer is billed."
)


def call_deployments(catalog: Catalog, *, timeout_s: float) -> list[dict[str, Any]]:
    """Call each deployment once; how each has answered, as rows. Ends the command if a lane does not start."""
    typer.echo(COSTS, err=True)
    try:
        return [probe_row(one) for one in asyncio.run(call_all(catalog, timeout_s))]
    except PluginError as error:
        raise fail(error) from None


async def call_all(catalog: Catalog, timeout_s: float) -> list[Probe]:
    """The answers of all deployments whose lanes are on, in the order of kaixu.yaml."""
    at_once, transport = asyncio.Semaphore(AT_ONCE), open_transport()

    async def call(one: Deployment) -> Probe:
        async with at_once:
            return await probe(transport, one, timeout_s=timeout_s)

    try:
        await catalog.start()
        return list(await asyncio.gather(*map(call, places(catalog))))
    finally:
        await catalog.aclose()
        await transport.aclose()


def places(catalog: Catalog) -> Sequence[Deployment]:
    """Each place that serves a model, once, even if several models use it."""
    found = {(one.state.name, one.upstream, one.kind): one for model in catalog.deployments for one in model.ready}
    return list(found.values())


def probe_row(one: Probe) -> dict[str, Any]:
    """An answer as a row."""
    detail = one.message if one.words is None else f"{one.message}; the vendor's words: {one.words}"
    return {
        "lane": one.lane,
        "model": one.model,
        "state": "ok" if one.ok else "wrong",
        "ms": one.ms,
        "code": one.code,
        "vendor": one.status,
        "reason": one.reason,
        "detail": detail,
    }
