"""Customers: their settings, and the list of them."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter

import msgspec

from .errors import constraints
from .query import Connection, Query
from .reactions import react


class CustomerSettings(msgspec.Struct, frozen=True):
    """The settings of a customer. Money is in nano-dollars."""

    email: str
    plan_name: str
    monthly_cap_nusd: int
    is_active: bool
    max_devices_per_key: int | None
    require_install_id: bool
    allowed_providers: list[str] | None
    allowed_models: dict[str, list[str]] | None
    max_vectors: int | None
    end_user_cap_nusd: int | None
    tpm_limit: int | None
    day_cap_nusd: int | None
    alert_thresholds: list[int] | None
    alert_mail: bool | None


class Customer(CustomerSettings, frozen=True):
    """A customer. `from_plan`: the columns whose values are the plan's, not its own."""

    id: int
    created_at: datetime
    from_plan: list[str]
    plan_version_id: int | None
    price_factor_millionths: int


class ListedCustomer(Customer, frozen=True):
    """A customer in the list, with its active keys and this month's figures.

    `deviations`: the columns that its plan sets, and for which it has a value of its own.
    """

    deviations: list[str]
    active_keys: int
    spent_nusd: int
    held_nusd: int
    extra_nusd: int


CUSTOMER = Query(
    Customer,
    """
    select email, plan_name, monthly_cap_nusd, is_active, max_devices_per_key, require_install_id,
           allowed_providers, allowed_models, max_vectors, end_user_cap_nusd, tpm_limit,
           day_cap_nusd, alert_thresholds, alert_mail, id, created_at,
           from_plan, plan_version_id, price_factor_millionths
      from kaixu.customer
     where id = $1 and deleted_at is null
    """,
)

# Every admission and settlement of this customer takes this lock: changes wait for them, and they for changes.
LOCKED_CUSTOMER = Query(
    Customer,
    """
    select email, plan_name, monthly_cap_nusd, is_active, max_devices_per_key, require_install_id,
           allowed_providers, allowed_models, max_vectors, end_user_cap_nusd, tpm_limit,
           day_cap_nusd, alert_thresholds, alert_mail, id, created_at,
           from_plan, plan_version_id, price_factor_millionths
      from kaixu.customer
     where id = $1 and deleted_at is null
       for no key update
    """,
)

CUSTOMER_OF_EMAIL = Query(
    Customer,
    """
    select email, plan_name, monthly_cap_nusd, is_active, max_devices_per_key, require_install_id,
           allowed_providers, allowed_models, max_vectors, end_user_cap_nusd, tpm_limit,
           day_cap_nusd, alert_thresholds, alert_mail, id, created_at,
           from_plan, plan_version_id, price_factor_millionths
      from kaixu.customer
     where lower(email) = lower($1) and deleted_at is null
    """,
)

#: The settings in the order of the parameters of the two statements below.
settings_in_order = attrgetter(
    "email",
    "plan_name",
    "monthly_cap_nusd",
    "is_active",
    "max_devices_per_key",
    "require_install_id",
    "allowed_providers",
    "allowed_models",
    "max_vectors",
    "end_user_cap_nusd",
    "tpm_limit",
    "day_cap_nusd",
    "alert_thresholds",
    "alert_mail",
)

NEW_CUSTOMER = Query(
    Customer,
    """
    insert into kaixu.customer (email, plan_name, monthly_cap_nusd, is_active, max_devices_per_key,
                                require_install_id, allowed_providers, allowed_models, max_vectors,
                                end_user_cap_nusd, tpm_limit, day_cap_nusd, alert_thresholds, alert_mail)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    returning email, plan_name, monthly_cap_nusd, is_active, max_devices_per_key, require_install_id,
              allowed_providers, allowed_models, max_vectors, end_user_cap_nusd, tpm_limit,
              day_cap_nusd, alert_thresholds, alert_mail, id, created_at,
              from_plan, plan_version_id, price_factor_millionths
    """,
)

CHANGED_CUSTOMER = Query(
    Customer,
    """
    update kaixu.customer
       set email = $2, plan_name = $3, monthly_cap_nusd = $4, is_active = $5, max_devices_per_key = $6,
           require_install_id = $7, allowed_providers = $8, allowed_models = $9, max_vectors = $10,
           end_user_cap_nusd = $11, tpm_limit = $12, day_cap_nusd = $13, alert_thresholds = $14,
           alert_mail = $15
     where id = $1
    returning email, plan_name, monthly_cap_nusd, is_active, max_devices_per_key, require_install_id,
              allowed_providers, allowed_models, max_vectors, end_user_cap_nusd, tpm_limit,
              day_cap_nusd, alert_thresholds, alert_mail, id, created_at,
              from_plan, plan_version_id, price_factor_millionths
    """,
)


async def customer(db: Connection, customer_id: int) -> Customer | None:
    """One customer."""
    return await CUSTOMER.one(db, customer_id)


async def customer_of_email(db: Connection, email: str) -> Customer | None:
    """The customer with this address, in whatever case."""
    return await CUSTOMER_OF_EMAIL.one(db, email)


async def locked_customer(db: Connection, customer_id: int) -> Customer | None:
    """One customer, locked until the transaction ends."""
    return await LOCKED_CUSTOMER.one(db, customer_id)


async def insert_customer(db: Connection, settings: CustomerSettings) -> Customer:
    """A new customer. Raises `Conflict` where the email is taken."""
    with constraints():
        made = await NEW_CUSTOMER.one(db, *settings_in_order(settings))
    assert made is not None
    await react(db, "customer_created", made.id)
    return made


async def update_customer(db: Connection, customer_id: int, settings: CustomerSettings) -> Customer:
    """Write every setting of a customer that the caller has locked. Raises `Conflict` for a taken email."""
    with constraints():
        changed = await CHANGED_CUSTOMER.one(db, customer_id, *settings_in_order(settings))
    assert changed is not None
    return changed
