"""Addresses of names: remembered, shared by those who need them at once, and looked up again after a failure."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohappyeyeballs import AddrInfoType

from kaixu.metering import http_resolver
from kaixu.metering.http_resolver import Resolver


class Names:
    """Two addresses of every name. `failures`: so many look-ups fail first."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[str] = []
        self.failures = failures

    async def look_up(self, host: str, port: int) -> list[AddrInfoType]:
        self.asked.append(host)
        await asyncio.sleep(0)
        if len(self.asked) <= self.failures:
            raise socket.gaierror
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (one, port)) for one in ("8.8.8.8", "9.9.9.9")]


async def test_a_name_is_looked_up_once_and_its_addresses_take_turns() -> None:
    names = Names()
    resolver = Resolver(names.look_up)
    first = [(await resolver.addresses("a.example", 80))[0][4][0] for _ in range(4)]
    assert (first, names.asked) == (["8.8.8.8", "9.9.9.9", "8.8.8.8", "9.9.9.9"], ["a.example"])


async def test_those_who_need_a_name_at_once_share_a_look_up_even_if_one_leaves() -> None:
    names = Names()
    resolver = Resolver(names.look_up)
    waiting = [asyncio.ensure_future(resolver.addresses("a.example", 80)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert len(await waiting[1]) == len(await waiting[2]) == 2
    assert names.asked == ["a.example"]


async def test_failures_and_forgotten_names_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(failures=1)
    resolver = Resolver(names.look_up)
    with pytest.raises(OSError):
        await resolver.addresses("a.example", 80)
    await resolver.addresses("a.example", 80)
    resolver.forget("a.example", 80)
    await resolver.addresses("a.example", 80)
    assert len(names.asked) == 3
    monkeypatch.setattr(http_resolver, "REMEMBERED_S", 0.0)
    resolver.forget("a.example", 80)
    await resolver.addresses("a.example", 80)
    await resolver.addresses("a.example", 80)
    assert len(names.asked) == 5


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_needs_no_look_up(host: str) -> None:
    names = Names()
    assert [info[4][:2] for info in await Resolver(names.look_up).addresses(host, 80)] == [(host, 80)]
    assert names.asked == []
