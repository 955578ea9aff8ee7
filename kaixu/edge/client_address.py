"""The client's address, also behind trusted proxies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: The number of hops that are read: no setup has more proxies, and a header with thousands is an attack.
MAX_HOPS = 32


def client_address(
    peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[IPv4Network | IPv6Network]
) -> str:
    """The client's address: the right-most `X-Forwarded-For` entry outside the `trusted` networks.

    A client can forge everything to the left of it. `peer` is the socket's address; if it is not
    trusted, it is the client, and the header is ignored. An entry that is not an address ends the
    search: the proxy that sent it is then the result.
    """
    address = parse_address(peer)
    if address is None:
        return peer
    if not is_in_networks(address, trusted):
        return str(address)
    # Several headers are one list (RFC 9110 §5.3).
    whole = b",".join(value for name, value in headers if name.lower() == b"x-forwarded-for").decode("latin-1")
    for entry in reversed(whole.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        before = parse_address(entry)
        if before is None:
            break
        address = before
        if not is_in_networks(address, trusted):
            break
    return str(address)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, with or without a port; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_in_networks(address: IPv4Address | IPv6Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether one of `networks` contains the address."""
    return any(address in network for network in networks)


class AddressHash:
    """Hashes addresses under a secret, so that logs and events can tell clients apart without storing an address."""

    def __init__(self, secret: bytes) -> None:
        self.secret = blake2b(secret, digest_size=32).digest()
        self.hash = lru_cache(maxsize=10_000)(self._hash)

    def _hash(self, address: str) -> str:
        return blake2b(address.encode(), key=self.secret, digest_size=8, person=b"kaixu address").hexdigest()
