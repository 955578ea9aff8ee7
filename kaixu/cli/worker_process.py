"""A worker of a gateway with several processes: forked from a template, it runs the gateway on its own socket."""

from __future__ import annotations

import socket

from kaixu.config.environment import secrets_of
from kaixu.gateway.process import Gateway
from kaixu.gateway.processes.channel import Channel
from kaixu.gateway.processes.link import Link
from kaixu.gateway.processes.worker import Worker

from .process import log_to_stderr, start_errors
from .serve import event_loop, serve_until_stopped
from .session import load_settings


def run_worker(slot: int, listening: int, channel: int, supervisor: int, *, dev: bool, as_json: bool) -> None:
    """Run one worker until the supervisor, a signal or another process in its place ends it."""
    settings = load_settings()
    writer = log_to_stderr(settings)

    async def work() -> None:
        gateway = Gateway(settings, secrets_of(settings, dev=dev), log_writer=writer)
        link = Link(slot, await Channel.over(socket.socket(fileno=channel)))
        worker = Worker(link, socket.socket(fileno=listening), supervisor)
        await serve_until_stopped(gateway, link, *settings.host_and_port, dev=dev, as_json=as_json, worker=worker)
        await link.flush()

    with start_errors(), event_loop() as runner:
        runner.run(work())
