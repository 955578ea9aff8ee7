"""Recognize private and unrouted addresses in every notation.

The tables are IANA's, because `ipaddress.is_global` differs between Python versions. Host names are neither private
nor public; the addresses they resolve to are.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from urllib.parse import unquote

#: IPv4 networks that are private, loopback, link-local, shared, reserved, for documentation or multicast.
PRIVATE_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
#: The only routed part of IPv6, and exceptions within it; the first is for Teredo, benchmarks and ORCHIDs.
GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
PRIVATE_6 = tuple(ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20"))

#: Forms of IPv6 that embed an IPv4 address, and its distance from the right in bits.
EMBEDDING = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)
#: The middle of an ISATAP address, before its IPv4 address: without and with the "globally unique" bit.
ISATAP = (0x00005EFE, 0x02005EFE)

#: IPv4 notations that `inet_aton`, and so every resolver, accepts: `127.1`, `2130706433`, `0x7f.1`, `0177.0.0.1`.
INET_ATON_FORM = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}", re.IGNORECASE)


def is_private_host(host: str) -> bool:
    """Whether a host is a private address. False for names: they must be resolved first."""
    address = parse_host(host)
    return address is not None and is_private(address)


def parse_host(host: str) -> IPv4 | IPv6 | None:
    """Parse an address in any notation; None for a host name."""
    text = unicodedata.normalize("NFKC", unquote(host)).strip().strip("[]").split("%")[0]
    text = text.replace("\u3002", ".").rstrip(".")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    if INET_ATON_FORM.fullmatch(text):
        try:
            return IPv4(socket.inet_aton(text))
        except OSError:
            return None
    return None


def is_private(address: IPv4 | IPv6) -> bool:
    """Whether an address is private or not routed, or embeds one that is."""
    if isinstance(address, IPv4):
        return any(address in network for network in PRIVATE_4)
    number = int(address)
    for network, bits in EMBEDDING:
        if address in network:
            return is_private(IPv4((number >> bits) & 0xFFFFFFFF))
    if (number >> 32) & 0xFFFFFFFF in ISATAP and is_private(IPv4(number & 0xFFFFFFFF)):
        return True
    return address not in GLOBAL_6 or any(address in network for network in PRIVATE_6)
