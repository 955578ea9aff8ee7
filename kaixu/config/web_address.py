"""Addresses of web pages and servers in kaixu.yaml: http or https, without a login."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

MOST_ADDRESS = 500


def web_address(value: str) -> str:
    """Refuse what is not `http://host…` or `https://host…`, and addresses with a login or a fragment."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and parts.username is None and parts.password is None and not parts.fragment
    except ValueError:
        good = False
    if not good or not value.isprintable() or " " in value:
        raise ValueError("must be http://host or https://host, without a login")
    return value


def launch_address(value: str) -> str:
    """A web address, or a path on this gateway: `/name/`."""
    if value.startswith("/") and not value.startswith(("//", "/\\")) and value.isprintable() and " " not in value:
        return value
    try:
        return web_address(value)
    except ValueError:
        raise ValueError("must be a path such as /name/, or https://host, without a login") from None


def base_address(value: str) -> str:
    """A web address without a query, to which paths are added; the slash at its end goes."""
    if "?" in web_address(value):
        raise ValueError("must be http://host or https://host, without a query")
    return value.rstrip("/")


WebAddress = Annotated[str, Field(max_length=MOST_ADDRESS), AfterValidator(web_address)]
LaunchAddress = Annotated[str, Field(max_length=MOST_ADDRESS), AfterValidator(launch_address)]
BaseAddress = Annotated[str, Field(max_length=MOST_ADDRESS), AfterValidator(base_address)]
