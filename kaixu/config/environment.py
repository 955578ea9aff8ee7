"""Settings from the environment, and the four secrets that a gateway cannot do without."""

from __future__ import annotations

import fcntl
import json
import os
import secrets as randomness
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Shorter than this can be guessed, or tried out.
LEAST_SECRET_LENGTH = 16


class Settings(BaseSettings):
    """The environment. Every variable is documented in docs/operators/configuration.md."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    kaixu_config: Path = Field(Path("kaixu.yaml"), description="path of kaixu.yaml")
    kaixu_bind: str = Field("127.0.0.1:8787", description="host:port to listen on")
    kaixu_home: Path = Field(Path(".kaixu"), description="data folder: embedded Postgres, secrets of --dev, spool, models")
    kaixu_pooler: bool = Field(False, description="the database is behind PgBouncer or Neon's pooler: prepare nothing ahead")
    database_url: SecretStr | None = Field(None, description="your own Postgres instead of the embedded one")
    admin_password: SecretStr | None = Field(None, description="the operator's password")
    jwt_secret: SecretStr | None = Field(None, description="signs admin and session tokens")
    key_pepper: SecretStr | None = Field(None, description="keys are stored as HMAC-SHA256 under it")
    db_encryption_key: SecretStr | None = Field(None, description="encrypts secrets at rest")
    allowed_origins: str = Field("", description="comma-separated origins that browsers may call from; '*' for all")
    admin_password_header: bool = Field(False, description="accept the header x-admin-password besides a login")
    default_customer_cap_cents: int = Field(2000, ge=0, le=1_000_000_000, description="monthly cap of a new customer")
    default_rpm_limit: int = Field(120, ge=0, le=10_000_000, description="requests a minute of a key without a limit of its own")
    default_selfserve_cap_cents: int = Field(2000, ge=0, le=1_000_000_000, description="monthly cap of a self-service customer")
    default_selfserve_rpm: int = Field(10, ge=0, le=10_000_000, description="requests a minute of a self-service key")
    default_selfserve_max_devices: int = Field(3, ge=0, le=100_000, description="seats of a self-service key")
    default_selfserve_plan: str = Field("starter", max_length=40, description="plan of a self-service customer")
    user_session_ttl_seconds: int = Field(21600, ge=60, le=86400, description="how long a session token lives")
    cap_warn_pct: int = Field(85, ge=1, le=99, description="warn when a month's spend passes this share of its cap")
    alert_webhook_url: SecretStr | None = Field(None, description="where alerts are posted")
    monitor_retention_days: int = Field(30, ge=1, le=3650, description="how long monitor events are kept")

    @property
    def host_and_port(self) -> tuple[str, int]:
        """`kaixu_bind` taken apart. Raises `ValueError`."""
        host, _, port = self.kaixu_bind.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"KAIXU_BIND is host:port, not {self.kaixu_bind!r}")
        return host.strip("[]"), int(port)


class MissingSecrets(Exception):
    """Secrets that the gateway needs were not given."""


@dataclass(frozen=True)
class Secrets:
    """The four secrets; `made` names those that were made up just now. Never shows them."""

    admin_password: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    key_pepper: str = field(repr=False)
    db_encryption_key: str = field(repr=False)
    made: frozenset[str] = frozenset()


NAMES = ("admin_password", "jwt_secret", "key_pepper", "db_encryption_key")


def secrets_of(settings: Settings, *, dev: bool) -> Secrets:
    """The secrets from the environment; with `dev`, those that are missing are made up once and kept in the data folder.

    Raises `MissingSecrets`, naming every one that is missing or too short.
    """
    given = {name: value.get_secret_value() for name in NAMES if (value := getattr(settings, name)) is not None}
    missing = [name.upper() for name in NAMES if name not in given]
    kept_file = settings.kaixu_home / "secrets.json"
    if dev:
        kept, made = keep(kept_file, [name for name in NAMES if name not in given])
        return Secrets(**(kept | given), made=frozenset(made))
    if missing:
        raise MissingSecrets(f"set {', '.join(missing)}, or start with --dev to have them made up")
    short = [name.upper() for name in NAMES[1:] if len(given[name]) < LEAST_SECRET_LENGTH]
    if short:
        raise MissingSecrets(f"{', '.join(short)}: at least {LEAST_SECRET_LENGTH} characters are needed")
    return Secrets(**given)


def keep(path: Path, names: list[str]) -> tuple[dict[str, str], list[str]]:
    """The secrets `names` from the file, those it lacks made up and written to it, mode 0600; and which those were.

    Two processes that start at once agree: the file is changed under a lock and replaced whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        made = [name for name in names if name not in kept]
        if made:
            kept |= {name: randomness.token_urlsafe(18 if name == "admin_password" else 32) for name in made}
            draft = path.with_suffix(".draft")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(kept, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        return {name: kept[name] for name in names}, made
