"""Settings from environment variables, and the four secrets that a gateway needs."""

from __future__ import annotations

import fcntl
import json
import os
import secrets as randomness
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from .secret_file import SecretFileError, read_secret_file
from .station_variables import StationVariables

#: Shorter secrets could be guessed.
LEAST_SECRET_LENGTH = 16

#: Tries of the password are limited, but it gives access to everything.
LEAST_PASSWORD_LENGTH = 12

Network = IPv4Network | IPv6Network

MOST_CENTS = 1_000_000_000
MOST_A_MINUTE = 10_000_000


class Settings(StationVariables):
    """The environment. Every variable is documented in docs/operators/configuration.md."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    kaixu_config: Path = Field(default=Path("kaixu.yaml"), description="path of kaixu.yaml")
    kaixu_bind: str = Field(default="127.0.0.1:8787", description="host:port to listen on")
    kaixu_home: Path = Field(
        default=Path(".kaixu"),
        description="data folder: embedded Postgres, secrets of --dev, spool, models, calls' temporary files",
    )
    kaixu_secrets: Path | None = Field(
        default=None,
        description="a folder with secrets as files, each named as its variable (`KEY_PEPPER` or `key_pepper`). A "
        "variable that is set takes precedence over its file",
    )
    kaixu_pooler: bool = Field(
        default=False, description="the database is behind PgBouncer or Neon's pooler: use no prepared statements"
    )
    kaixu_log: Literal["text", "json"] = Field(default="text", description="the log's format: text or JSON lines")
    kaixu_log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least level of a line in the log: debug, info, warning or error"
    )
    kaixu_access_log: bool = Field(default=True, description="log one line for each request")
    kaixu_public_provider_name: str | None = Field(
        default=None,
        max_length=80,
        pattern=r"^[^\x00-\x1f\x7f/]+$",
        description="the provider name in replies of all lanes; clients may send it, too. A lane's own "
        "`public_name` takes precedence; allowlists, events and prices use the lane's name",
    )
    database_url: SecretStr | None = Field(default=None, description="your own Postgres instead of the embedded one")
    kaixu_trusted_proxies: str = Field(
        default="",
        max_length=10_000,
        description="comma-separated networks (`10.0.0.0/8, ::1`) of your reverse proxies: `X-Forwarded-For` is "
        "accepted only from them",
    )
    admin_password: SecretStr | None = Field(default=None, description="the operator's password, 12 characters or more")
    jwt_secret: SecretStr | None = Field(default=None, description="signs admin and session tokens")
    jwt_secret_old: SecretStr | None = Field(
        default=None,
        description="tokens that were signed with this one are accepted, too: while `JWT_SECRET` is replaced",
    )
    key_pepper: SecretStr | None = Field(
        default=None, description="the key of the HMAC-SHA256 under which virtual keys are stored"
    )
    key_pepper_old: SecretStr | None = Field(
        default=None,
        description="keys that were stored under this one are accepted, too, and are stored under `KEY_PEPPER` when "
        "they are used: while it is replaced",
    )
    db_encryption_key: SecretStr | None = Field(
        default=None,
        description="encrypts stored texts: cached answers, jobs, customers' secrets; integrations' database "
        "passwords are derived from it",
    )
    db_encryption_key_old: SecretStr | None = Field(
        default=None,
        description="what was encrypted with this one can be read, too: while `DB_ENCRYPTION_KEY` is replaced by "
        "another, until `kaixu secrets reseal` has run",
    )
    allowed_origins: str = Field(
        default="", description="comma-separated origins of browser clients (CORS); '*' for all"
    )
    admin_password_header: bool = Field(
        default=False, description="also accept the admin password in the header x-admin-password"
    )
    disable_admin_password_header: bool = Field(
        default=False, description="the switch of the older edition: true refuses the header in any case"
    )
    admin_password_login: bool = Field(
        default=True,
        description="false: nobody can log in with the admin password, and ADMIN_PASSWORD need not be set; "
        "`operators.admin_password` of kaixu.yaml does the same",
    )
    default_customer_cap_cents: int = Field(
        default=2000, ge=0, le=MOST_CENTS, description="default monthly cap of a new customer"
    )
    default_rpm_limit: int = Field(
        default=120,
        ge=0,
        le=MOST_A_MINUTE,
        description="requests per minute of a key without its own limit",
    )
    default_selfserve_cap_cents: int = Field(
        default=2000, ge=0, le=MOST_CENTS, description="monthly cap of a self-service customer, and of its key"
    )
    default_selfserve_rpm: int = Field(
        default=10, ge=0, le=MOST_A_MINUTE, description="requests per minute of a self-service key"
    )
    default_selfserve_max_devices: int = Field(
        default=3, ge=0, le=100_000, description="seats of a self-service key; 0: no limit"
    )
    default_selfserve_plan: str = Field(default="starter", max_length=40, description="plan of a self-service customer")
    user_session_ttl_seconds: int = Field(
        default=21600, ge=60, le=86400, description="how long a session token is valid"
    )
    cap_warn_pct: int = Field(
        default=85,
        ge=1,
        le=99,
        description="one of the default thresholds of alerts, besides 50 and 100 percent of a cap",
    )
    alert_webhook_url: SecretStr | None = Field(
        default=None, description="URL that alerts are sent to; more receivers: `alerts:` in kaixu.yaml"
    )
    gateway_url: str | None = Field(
        default=None,
        max_length=2000,
        description="where clients reach the gateway, `https://ai.example.com`: mailed links lead there, and the "
        "heartbeat looks there, by default at the gateway's own port",
    )
    monitor_retention_days: int = Field(default=30, ge=1, le=3650, description="how long monitor events are kept")

    async_job_success_retention_days: int = Field(
        default=7, ge=1, le=3650, description="how long finished jobs are kept, with their texts"
    )
    async_job_retention_days: int = Field(default=30, ge=1, le=3650, description="how long unfinished jobs are kept")
    client_error_token: SecretStr | None = Field(
        default=None, description="if set, client-error-report requires it in the header x-kaixu-error-token"
    )

    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="a token with which /metrics can be read, as Bearer; without it only operators can",
    )

    @field_validator("kaixu_bind")
    @classmethod
    def is_host_and_port(cls, value: str) -> str:
        """`host:port`, `[::1]:port` for an IPv6 address."""
        host, _, port = value.rpartition(":")
        if not host.strip("[]") or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
            raise ValueError("must be host:port")
        return value

    @field_validator("gateway_url")
    @classmethod
    def is_an_address(cls, value: str | None) -> str | None:
        """`http://…` or `https://…` without a login, a query or a fragment; the slash at its end goes."""
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            good = good and parts.username is None and not parts.query and not parts.fragment
        except ValueError:
            good = False
        if not good:
            raise ValueError("must be http://host or https://host, without a login or a query")
        return value.rstrip("/")

    @field_validator("kaixu_trusted_proxies")
    @classmethod
    def are_networks(cls, value: str) -> str:
        """Networks or addresses, separated by commas."""
        networks_in(value)
        return value

    @field_validator("database_url")
    @classmethod
    def is_a_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        """`postgresql://…`; only the form is checked here."""
        if value is not None:
            try:
                parts = urlsplit(value.get_secret_value())
                several = "," in parts.netloc  # hosts, each with its port
                named = parts.scheme in ("postgres", "postgresql") and "//" in value.get_secret_value()
                good = named and (several or parts.port != 0)
            except ValueError:
                good = False
            if not good:
                raise ValueError("must be postgresql://user:password@host:port/database")
        return value

    @property
    def accepts_password_header(self) -> bool:
        """Whether the admin password is accepted in the header x-admin-password."""
        return self.admin_password_header and not self.disable_admin_password_header

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """`kaixu_trusted_proxies` as networks."""
        return networks_in(self.kaixu_trusted_proxies)

    @property
    def host_and_port(self) -> tuple[str, int]:
        """`kaixu_bind` as host and port."""
        host, _, port = self.kaixu_bind.rpartition(":")
        return host.strip("[]"), int(port)


def networks_in(text: str) -> tuple[Network, ...]:
    """Parse a comma-separated list of networks. Raises `ValueError` without the values."""
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be networks as 10.0.0.0/8 or addresses, separated by commas") from None


class EnvironmentMistake(Exception):
    """The environment is invalid. The message names every wrong variable, but no value."""


class MissingSecrets(EnvironmentMistake):
    """Required secrets are missing or too short."""


@dataclass(frozen=True)
class Secrets:
    """The four secrets, hidden in its repr. `made`: the names of those that were generated just now.

    `admin_password` may be empty where nobody can log in with it; those that end in `_old` are empty but while the
    secret is being replaced.
    """

    admin_password: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    key_pepper: str = field(repr=False)
    db_encryption_key: str = field(repr=False)
    db_encryption_key_old: str = field(default="", repr=False)
    jwt_secret_old: str = field(default="", repr=False)
    key_pepper_old: str = field(default="", repr=False)
    made: frozenset[str] = frozenset()

    @cached_property
    def jwt_secrets(self) -> tuple[str, ...]:
        """What tokens may be signed with; the first one signs."""
        return (self.jwt_secret, self.jwt_secret_old) if self.jwt_secret_old else (self.jwt_secret,)

    @cached_property
    def key_peppers(self) -> tuple[str, ...]:
        """What keys, codes and API tokens may be stored under; new ones are stored under the first."""
        return (self.key_pepper, self.key_pepper_old) if self.key_pepper_old else (self.key_pepper,)


#: pydantic's kinds of errors in plain words.
TYPES = {
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
}

NAMES = ("admin_password", "jwt_secret", "key_pepper", "db_encryption_key")

#: The other value of a secret, while it is being replaced.
OLD_NAMES = ("db_encryption_key_old", "jwt_secret_old", "key_pepper_old")


def settings_from_environment() -> Settings:
    """The settings, with the secrets of the folder KAIXU_SECRETS. Raises `EnvironmentMistake`."""
    folder = os.environ.get("KAIXU_SECRETS")
    try:
        return Settings(**secrets_in(Path(folder)) if folder else {})
    except ValidationError as error:
        wrong = [
            f"{str(detail['loc'][0]).upper()}: {TYPES.get(detail['type'], detail['msg'].removeprefix('Value error, '))}"
            for detail in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise EnvironmentMistake("; ".join(wrong)) from None


def secrets_in(folder: Path) -> dict[str, Any]:
    """The secrets that are files of a folder, without those that the environment has, by their fields.

    Raises `EnvironmentMistake`, naming every file that cannot be used.
    """
    found, wrong = {}, []
    try:
        files = {entry.name.lower(): entry for entry in folder.iterdir()}
    except OSError as error:
        raise EnvironmentMistake(f"KAIXU_SECRETS: {folder} cannot be read: {error.strerror}") from None
    taken = {name.lower() for name, value in os.environ.items() if value}
    for name, about in Settings.model_fields.items():
        if name in files and name not in taken and about.annotation in (SecretStr, SecretStr | None):
            try:
                found[name] = read_secret_file(files[name]).text
            except SecretFileError as error:
                wrong.append(f"{name.upper()}: {error}")
    if wrong:
        raise EnvironmentMistake("; ".join(wrong))
    return found


def secrets_of(settings: Settings, *, dev: bool) -> Secrets:
    """The secrets from the environment; with `dev`, missing ones are generated once and stored.

    Raises `MissingSecrets`, naming every one that is missing or too short.
    """
    names = NAMES + OLD_NAMES
    given = {name: value.get_secret_value() for name in names if (value := getattr(settings, name)) is not None}
    if not settings.admin_password_login:
        given.setdefault("admin_password", "")
    missing = [name for name in NAMES if name not in given]
    if dev:
        stored, made = stored_secrets(settings.kaixu_home / "secrets.json", missing)
        return Secrets(**(stored | given), made=frozenset(made))
    checked = [*NAMES[1:], *(name for name in ("jwt_secret_old", "key_pepper_old") if name in given)]
    short = [name.upper() for name in checked if len(given.get(name, "")) < LEAST_SECRET_LENGTH]
    if missing:
        listed = ", ".join(name.upper() for name in missing)
        if settings.kaixu_secrets is not None:
            raise MissingSecrets(f"set {listed}: KAIXU_SECRETS ({settings.kaixu_secrets}) has no such file")
        raise MissingSecrets(f"set {listed}, or start with --dev, which generates what is missing")
    wrong = [f"{', '.join(short)}: at least {LEAST_SECRET_LENGTH} characters are needed"] if short else []
    if settings.admin_password_login and len(given["admin_password"]) < LEAST_PASSWORD_LENGTH:
        wrong.insert(0, f"ADMIN_PASSWORD: at least {LEAST_PASSWORD_LENGTH} characters are needed")
    if wrong:
        raise MissingSecrets("; ".join(wrong))
    return Secrets(**given)


def stored_secrets(path: Path, names: list[str]) -> tuple[dict[str, str], list[str]]:
    """Read the secrets `names` from a file; generate missing ones and write them to it, mode 0600.

    Returns the secrets and the names of the generated ones. Two processes that start at
    the same time agree: the file is changed under a lock and replaced as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stored = read_stored(path)
        made = [name for name in names if name not in stored]
        if made:
            stored |= {name: randomness.token_urlsafe(18 if name == "admin_password" else 32) for name in made}
            draft = path.with_suffix(".draft")
            draft.unlink(missing_ok=True)  # one left by a crash may have another mode
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(stored, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        return {name: stored[name] for name in names}, made


def read_stored(path: Path) -> dict[str, str]:
    """The secrets that an earlier start generated. Raises `EnvironmentMistake` if the file is damaged.

    A damaged file is never replaced: without its pepper, no existing key works.
    """
    if not path.exists():
        return {}
    try:
        stored = json.loads(path.read_text())
    except ValueError:
        stored = None
    if not isinstance(stored, dict) or not all(isinstance(value, str) and value for value in stored.values()):
        raise EnvironmentMistake(f"{path} is damaged; restore it, or remove it to generate new secrets")
    return stored
