"""What a transaction of an integration holds, bills and releases by key: gathered while it runs, done when it ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from kaixu.plugin.book import MOST_CHARGE_KEY, MOST_HELD_S, MOST_LATE_S, MOST_UNITS, Monthly
from kaixu.plugin.errors import CustomerDisabled
from kaixu.plugin.operation import KeyedCharge, PerUnit

from .pool import database
from .query import Query
from .rights import Rights

#: Effects of one transaction.
MOST_EFFECTS = 1000


class Charging(msgspec.Struct, frozen=True):
    """Whose charges a call may hold and bill: those of its integration, of its own customer.

    `customer_id` None: of nobody. `holds`: the charges that the call may hold, by name.
    """

    integration: str
    charges: Mapping[str, KeyedCharge]
    holds: frozenset[str]
    request_id: str
    customer_id: int | None = None
    key_id: int | None = None
    install_id: str | None = None
    app_id: str | None = None
    build_id: str | None = None


class RefusedHold(msgspec.Struct, frozen=True):
    """The first charge that schema/functions/apply_charges.sql refused, and the cap that has no room for it."""

    refused: str
    charge: str | None
    units: int | None
    asked_nusd: int | None
    book: str | None
    month: date | None
    cap_nusd: int | None
    spent_nusd: int | None
    held_nusd: int | None


class NoRoom(Exception):
    """A hold was refused: the transaction must be rolled back."""

    def __init__(self, refused: RefusedHold, charging: Charging) -> None:
        super().__init__(refused.charge)
        self.refused = refused
        self.charging = charging


COLUMNS = "refused, charge, units, asked_nusd, book, month, cap_nusd, spent_nusd, held_nusd"

#: For an integration's role, and for the gateway in its place.
APPLY_NOTE = f"select {COLUMNS} from kaixu__plugin.apply_charges(p_note => $1)"  # noqa: S608 - a constant
APPLY = Query(
    RefusedHold,
    f"""
    select {COLUMNS}
      from kaixu.apply_charges(
               p_integration => $1, p_customer_id => $2, p_key_id => $3, p_install_id => $4, p_app_id => $5,
               p_build_id => $6, p_request_id => $7, p_effects => $8)
    """,  # noqa: S608 - a constant
)

STORE_NOTE = """
    insert into kaixu.charge_note (id, integration, customer_id, key_id, install_id, app_id, build_id, request_id,
                                   effects)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""


#: Of transactions that charge nothing.
NOBODY = Charging("", {}, frozenset(), "")


class ChargeEffects:
    """The effects of one transaction, in the order in which the handler asked for them."""

    def __init__(self, charging: Charging) -> None:
        self.charging = charging
        self.effects: dict[int, list[dict[str, Any]]] = {}  # by customer

    def hold(self, charge: str, key: str, units: int, for_s: float, customer_id: int | None = None) -> None:
        """See `Database.hold`. Raises `ValueError` for what cannot be held."""
        self.require(charge, key, units)
        if charge not in self.charging.holds:
            raise ValueError(f"declare that it holds `{charge}`: `holds=[…]` of the operation or job")
        if isinstance(for_s, bool) or not isinstance(for_s, int | float) or not 0 < for_s <= MOST_HELD_S:
            raise ValueError(f"a charge can be held for up to {MOST_HELD_S:.0f} s, not for {for_s!r:.40}")
        self.add("hold", charge, key, customer_id, units=units, for_s=float(for_s))

    def charge(self, charge: str, key: str, units: int, at: datetime | None, customer_id: int | None = None) -> None:
        """See `Database.charge`. Raises `ValueError` for what cannot be billed."""
        self.require(charge, key, units)
        if at is not None:
            if at.tzinfo is None:
                raise ValueError("`at` must have a time zone")
            age_s = (datetime.now(UTC) - at).total_seconds()
            if not -timedelta(minutes=5).total_seconds() <= age_s <= MOST_LATE_S:
                raise ValueError(f"`at` may lie up to {MOST_LATE_S / 86400:.0f} days back, and not in the future")
        when = None if at is None else at.astimezone(UTC).isoformat()
        self.add("charge", charge, key, customer_id, units=units, at=when)

    def release(self, charge: str, key: str, customer_id: int | None = None) -> None:
        """See `Database.release`. Raises `ValueError`."""
        self.require(charge, key, 1)
        self.add("release", charge, key, customer_id)

    def require(self, charge: str, key: str, units: int) -> None:
        """Check names and units. Raises `ValueError`."""
        declared = self.charging.charges.get(charge)
        if declared is None or isinstance(declared, Monthly):
            raise ValueError(f"integration `{self.charging.integration}` declares no charge `{charge}` by key")
        if not isinstance(key, str) or not 0 < len(key) <= MOST_CHARGE_KEY or "\0" in key:
            raise ValueError(f"the key of a charge must have 1 to {MOST_CHARGE_KEY} characters")
        if isinstance(units, bool) or not isinstance(units, int) or not 0 <= units <= MOST_UNITS:
            raise ValueError(f"{units!r:.40} cannot be charged: units are whole numbers from 0 on")
        if not isinstance(declared, PerUnit) and units != 1:
            raise ValueError(f"`{charge}` is a price for one: give each of several a key of its own")
        if isinstance(declared, PerUnit) and isinstance(declared.most, int) and units > declared.most:
            raise ValueError(f"{units} {declared.unit} are more than the {declared.most} that `{charge}` allows")

    def add(self, kind: str, charge: str, key: str, customer_id: int | None, **values: Any) -> None:
        """Note one effect. Raises `ValueError` beyond the most of one transaction."""
        customer_id = self.charging.customer_id if customer_id is None else customer_id
        if customer_id is None:
            raise ValueError("this call has no customer to charge")
        if sum(len(one) for one in self.effects.values()) >= MOST_EFFECTS:
            raise ValueError(f"one transaction can hold, charge and release at most {MOST_EFFECTS} times")
        effects = self.effects.setdefault(customer_id, [])
        effects.append({"place": len(effects), "kind": kind, "charge": charge, "key": key, **values})

    @property
    def customers(self) -> set[int]:
        """Whom they concern."""
        return set(self.effects)

    def take(self) -> list[tuple[Charging, list[dict[str, Any]]]]:
        """The effects by customer, ascending, which are done only once. Another one's are without a key."""
        effects, self.effects = self.effects, {}
        return [(self.charging_for(customer_id), effects[customer_id]) for customer_id in sorted(effects)]

    def charging_for(self, customer_id: int) -> Charging:
        """Whose charges those of a customer are."""
        if customer_id == self.charging.customer_id:
            return self.charging
        return msgspec.structs.replace(
            self.charging, customer_id=customer_id, key_id=None, install_id=None, app_id=None, build_id=None
        )


class ChargingTransaction(ABC):
    """The part of a transaction that gathers charges by key."""

    def __init__(self, charging: Charging, rights: Rights) -> None:
        self._charges = ChargeEffects(charging)
        self._rights = rights

    @abstractmethod
    def _require_open(self) -> None:
        """Raises `TicketClosed`."""

    async def hold(
        self, charge: str, *, key: str, units: int = 1, for_s: float, customer_id: int | None = None
    ) -> None:
        """See `kaixu.plugin.Database.hold`."""
        self._charges.hold(charge, key, units, for_s, self._charged(customer_id))

    async def charge(
        self,
        charge: str,
        *,
        key: str,
        units: int = 1,
        at: datetime | None = None,
        customer_id: int | None = None,
    ) -> None:
        """See `kaixu.plugin.Database.charge`."""
        self._charges.charge(charge, key, units, at, self._charged(customer_id))

    async def release(self, charge: str, *, key: str, customer_id: int | None = None) -> None:
        """See `kaixu.plugin.Database.release`."""
        self._charges.release(charge, key, self._charged(customer_id))

    def _charged(self, customer_id: int | None) -> int | None:
        self._require_open()
        return None if customer_id is None else self._rights.customer_for(customer_id)


async def store_note(pool: asyncpg.Pool, charging: Charging, effects: Sequence[Mapping[str, Any]]) -> UUID:
    """Let the integration's role do these effects once, within a minute; the note's id. Raises `DatabaseAway`."""
    note_id, one = uuid4(), charging
    with database():
        await pool.execute(
            STORE_NOTE, note_id, one.integration, one.customer_id, one.key_id, one.install_id, one.app_id,
            one.build_id, one.request_id, list(effects),
        )  # fmt: skip
    return note_id


async def apply_as_gateway(
    connection: Any, charging: Charging, effects: Sequence[Mapping[str, Any]]
) -> RefusedHold | None:
    """Do these effects in a transaction of the gateway, for an integration without tables; what was refused."""
    one = charging
    return await APPLY.one(
        connection, one.integration, one.customer_id, one.key_id, one.install_id, one.app_id, one.build_id,
        one.request_id, list(effects),
    )  # fmt: skip


def require_done(refused: RefusedHold | None, charging: Charging) -> None:
    """Raises `NoRoom`, `ValueError` where no key can be billed, `CustomerDisabled` where the customer is deleted."""
    if refused is None:
        return
    if refused.refused == "NO_KEY":
        raise ValueError(f"`{refused.charge}` cannot be charged: this call has no key, and nothing was held before")
    if refused.refused == "UNKNOWN_CUSTOMER":
        raise CustomerDisabled("this account has been deleted")
    raise NoRoom(refused, charging)
