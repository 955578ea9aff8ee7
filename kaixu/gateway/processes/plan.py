"""What `kaixu serve` tells the supervisor that takes its place. It is on a command line, so it has no secrets."""

from __future__ import annotations

from typing import Literal

import msgspec

from kaixu.gateway.claim import About


class Plan(msgspec.Struct, frozen=True):
    """How many workers to run, where they listen, and how the gateway is described to commands.

    `is_auto`: `processes` is the number of cores, and may be lowered. `is_fixed`: it comes from the command line, so
    kaixu.yaml does not change it. `template`: the command that starts the process which workers are forked from.
    """

    home: str
    lock: int  # the descriptor of the data folder's lock
    host: str
    port: int
    sockets: list[int]  # descriptors, one for each worker
    processes: int
    is_auto: bool
    is_fixed: bool
    about: About
    template: list[str]
    log_format: Literal["text", "json"]
    log_level: str


class Fork(msgspec.Struct, frozen=True):
    """What the template is asked for: one worker. Its listening socket and its channel come with the message."""

    slot: int
