"""Makes self-service keys: for a new customer, or in place of the self-service key that a customer has."""

from __future__ import annotations

from uuid import UUID

import msgspec

from kaixu.config.environment import Settings
from kaixu.config.price import nusd_of_cents
from kaixu.ops.clock import utc_now
from kaixu.plugin.errors import Conflict
from kaixu.store import customers, key_requests
from kaixu.store import keys as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.keys import Key, KeySettings
from kaixu.store.query import Connection

from .changes import settings_of
from .customers import Customer, create_customer_in
from .key_material import key_hash, new_key, pepper_id
from .keys import DEFAULTS, with_plan

#: The actor in the audit log, and the label of the keys.
SELF_SERVICE = "self-service"


class SelfserviceKey(msgspec.Struct, frozen=True):
    """A new key, which is shown once, and whose it is."""

    key: str
    row: Key
    customer: Customer


async def issue_key(
    connection: Connection,
    settings: Settings,
    pepper: str,
    *,
    address: str,
    mailbox: str,
    customer_id: int | None,
    chain_id: int | None,
    number: UUID,
    request_id: str,
) -> SelfserviceKey:
    """Make the key that request `number` brings, in the transaction that decided it.

    Without a customer one is made. Without a chain the key begins one. In a chain the new key has the settings of the
    newest one, which an operator may have changed, and the chain's spend, seats and rates; the keys before it are
    revoked. No other key is touched. Raises `Conflict` for an address that was taken meanwhile, and with the code
    SELFSERVICE_KEY_EXPIRED for a chain to which an operator has set an end.
    """
    if customer_id is None:
        customer = await create_customer_in(
            connection,
            {
                "email": address,
                "plan_name": settings.default_selfserve_plan,
                "monthly_cap_cents": settings.default_selfserve_cap_cents,
            },
            default_cap_nusd=nusd_of_cents(settings.default_selfserve_cap_cents),
            actor=SELF_SERVICE,
            request_id=request_id,
        )
    else:
        locked = await customers.locked_customer(connection, customer_id)
        assert locked is not None
        customer = locked
    earlier = [] if chain_id is None else await store.keys_of_chain(connection, chain_id)
    expires_at = earlier[0].expires_at if earlier else None
    if expires_at is not None and expires_at <= utc_now():
        raise Conflict(
            "the self-service key of this address has expired, and no other one follows it",
            hint="Ask the operator.",
            code="SELFSERVICE_KEY_EXPIRED",
        )
    key = new_key()
    made = await store.insert_key(
        connection,
        customer_id=customer.id,
        chain_id=chain_id if earlier else None,
        key_hash=key_hash(pepper, key),
        pepper_id=pepper_id(pepper),
        key_last4=key[-4:],
        settings=settings_of(KeySettings, earlier[0], {}) if earlier else first_settings(settings),
    )
    made = await with_plan(connection, made, {*earlier[0].from_plan} if earlier else set())
    revoked = [one for one in earlier if one.revoked_at is None]
    for one in revoked:
        await store.set_revoked(connection, one.id, True)
    if revoked:
        meta = {
            "revoked_keys": [{"id": one.id, "last4": one.key_last4} for one in revoked],
            "reason": "self-service re-request",
            "new_key_id": made.id,
        }
        target = f"customer:{customer.id}"
        await write_audit(connection, AuditEvent(SELF_SERVICE, "KEY_REVOKE_ROTATION", target, request_id, meta=meta))
    await write_audit(
        connection, AuditEvent(SELF_SERVICE, "KEY_CREATE", f"key:{made.id}", request_id, after=row_of(made))
    )
    await key_requests.note_account(
        connection, customer_id=customer.id, address=customer.email, mailbox=mailbox, chain_id=made.chain_id
    )
    await key_requests.note_key(connection, number, customer_id=customer.id, key_id=made.id)
    return SelfserviceKey(key, made, customer)


def first_settings(settings: Settings) -> KeySettings:
    """The settings of a customer's first self-service key."""
    return KeySettings(
        **DEFAULTS
        | {
            "label": SELF_SERVICE,
            "role": "deployer",
            "monthly_cap_nusd": nusd_of_cents(settings.default_selfserve_cap_cents),
            "rpm_limit": settings.default_selfserve_rpm,
            "max_devices": settings.default_selfserve_max_devices,
        }
    )
