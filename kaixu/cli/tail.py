"""`kaixu tail`: follow monitor events as they are written."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from kaixu.accounts.customers import find_customer
from kaixu.reports.monitor_filter import MonitorFilter
from kaixu.reports.monitor_tail import MonitorTail
from kaixu.reports.tail_line import tail_line
from kaixu.reports.tail_viewer import TailWarning

from .examples import example
from .failures import start_of
from .report import escaped
from .session import CommandSession, with_database

#: How long to wait for events before the tail looks whether it should end.
WAIT_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("tail --since 10m --level error --customer ada@example.com"))(tail)


def tail(
    level: Annotated[str | None, typer.Option(help="Only this level: info, warn, error.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind, for example error, slow, rate_limited.")] = None,
    function: Annotated[str | None, typer.Option(help="Only this function, for example gateway-chat.")] = None,
    app: Annotated[str | None, typer.Option(help="Only this app, as the client names it.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer: id or email.")] = None,
    key: Annotated[int | None, typer.Option(min=1, help="Only this key, by its id.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this lane.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Only this request.")] = None,
    status: Annotated[int | None, typer.Option(help="Only this status, ours or the vendor's.")] = None,
    code: Annotated[str | None, typer.Option(help="Only this error code.")] = None,
    since: Annotated[str | None, typer.Option(help="Begin then: 10m (ago), 2h, or a time. Default: now.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, for scripts.")] = False,
) -> None:
    """Follow monitor events of all gateways of this database, until Ctrl-C."""
    begin = None if since is None else start_of(since, datetime.now(UTC))

    async def work(session: CommandSession) -> None:
        customer_id = None if customer is None else (await find_customer(session.pool, customer)).id
        shown = MonitorFilter(
            level=level,
            kind=kind,
            function=function,
            app=app,
            request_id=request_id,
            customer_id=customer_id,
            key_id=key,
            provider=provider,
            model=model,
            since=begin,
            status=status,
            code=code,
        )
        await follow(session, shown, as_json=as_json)

    try:
        with_database(work)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # The reader of the pipe has left; Python would complain again when it flushes at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def follow(session: CommandSession, shown: MonitorFilter, *, as_json: bool) -> None:
    """Print events until cancelled; warnings go to stderr."""
    source = MonitorTail(session.pool, None if session.settings.kaixu_pooler else lambda: session.dsn)
    viewer = await source.join(shown)
    try:
        while True:
            for item in await viewer.read(WAIT_S):
                if isinstance(item, TailWarning):
                    typer.echo(f"warning: {item.text}", err=True)
                else:
                    typer.echo(escaped(item.json.decode()) if as_json else tail_line(item.row))
    finally:
        source.stop()
