"""The network of a client's address: what counts as one client where requests are limited or counted by address."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

#: Of IPv6: the network that a provider gives to one customer, who can use every address in it.
PREFIX_V6 = 64


@lru_cache(maxsize=10_000)
def network_of(address: str) -> str:
    """An IPv4 address as it is, also one that is written as IPv6; the /64 of an IPv6 address; other text as it is."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(ip_network((parsed, PREFIX_V6), strict=False)) if mapped is None else str(mapped)
