"""The section `operators:` of kaixu.yaml."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from .values import Section, Whole

OperatorRole = Literal["owner", "operator", "viewer"]
Domain = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
ClaimName = Annotated[str, Field(min_length=1, max_length=200)]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_safe_address(value: str) -> str:
    """An address with https, or on this machine, without a login, a query or a fragment."""
    try:
        parts = urlsplit(value)
        is_loopback = parts.hostname in LOOPBACK
        good = parts.scheme == "https" or (parts.scheme == "http" and is_loopback)
        good = good and bool(parts.hostname) and parts.port != 0 and parts.username is None
        good = good and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be https://…, or http:// on this machine, without a login or a query")
    return value


SafeAddress = Annotated[str, Field(max_length=2000), AfterValidator(is_safe_address)]


class OidcSection(Section):
    """Single sign-on with OpenID Connect."""

    issuer: SafeAddress = Field(description="the provider's issuer, as https://accounts.example.com")
    client_id: str = Field(min_length=1, max_length=500, description="the client id that the provider gave")
    client_secret: SecretStr | None = Field(
        default=None, description="the client secret, as ${OIDC_CLIENT_SECRET}; none for a public client"
    )
    redirect_url: SafeAddress | None = Field(
        default=None,
        description="where the provider sends the browser back; default: GATEWAY_URL with /api/admin-oidc-return",
    )
    name: str = Field(default="single sign-on", min_length=1, max_length=80, description="the provider's name on pages")
    scopes: list[Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,100}$")]] = Field(
        default=["openid", "email", "profile"], max_length=20, description="what is asked for"
    )
    domains: list[Domain] = Field(
        default=[], max_length=100, description="only e-mail addresses of these domains; default: all of the provider's"
    )
    role_claim: ClaimName | None = Field(
        default=None, description="the claim with groups or roles; a path has dots, as realm_access.roles"
    )
    roles: dict[Annotated[str, Field(max_length=200)], OperatorRole] = Field(
        default={},
        max_length=200,
        description="the claim's values and the roles that they stand for; the highest counts",
    )
    default_role: OperatorRole | None = Field(
        default=None, description="the role of those whom no value gives one; default: they are refused"
    )
    create: bool = Field(
        default=True, description="false: only operators that exist already may log in, with the role that they have"
    )

    @model_validator(mode="after")
    def says_who_may_come_in(self) -> OidcSection:
        """Without a rule nobody could log in; with roles there must be a claim to read."""
        if "openid" not in self.scopes:
            raise ValueError("`scopes` must contain openid")
        if bool(self.roles) != (self.role_claim is not None):
            raise ValueError("`role_claim` and `roles` belong together")
        if self.create and not self.roles and self.default_role is None:
            raise ValueError("say which role new operators get: `roles` with `role_claim`, or `default_role`")
        return self


class OperatorsSection(Section):
    """Operators: how they log in."""

    admin_password: bool = Field(
        default=True, description="false: nobody can log in with ADMIN_PASSWORD, and its sessions end"
    )
    sso_only: bool = Field(
        default=False, description="true: named operators log in with single sign-on only; needs `oidc`"
    )
    session_h: Whole = Field(default=12, ge=1, le=720, description="hours after which a session ends")
    oidc: OidcSection | None = Field(default=None, description="single sign-on with OpenID Connect")

    @model_validator(mode="after")
    def leaves_a_way_in(self) -> OperatorsSection:
        """Single sign-on alone needs a provider."""
        if self.sso_only and self.oidc is None:
            raise ValueError("`sso_only` needs `oidc`")
        return self
