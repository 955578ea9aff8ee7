from __future__ import annotations

import json
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from kaixu.config.environment import (
    NAMES,
    EnvironmentMistake,
    MissingSecrets,
    Secrets,
    Settings,
    secrets_of,
    settings_from_environment,
    stored_secrets,
)

LONG = "0123456789abcdef"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return settings_from_environment()


def test_defaults_are_those_of_the_contract() -> None:
    settings = settings_from_environment()
    assert settings.model_dump() == {
        "kaixu_config": Path("kaixu.yaml"),
        "kaixu_bind": "127.0.0.1:8787",
        "kaixu_home": Path(".kaixu"),
        "kaixu_access_log": True,
        "kaixu_log": "text",
        "kaixu_log_level": "info",
        "kaixu_pooler": False,
        "kaixu_secrets": None,
        "kaixu_public_provider_name": None,
        "kaixu_trusted_proxies": "",
        "database_url": None,
        "admin_password": None,
        "jwt_secret": None,
        "jwt_secret_old": None,
        "key_pepper": None,
        "key_pepper_old": None,
        "db_encryption_key": None,
        "db_encryption_key_old": None,
        "allowed_origins": "",
        "admin_password_header": False,
        "disable_admin_password_header": False,
        "admin_password_login": True,
        "default_customer_cap_cents": 2000,
        "default_rpm_limit": 120,
        "default_selfserve_cap_cents": 2000,
        "default_selfserve_rpm": 10,
        "default_selfserve_max_devices": 3,
        "default_selfserve_plan": "starter",
        "user_session_ttl_seconds": 21600,
        "cap_warn_pct": 85,
        "alert_webhook_url": None,
        "gateway_url": None,
        "monitor_retention_days": 30,
        "async_job_success_retention_days": 7,
        "async_job_retention_days": 30,
        "client_error_token": None,
        "metrics_token": None,
        "skyefuel_station_bonus_return_pct": 23,
        "skyefuel_station_discount_pct": 0,
        "skyefuel_station_fuel_usd": 1,
        "skyefuel_station_coin_usd": 1,
        "skyefuel_station_token_usd": 1,
        "skyefuel_station_key_session_usd": 25,
        "skyefuel_station_service_asset_name": "SkyeTokens",
        "skyefuel_station_fuel_asset_name": "SkyeFuel",
        "skyefuel_station_coin_asset_name": "SkyeCoins",
        "skyefuel_station_access_asset_name": "Kaixu Keys",
        "skyefuel_station_brain_url": None,
        "skyefuel_station_brain_public_url": None,
        "skyefuel_station_brain_admin_token": None,
    }
    assert settings.host_and_port == ("127.0.0.1", 8787)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, DATABASE_URL="", DEFAULT_RPM_LIMIT="", JWT_SECRET="")
    assert (settings.database_url, settings.default_rpm_limit, settings.jwt_secret) == (None, 120, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:8787", ("::1", 8787)), ("localhost:0", ("localhost", 0))],
)
def test_bind_is_host_and_port(monkeypatch: pytest.MonkeyPatch, text: str, expected: tuple[str, int]) -> None:
    assert given(monkeypatch, KAIXU_BIND=text).host_and_port == expected


def test_everything_wrong_in_the_environment_is_said_at_once_without_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(EnvironmentMistake) as caught:
        given(monkeypatch, KAIXU_BIND="nowhere", CAP_WARN_PCT="4711", DEFAULT_RPM_LIMIT="many")
    assert str(caught.value) == (
        "KAIXU_BIND: must be host:port; "
        "DEFAULT_RPM_LIMIT: must be a whole number; "
        "CAP_WARN_PCT: Input should be less than or equal to 99"
    )


@pytest.mark.parametrize("bind", ["8787", ":8787", "[]:1", "host:", "host:99999", "host:8x", "host:²"])
def test_bind_that_is_not_host_and_port_is_refused(monkeypatch: pytest.MonkeyPatch, bind: str) -> None:
    with pytest.raises(EnvironmentMistake, match="KAIXU_BIND"):
        given(monkeypatch, KAIXU_BIND=bind)


@pytest.mark.parametrize(
    "url",
    [
        "ai.example.com",
        "ftp://h",
        "https://",
        "https://u:secret@h",
        "http://h:99999",
        "http://[::1",
        "http://h/?secret=1",
    ],
)
def test_an_address_of_the_gateway_that_is_none_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with pytest.raises(EnvironmentMistake) as caught:
        given(monkeypatch, GATEWAY_URL=url)
    assert str(caught.value) == "GATEWAY_URL: must be http://host or https://host, without a login or a query"


def test_an_address_of_the_gateway_loses_the_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        given(monkeypatch, GATEWAY_URL="https://ai.example.com/gateway/").gateway_url
        == "https://ai.example.com/gateway"
    )


@pytest.mark.parametrize(
    "url",
    ["nonsense", "mysql://h/d", "postgres:/h", "postgresql://u:secret@h:99999/d", "postgresql://[::1/d", "h:5432/d"],
)
def test_an_address_that_is_no_database_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(EnvironmentMistake) as caught:
        given(monkeypatch, DATABASE_URL=url)
    assert str(caught.value) == "DATABASE_URL: must be postgresql://user:password@host:port/database"


@pytest.mark.parametrize(
    "url", ["postgres://h/d", "postgresql://u:p%40@[::1]:5432/d", "postgresql:///d?host=/tmp", "postgresql://a:1,b:2/d"]
)
def test_every_form_of_a_database_s_address_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert given(monkeypatch, DATABASE_URL=url).database_url is not None


def test_trusted_proxies_are_networks_or_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, KAIXU_TRUSTED_PROXIES=" 10.0.0.0/8, 192.0.2.7,::1 ,")
    assert [str(one) for one in settings.trusted_networks] == ["10.0.0.0/8", "192.0.2.7/32", "::1/128"]
    for wrong in ("proxy.internal", "10.0.0.1/8", "10.0.0.0/8 ::1"):
        with pytest.raises(EnvironmentMistake, match=r"^KAIXU_TRUSTED_PROXIES: must be networks"):
            given(monkeypatch, KAIXU_TRUSTED_PROXIES=wrong)


def test_secrets_never_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {name.upper(): f"{LONG}-{name}" for name in NAMES}
    settings = given(monkeypatch, DATABASE_URL=f"postgres://u:{LONG}@h/d", ALERT_WEBHOOK_URL=LONG, **values)
    secrets = secrets_of(settings, dev=False)
    assert LONG not in f"{settings!r} {settings} {settings.model_dump()} {secrets!r} {secrets}"
    assert secrets == Secrets(
        f"{LONG}-admin_password", f"{LONG}-jwt_secret", f"{LONG}-key_pepper", f"{LONG}-db_encryption_key"
    )


def test_without_dev_every_missing_secret_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = given(monkeypatch, JWT_SECRET=LONG, KAIXU_HOME=str(tmp_path / "home"))
    with pytest.raises(MissingSecrets) as caught:
        secrets_of(settings, dev=False)
    assert str(caught.value) == (
        "set ADMIN_PASSWORD, KEY_PEPPER, DB_ENCRYPTION_KEY, or start with --dev, which generates what is missing"
    )
    assert not (tmp_path / "home").exists()


def test_a_secret_that_is_missing_in_the_folder_of_secrets_is_told_with_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("admin_password", "jwt_secret", "db_encryption_key"):
        (tmp_path / name).write_text(LONG)
    settings = given(monkeypatch, KAIXU_SECRETS=str(tmp_path))
    with pytest.raises(MissingSecrets) as caught:
        secrets_of(settings, dev=False)
    assert str(caught.value) == f"set KEY_PEPPER: KAIXU_SECRETS ({tmp_path}) has no such file"


def test_secrets_that_can_be_guessed_are_refused_outside_dev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    short = {"ADMIN_PASSWORD": LONG[:11], "JWT_SECRET": LONG[:15], "KEY_PEPPER": LONG[:15]}
    settings = given(monkeypatch, DB_ENCRYPTION_KEY=LONG, KAIXU_HOME=str(tmp_path), **short)
    with pytest.raises(MissingSecrets) as caught:
        secrets_of(settings, dev=False)
    assert str(caught.value) == (
        "ADMIN_PASSWORD: at least 12 characters are needed; JWT_SECRET, KEY_PEPPER: at least 16 characters are needed"
    )
    assert secrets_of(settings, dev=True).jwt_secret == LONG[:15]
    # One that is accepted only for a while could be guessed as well.
    full = dict.fromkeys(("ADMIN_PASSWORD", "JWT_SECRET", "KEY_PEPPER"), LONG)
    settings = given(monkeypatch, DB_ENCRYPTION_KEY=LONG, JWT_SECRET_OLD=LONG[:15], KEY_PEPPER_OLD=LONG + "x", **full)
    with pytest.raises(MissingSecrets, match=r"^JWT_SECRET_OLD: at least 16"):
        secrets_of(settings, dev=False)
    settings = given(monkeypatch, DB_ENCRYPTION_KEY=LONG, JWT_SECRET_OLD="", KEY_PEPPER_OLD=LONG + "x", **full)
    secrets = secrets_of(settings, dev=False)
    assert (secrets.jwt_secrets, secrets.key_peppers) == ((LONG,), (LONG, LONG + "x"))


def test_dev_makes_up_what_is_missing_once_and_keeps_it_to_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "deep" / "home"
    settings = given(monkeypatch, KEY_PEPPER=LONG, KAIXU_HOME=str(home))
    first = secrets_of(settings, dev=True)
    assert first.made == {"admin_password", "jwt_secret", "db_encryption_key"}
    assert first.key_pepper == LONG
    assert min(len(first.admin_password), len(first.jwt_secret)) > 20
    assert stat.S_IMODE((home / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(json.loads((home / "secrets.json").read_text())) == first.made

    again = secrets_of(settings, dev=True)
    assert again.made == frozenset()
    assert (again.admin_password, again.jwt_secret) == (first.admin_password, first.jwt_secret)


def test_secret_that_is_given_later_wins_over_the_one_that_was_made_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets_of(given(monkeypatch, KAIXU_HOME=str(tmp_path)), dev=True)
    settings = given(monkeypatch, ADMIN_PASSWORD="mine", KAIXU_HOME=str(tmp_path))
    assert secrets_of(settings, dev=True).admin_password == "mine"


def kept_at(path: str) -> dict[str, str]:
    return stored_secrets(Path(path), list(NAMES))[0]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("forkserver")) as processes:
        answers = list(processes.map(kept_at, [str(tmp_path / "home" / "secrets.json")] * 8))
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key_pepper": 3}', '{"key_pepper": ""}', "\x00"])
def test_damaged_secrets_are_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)
    settings = given(monkeypatch, KAIXU_HOME=str(tmp_path))
    with pytest.raises(EnvironmentMistake, match=r"secrets\.json is damaged"):
        secrets_of(settings, dev=True)
    assert (tmp_path / "secrets.json").read_text() == text


def test_draft_left_by_a_crash_does_not_open_the_secrets_to_others(tmp_path: Path) -> None:
    (tmp_path / "secrets.draft").write_text("{")
    stored_secrets(tmp_path / "secrets.json", ["jwt_secret"])
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_without_logins_by_the_admin_password_none_is_needed() -> None:
    given: dict[str, Any] = {"jwt_secret": LONG, "key_pepper": LONG, "db_encryption_key": LONG}
    settings = Settings(admin_password_login=False, **given)
    assert secrets_of(settings, dev=False).admin_password == ""
    with pytest.raises(MissingSecrets, match="ADMIN_PASSWORD"):
        secrets_of(Settings(**given), dev=False)


def test_secrets_are_read_from_files_and_variables_take_precedence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in {
        "key_pepper": f"{LONG}1\n",
        "JWT_SECRET": f"{LONG}2",
        "db_encryption_key": f"{LONG}3",
        "admin_password": f"{LONG}4",
        "kaixu_bind": "0.0.0.0:1",  # not a secret
        "openai": "of a lane",
    }.items():
        (tmp_path / name).write_text(text)
    settings = given(monkeypatch, KAIXU_SECRETS=str(tmp_path), DB_ENCRYPTION_KEY=f"{LONG}5", ADMIN_PASSWORD="")
    assert secrets_of(settings, dev=False) == Secrets(f"{LONG}4", f"{LONG}2", f"{LONG}1", f"{LONG}5")
    assert settings.kaixu_bind == "127.0.0.1:8787"


def test_files_of_secrets_that_cannot_be_used_are_named_without_their_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key_pepper").write_text("\n")
    (tmp_path / "jwt_secret").write_bytes(b"\xff" * 20)
    (tmp_path / "database_url").write_text("mysql://user:hunter2@host/db")
    with pytest.raises(EnvironmentMistake) as caught:
        given(monkeypatch, KAIXU_SECRETS=str(tmp_path))
    assert f"KEY_PEPPER: {tmp_path}/key_pepper is empty" in str(caught.value)
    assert f"JWT_SECRET: {tmp_path}/jwt_secret is not UTF-8" in str(caught.value)
    for name in ("key_pepper", "jwt_secret"):
        (tmp_path / name).unlink()
    with pytest.raises(EnvironmentMistake, match="DATABASE_URL: must be postgresql:") as caught:
        given(monkeypatch, KAIXU_SECRETS=str(tmp_path))
    assert "hunter2" not in str(caught.value)
    with pytest.raises(EnvironmentMistake, match="nowhere cannot be read: No such file"):
        given(monkeypatch, KAIXU_SECRETS=str(tmp_path / "nowhere"))
