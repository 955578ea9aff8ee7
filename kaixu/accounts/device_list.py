"""The operator's list of a customer's devices, in pages."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import timedelta

import asyncpg
import msgspec

from kaixu.plugin.errors import Unprocessable
from kaixu.store.devices import LastDevice, ListedDevice, devices
from kaixu.store.pool import database

from . import fields
from .key_list import EPOCH, microseconds
from .list_order import cursor_of, read_cursor

__all__ = ["LISTED", "MOST_LISTED", "DevicePage", "ListedDevice", "device_page"]

SORT = "last_seen"

#: The most devices of a page, and how many there are by default.
MOST_LISTED = 500
LISTED = 200

#: A moment up to the year 2100, in microseconds since 1970.
MOST_MICROSECONDS = 4_102_444_800_000_000


class DevicePage(msgspec.Struct, frozen=True):
    """Devices, the last seen first, and where the next page begins; None: there is none."""

    devices: list[ListedDevice]
    next_cursor: str | None


async def device_page(
    pool: asyncpg.Pool, customer_id: int, key_id: int | None, given: Mapping[str, object], *, most: int = MOST_LISTED
) -> DevicePage:
    """A page of a customer's devices, or of one of its keys, by the fields `limit` and `cursor`.

    A device that is seen again meanwhile moves to the front, out of the pages to come. Raises `Unprocessable`.
    """
    limit = fields.bounded(given.get("limit"), "limit", most, least=1) or LISTED
    after = read_last_device(given.get("cursor"))
    with database():
        rows = await devices(pool, customer_id, key_id=key_id, after=after, limit=limit + 1)
    page = rows[:limit]
    if len(rows) <= limit:
        return DevicePage(page, None)
    last = page[-1]
    # An install id may hold characters that a query string does not bear.
    install_id = urlsafe_b64encode(last.install_id.encode()).decode()
    return DevicePage(page, cursor_of(SORT, f"{microseconds(last.last_seen_at)}~{install_id}", last.chain_id))


def read_last_device(given: object) -> LastDevice | None:
    """The device that a cursor names; None: the list begins. Raises `Unprocessable`."""
    cursor = read_cursor(given, SORT)
    if cursor is None:
        return None
    value, chain_id = cursor
    moment, _, encoded = value.partition("~")
    since = fields.bounded(moment, "cursor", MOST_MICROSECONDS)
    try:
        install_id = urlsafe_b64decode(encoded).decode()
    except (binascii.Error, ValueError):
        install_id = "\0"
    if since is None or fields.UNSTORABLE.search(install_id):
        raise Unprocessable("`cursor` must be the `next_cursor` of a reply", field="cursor")
    return LastDevice(EPOCH + timedelta(microseconds=since), chain_id, install_id)
