"""The client's address: only headers of trusted proxies count."""

from __future__ import annotations

import pytest

from kaixu.config.environment import networks_in
from kaixu.edge.client_address import client_address

TRUSTED = networks_in("10.0.0.0/8, ::1, 192.0.2.1")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["127.0.0.1, 1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7, 10.2.3.4, 192.0.2.1"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7", "10.2.3.4"], "198.51.100.7"),
        ("10.0.0.1", ["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.7, unknown, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.1", ["198.51.100.7, "], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["\xff\x00" * 40], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7" + ", 10.1.1.1" * 5000], "10.1.1.1"),
        ("somewhere", ["198.51.100.7"], "somewhere"),
        ("::ffff:203.0.113.9", ["198.51.100.7"], "203.0.113.9"),
    ],
)
def test_the_right_most_address_that_is_not_trusted_is_the_client(
    peer: str, forwarded: list[str], address: str
) -> None:
    headers = [(b"X-Forwarded-For", one.encode("latin-1")) for one in forwarded]
    assert client_address(peer, headers, TRUSTED) == address


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert client_address("10.0.0.1", [(b"x-forwarded-for", b"198.51.100.7")], ()) == "10.0.0.1"
