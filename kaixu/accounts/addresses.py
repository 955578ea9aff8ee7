"""Mail addresses of self-service: one form for all spellings of an address, and one for all addresses of a mailbox.

See docs/decisions/0033.
"""

from __future__ import annotations

import re
from unicodedata import normalize

import msgspec

from kaixu.config.addresses import ascii_domain, mail_address
from kaixu.plugin.errors import Invalid

#: Domains whose mailboxes ignore dots before the @, and the one that they are all called here.
WITHOUT_DOTS = {"gmail.com": "gmail.com", "googlemail.com": "gmail.com"}

MAX_LENGTH = 254

#: What a mailbox may be called (RFC 5321 §4.1.2), with letters of every script (RFC 6531).
LOCAL_PART = re.compile(r"[^\x00-\x20.@]+(\.[^\x00-\x20.@]+)*")


class Address(msgspec.Struct, frozen=True):
    """An address in its normal form.

    `mailbox`: where its mails arrive, as far as one can tell: without `+tag`, and at Gmail without dots.
    `own_spellings`: the same address by every standard, so whoever reads a mail to `text` owns them all: with composed
    or separate accents, with the domain as `xn--…` or not. `spellings`: also as it was typed, that one first.
    """

    text: str
    mailbox: str
    own_spellings: tuple[str, ...]
    spellings: tuple[str, ...]

    @property
    def domain(self) -> str:
        """The domain, in lower case and ASCII."""
        return self.text.rpartition("@")[2]


def read_address(value: object, field: str) -> Address:
    """Read an address as somebody typed it. Raises `Invalid`."""
    if value is None or value == "":
        raise Invalid(f"`{field}` is missing", field=field)
    try:
        if not isinstance(value, str) or len(value) > 2 * MAX_LENGTH:
            raise ValueError
        typed = value.strip().lower()
        normal = normalize("NFKC", normalize("NFKC", typed).lower())
        local, _, domain = mail_address(normal).rpartition("@")
        ascii_name = ascii_domain(domain)
        text = f"{local}@{ascii_name}"
        if len(text) > MAX_LENGTH or not LOCAL_PART.fullmatch(local):
            raise ValueError
    except ValueError:
        raise Invalid(f"`{field}` is not an email address", field=field) from None
    typed_local, _, typed_domain = typed.rpartition("@")
    own = spellings_of([local], [ascii_name])
    return Address(
        text, mailbox_of(local, ascii_name), own, spellings_of([typed_local, local], [typed_domain, ascii_name])
    )


def mailbox_of(local: str, domain: str) -> str:
    """The mailbox of an address: what is behind a `+` does not count, and at Gmail no dot does."""
    name = local.partition("+")[0] or local
    if domain in WITHOUT_DOTS:
        name, domain = name.replace(".", ""), WITHOUT_DOTS[domain]
    return f"{name}@{domain}"


def spellings_of(locals_: list[str], domains: list[str]) -> tuple[str, ...]:
    """Each of these with composed and separate accents, and with the domain as it is written; the first one first."""
    forms = [form for local in locals_ for form in (local, normalize("NFC", local), normalize("NFD", local))]
    names = [*domains, unicode_domain(domains[-1])]
    return tuple(dict.fromkeys(f"{form}@{name}" for form in forms for name in names))


def unicode_domain(domain: str) -> str:
    """A domain with its international labels as they are written."""
    try:
        return domain.encode().decode("idna").lower()
    except UnicodeError:
        return domain
