"""Keys that people request by their mail address: at once, by a link that is mailed, or after an operator's approval.

Decisions and limits are in schema/functions/request_key.sql. Nobody gets a key of an existing customer without having
read a mail to that customer's own address. See docs/decisions/0033.
"""

from __future__ import annotations

import hmac
from uuid import uuid4

import asyncpg
import msgspec

from kaixu.config.environment import Secrets, Settings
from kaixu.config.mail_section import MailSection
from kaixu.config.selfservice_section import SelfserviceSection
from kaixu.ops.client_network import network_of
from kaixu.ops.sealing import sealer_of
from kaixu.plugin.errors import Conflict, CustomerDisabled, Forbidden, RateLimited, Unavailable
from kaixu.store import key_requests as store
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.key_requests import Limits, NewRequest
from kaixu.store.pool import database

from .addresses import Address
from .key_links import in_words, new_link
from .selfservice_keys import SELF_SERVICE, SelfserviceKey, issue_key

ASK_THE_OPERATOR = "Ask the operator for a key."


class Selfservice(msgspec.Struct, frozen=True):
    """The settings in force: of kaixu.yaml, and of the environment."""

    section: SelfserviceSection
    mail: MailSection | None
    settings: Settings
    secrets: Secrets

    @property
    def can_mail(self) -> bool:
        """Whether links can be mailed: they need the gateway's own address, which is never taken from a request."""
        return self.mail is not None and self.settings.gateway_url is not None

    @property
    def limits(self) -> Limits:
        """The limits of requests."""
        section = self.section
        return Limits(
            section.per_address,
            section.per_address_a_day,
            section.per_network,
            section.per_network_a_day,
            section.in_all,
        )


async def request_key(
    pool: asyncpg.Pool, rules: Selfservice, address: Address, *, client: str, request_id: str
) -> SelfserviceKey:
    """Make a key for a new address, in mode `open`. `client`: the address of the client.

    Raises `Conflict` with the code KEY_LINK_SENT or KEY_REQUEST_HELD where the key comes later, or
    KEY_NEEDS_OPERATOR where there is no mail for a link; `Forbidden` where self-service is off or not for this domain;
    `CustomerDisabled`, `RateLimited`, and `Unavailable` where links are needed and cannot be mailed.
    """
    require_allowed(rules, address)
    try:
        return await decided(pool, rules, address, client=client, request_id=request_id)
    except Conflict as error:
        if error.code != Conflict.code:
            raise
    # An operator has made a customer of this address meanwhile: now it is a known one.
    return await decided(pool, rules, address, client=client, request_id=request_id)


def require_allowed(rules: Selfservice, address: Address) -> None:
    """Raises if nobody, or nobody of this domain, may request keys, or if links cannot be mailed."""
    mode = rules.section.mode
    if mode == "off":
        raise Forbidden("keys cannot be requested here", hint=ASK_THE_OPERATOR, code="SELFSERVICE_OFF")
    if not rules.section.allows(address.domain):
        raise Forbidden("keys are not for addresses of this domain", hint=ASK_THE_OPERATOR, code="DOMAIN_NOT_ALLOWED")
    if mode in ("email", "approval") and not rules.can_mail:
        raise Unavailable("this gateway cannot send mails", hint=ASK_THE_OPERATOR, code="MAIL_NOT_CONFIGURED")


async def decided(
    pool: asyncpg.Pool, rules: Selfservice, address: Address, *, client: str, request_id: str
) -> SelfserviceKey:
    """Have the database decide, and do what it decided."""
    section, pepper = rules.section, rules.secrets.key_pepper
    number, network = uuid4(), network_hash(pepper, client)
    # Made for every request, so that the work is the same for all.
    link = new_link(rules.settings, pepper, sealer_of(rules.secrets), valid_s=section.link_valid)
    request = NewRequest(
        number,
        address.text,
        list(address.spellings),
        list(address.own_spellings),
        address.mailbox,
        network,
        section.mode,
        rules.can_mail,
    )
    made: SelfserviceKey | None = None
    with database():
        async with pool.acquire() as connection, connection.transaction():
            decision = await store.request_key(connection, request, rules.limits, link)
            if decision.outcome == "issue":
                made = await issue_key(
                    connection,
                    rules.settings,
                    pepper,
                    address=address.text,
                    mailbox=address.mailbox,
                    customer_id=None,
                    chain_id=None,
                    number=number,
                    request_id=request_id,
                )
            elif decision.outcome != "limited":
                event = AuditEvent(
                    SELF_SERVICE,
                    "KEY_REQUEST",
                    f"key_request:{number}",
                    request_id,
                    meta={"mode": section.mode, "outcome": decision.outcome, "network": network.hex()},
                )
                await write_audit(connection, event)
    if made is not None:
        return made
    raise no_key_now(decision.outcome, decision.retry_after_s, section)


def no_key_now(outcome: str, retry_after_s: int | None, section: SelfserviceSection) -> Exception:
    """Why a request brings no key at once. What is said in the modes `email` and `approval` depends on nothing."""
    match outcome:
        case "limited":
            return RateLimited(
                "too many requests for keys",
                hint=f"Try again in {in_words(retry_after_s or 1)}.",
                retry_after_s=retry_after_s,
            )
        case "held":
            return Conflict(
                "the operator decides on this request; if it is approved, a mail with a link comes to this address",
                hint="Nothing more is needed now.",
                code="KEY_REQUEST_HELD",
            )
        case "link":
            sent = "a mail with a link was sent to {}: the link makes a new key"
            known = f"there is an account for this address, so no key is shown here; {sent.format('it')}"
            return Conflict(
                known if section.mode == "open" else sent.format("this address"),
                hint=f"Open the link within {in_words(section.link_valid)}; look among the spam, too.",
                code="KEY_LINK_SENT",
            )
        case "suspended":
            return CustomerDisabled("this account is switched off", hint="Ask the operator.")
        case "unsendable":
            return Conflict(
                "there is an account for this address, and this gateway cannot mail it a link",
                hint=ASK_THE_OPERATOR,
                code="KEY_NEEDS_OPERATOR",
            )
    raise AssertionError(outcome)


def network_hash(pepper: str, client: str) -> bytes:
    """An HMAC of the client's network."""
    return hmac.digest(pepper.encode(), f"network:{network_of(client)}".encode(), "sha256")
