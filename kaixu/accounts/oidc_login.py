"""Single sign-on: a login begins here, goes to the identity provider, and ends here with a session.

Authorization code flow with PKCE (RFC 7636) and a nonce. `state`, nonce and code verifier are derived from one random
secret in the browser's cookie, so that only the browser that began a login can end it; the database keeps a hash of the
secret, so that it is ended once, in whichever process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping

import asyncpg
import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # type: ignore[import-untyped]
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

from kaixu.config.operators_section import OidcSection, OperatorsSection
from kaixu.plugin.errors import RateLimited
from kaixu.store import operators as store
from kaixu.store.audit import AuditEvent, row_of, write_audit
from kaixu.store.operator_sessions import begin_oidc_login, take_oidc_login
from kaixu.store.operators import Operator
from kaixu.store.pool import database
from kaixu.store.query import Connection

from .oidc_claims import ProvenUser, proven_user, verified_claims
from .oidc_provider import discover, exchange_code, open_client, read_keys, read_user, refused
from .operator_login import note_success
from .operator_sessions import BegunSession, LoginClient, begin_session

#: How long a login may take at the provider.
LIFETIME_S = 600

#: The most logins that have begun at the same time.
MOST_BEGUN = 10_000

MAX_CODE = 4000

#: Why a provider sends the browser back without a code (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
REFUSALS = frozenset(
    {"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required",
     "server_error", "temporarily_unavailable", "invalid_request", "invalid_scope", "unauthorized_client",
     "unsupported_response_type"}
)  # fmt: skip


class BegunLogin(msgspec.Struct, frozen=True):
    """A login that has begun: where the browser goes, and the secret that it keeps."""

    url: str
    browser_secret: str


class LoginSecrets(msgspec.Struct, frozen=True):
    """What is derived from the browser's secret."""

    state: str
    nonce: str
    code_verifier: str
    stored_hash: bytes


def login_secrets(browser_secret: str) -> LoginSecrets:
    """The secrets of one login."""

    def derived(purpose: str) -> str:
        digest = hmac.digest(browser_secret.encode(), f"kaixu oidc {purpose}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    stored = hashlib.sha256(browser_secret.encode()).digest()
    return LoginSecrets(derived("state"), derived("nonce"), derived("code verifier"), stored)


async def begin_login(pool: asyncpg.Pool, section: OidcSection, redirect_url: str) -> BegunLogin:
    """Begin a login. Raises `Unavailable`, and `RateLimited` where too many have begun."""
    async with open_client() as client:
        provider = await discover(client, section)
    browser_secret = secrets.token_urlsafe(32)
    own = login_secrets(browser_secret)
    with database():
        if not await begin_oidc_login(pool, own.stored_hash, most=MOST_BEGUN, lifetime_s=LIFETIME_S):
            raise RateLimited("too many logins have begun", hint="Try again in a few minutes.", retry_after_s=60)
    url = prepare_grant_uri(
        provider.authorization_endpoint,
        section.client_id,
        "code",
        redirect_uri=redirect_url,
        scope=" ".join(section.scopes),
        state=own.state,
        nonce=own.nonce,
        code_challenge=create_s256_code_challenge(own.code_verifier),
        code_challenge_method="S256",
    )
    return BegunLogin(url, browser_secret)


async def end_login(
    pool: asyncpg.Pool,
    operators: OperatorsSection,
    redirect_url: str,
    returned: Mapping[str, str],
    browser_secret: str | None,
    client: LoginClient,
) -> BegunSession:
    """End a login with what the provider sent the browser back with, and begin a session.

    Raises `Forbidden` where the login is not accepted, `Unavailable` where the provider does not answer.
    """
    section = operators.oidc
    assert section is not None
    if browser_secret is None:
        raise refused(
            "this browser has not begun a login here, or it took more than ten minutes",
            hint="Begin again at /api/admin-oidc-start, with https:// or on this machine, and with cookies allowed.",
        )
    own = login_secrets(browser_secret)
    if not hmac.compare_digest(returned.get("state", "").encode("utf-8", "replace"), own.state.encode()):
        raise refused("this answer belongs to another login")
    with database():
        if not await take_oidc_login(pool, own.stored_hash, lifetime_s=LIFETIME_S):
            raise refused("this login was ended already, or took more than ten minutes")
    if error := returned.get("error"):
        raise refused(f"the identity provider refused: {error if error in REFUSALS else 'for a reason of its own'}")
    code = returned.get("code", "")
    if not 1 <= len(code) <= MAX_CODE:
        raise refused("the identity provider sent no code")
    user = await proven(section, redirect_url, returned, own, code)
    with database():
        async with pool.acquire() as connection, connection.transaction():
            operator = await operator_of(connection, section, user, request_id=client.request_id)
            begun = await begin_session(connection, client, method="oidc", section=operators, operator=operator)
            await note_success(connection, begun, client, None)
    return begun


async def proven(
    section: OidcSection, redirect_url: str, returned: Mapping[str, str], own: LoginSecrets, code: str
) -> ProvenUser:
    """The user for whom the provider gave the code. Raises `Forbidden`, `Unavailable`."""
    async with open_client() as client:
        provider = await discover(client, section)
        if returned.get("iss", provider.issuer) != provider.issuer:  # RFC 9207
            raise refused("this answer is of another identity provider")
        tokens = await exchange_code(
            client, provider, section, code=code, code_verifier=own.code_verifier, redirect_url=redirect_url
        )
        keys = await read_keys(client, provider)
        claims = verified_claims(
            tokens.id_token, keys, issuer=provider.issuer, client_id=section.client_id, nonce=own.nonce
        )
        is_whole = "email" in claims
        if not is_whole and provider.userinfo_endpoint is not None and tokens.access_token is not None:
            more = await read_user(client, provider, tokens.access_token)
            if more.get("sub") != claims["sub"]:
                raise refused("the provider told of another user")
            claims = more | claims
    return proven_user(claims, section)


async def operator_of(connection: Connection, section: OidcSection, user: ProvenUser, *, request_id: str) -> Operator:
    """The operator who has logged in: known by its subject, else by its address, else a new one. In a transaction.

    Where claims give roles, the operator gets the one of today. Raises `Forbidden`.
    """
    actor = f"operator:{user.email}"
    issuer = section.issuer.rstrip("/")
    linked = await store.operator_by_subject(connection, issuer, user.subject)
    known = linked or await store.operator_by_email(connection, user.email)
    if known is None:
        return await new_operator(connection, section, user, issuer, actor=actor, request_id=request_id)
    # Before anything is decided: it may be switched off, or get another role, at the same moment.
    found = await store.lock_for_change(connection, known.id)
    if found is None or found.disabled_at is not None:
        raise refused("this operator is switched off", hint="Ask an owner of the gateway.")
    if linked is None:
        found = await store.link_operator(connection, found.id, issuer=issuer, subject=user.subject)
        if found is None:
            raise refused(
                "this e-mail address belongs to another user of the provider",
                hint="An owner can let it be this user: `kaixu operators reset-sso`.",
            )
        await write_audit(
            connection,
            AuditEvent(actor, "OPERATOR_LINK", f"operator:{found.email}", request_id, meta={"issuer": issuer}),
        )
    if section.role_claim is None or not section.create:
        return found
    return await with_role(connection, found, user, actor=actor, request_id=request_id)


async def with_role(
    connection: Connection, operator: Operator, user: ProvenUser, *, actor: str, request_id: str
) -> Operator:
    """The operator with the role that its claims give today. Raises `Forbidden` where they give none."""
    if user.role is None:
        raise refused("the identity provider gives no role for this gateway", hint="Ask who manages its groups.")
    if user.role == operator.role:
        return operator
    await store.change_operator(
        connection,
        operator.id,
        name=operator.name,
        role=user.role,
        is_disabled=False,
        keep_owner=False,
        by="single sign-on",
    )
    after = await store.operator(connection, operator.id)
    assert after is not None
    await write_audit(
        connection,
        AuditEvent(
            actor,
            "OPERATOR_UPDATE",
            f"operator:{operator.email}",
            request_id,
            row_of(operator),
            row_of(after),
            {"by": "single sign-on"},
        ),
    )
    return after


async def new_operator(
    connection: Connection, section: OidcSection, user: ProvenUser, issuer: str, *, actor: str, request_id: str
) -> Operator:
    """Create the operator of a first login. Raises `Forbidden` where nobody may be created, or without a role."""
    if not section.create:
        raise refused("there is no operator with this e-mail address", hint="Ask an owner to create one.")
    if user.role is None:
        raise refused("the identity provider gives no role for this gateway", hint="Ask who manages its groups.")
    made = await store.insert_operator(connection, email=user.email, name=user.name, role=user.role, password_hash=None)
    linked = await store.link_operator(connection, made.id, issuer=issuer, subject=user.subject)
    assert linked is not None
    await write_audit(
        connection,
        AuditEvent(
            actor,
            "OPERATOR_CREATE",
            f"operator:{user.email}",
            request_id,
            after=row_of(linked),
            meta={"by": "single sign-on"},
        ),
    )
    return linked
