"""Mail addresses: their form, and their domain as DNS has it."""

from __future__ import annotations

import re

#: One address: no list, no name, no comment, no quotes.
ADDRESS = re.compile(
    r"""[^\s@,;:<>"()\[\]\\\x00-\x1f\x7f]{1,64}@([^\s@,;:<>"()\[\]\\\x00-\x1f\x7f.]{1,63}\.)+[^\s@.]{2,63}"""
)

#: Characters that the two standards of international names translate differently: the mail would go to another domain.
AMBIGUOUS = {"ß", "ς", "\u200c", "\u200d"}
HOST_NAME = re.compile(r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")


def mail_address(value: str) -> str:
    """Refuse what is not the address of one mailbox. Raises `ValueError`."""
    if len(value) > 254 or not ADDRESS.fullmatch(value) or not value.isprintable():
        raise ValueError("must be an address as name@example.com")
    ascii_domain(value.rpartition("@")[2])
    return value


def ascii_domain(domain: str) -> str:
    """A domain in lower case, with international labels as `xn--…`. Raises `ValueError`."""
    if not {*domain}.isdisjoint(AMBIGUOUS):
        raise ValueError("the domain has a character that is written in two ways: write it as xn--…")
    try:
        name = domain.encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    if not HOST_NAME.fullmatch(name) or len(name) > 253:
        raise ValueError("this is not a domain")
    return name
