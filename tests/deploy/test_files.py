"""The files for operators fit together, and fit the gateway: Containerfile, compose.yaml, config/deploy."""

from __future__ import annotations

import configparser
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

from kaixu.config.environment import Settings, settings_from_environment
from kaixu.config.gateway_section import GatewaySection
from kaixu.gateway.servers import CLOSE_S, LAST_REPLIES_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "config" / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway-")]

#: How long a gateway can take to stop after its drain.
STOP_S = GatewaySection().grace_s + LAST_REPLIES_S + CLOSE_S


def mounts(service: str) -> dict[str, str]:
    """What of this folder a service sees, by the path in its container."""
    pairs = (one.split(":") for one in SERVICES[service].get("volumes", []))
    return {target: source for source, target, *_ in pairs if source.startswith("./")}


def test_all_that_compose_mounts_is_here_or_prepared(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    for _ in range(2):  # again: what is there is kept
        done = subprocess.run(
            ["sh", str(DEPLOY / "prepare.sh"), str(folder)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        secret = (folder / "gateway" / "secrets" / "key_pepper").read_text()
    assert (len(secret), (folder / "gateway" / "secrets" / "key_pepper").read_text()) == (64, secret)
    assert folder.stat().st_mode & 0o77 == 0
    for service in SERVICES:
        for source in mounts(service).values():
            path = source.removeprefix("./")
            prepared = path.startswith("deployment/")
            assert (tmp_path / path if prepared else ROOT / path).exists(), source
    password = (folder / "postgres" / "kaixu_password").read_text()
    assert (
        folder / "gateway" / "secrets" / "database_url"
    ).read_text() == f"postgresql://kaixu:{password}@pgbouncer:6432/kaixu"


def test_a_gateway_of_compose_has_all_that_it_needs(monkeypatch: Any, tmp_path: Path) -> None:
    subprocess.run(["sh", str(DEPLOY / "prepare.sh"), str(tmp_path / "deployment")], check=True, capture_output=True)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for gateway in [*GATEWAYS, "migrate"]:
        given = {name: value for name, value in SERVICES[gateway]["environment"].items() if value is not None}
        assert given.keys() <= {name.upper() for name in Settings.model_fields}
        mounted = {target: source for target, source in mounts(gateway).items() if target == "/etc/kaixu"}
        assert mounted == {"/etc/kaixu": "./deployment/gateway"}
        for name, value in given.items():
            monkeypatch.setenv(name, value.replace("/etc/kaixu", str(tmp_path / "deployment" / "gateway")))
        settings = settings_from_environment()
        assert settings.kaixu_config.exists()
        assert settings.kaixu_pooler
        for secret in ("admin_password", "jwt_secret", "key_pepper", "db_encryption_key", "database_url"):
            assert getattr(settings, secret) is not None
        assert (
            str(settings.trusted_networks[0].network_address) == SERVICES["nginx"]["networks"]["inner"]["ipv4_address"]
        )
    homes = [next(one for one in SERVICES[name]["volumes"] if one.endswith(":/data")) for name in GATEWAYS]
    assert len(set(homes)) == len(GATEWAYS)  # a data folder belongs to one gateway


def test_services_find_each_other_by_their_names() -> None:
    servers = re.findall(r"^ *server ([\w-]+):(\d+)", (DEPLOY / "nginx" / "kaixu.conf").read_text(), re.MULTILINE)
    assert servers == [(name, "8787") for name in GATEWAYS]
    pooler = configparser.ConfigParser()
    pooler.read(DEPLOY / "pgbouncer" / "pgbouncer.ini")
    assert pooler["databases"]["kaixu"].split()[0] == "host=postgres"
    most = int(re.search(r"max_connections=(\d+)", str(SERVICES["postgres"]["command"]))[1])  # type: ignore[index]
    assert int(pooler["pgbouncer"]["max_db_connections"]) <= most - 20
    per_gateway = sum(
        GatewaySection().database.model_dump()[name] for name in ("money", "general", "searches", "reports")
    )
    assert int(pooler["pgbouncer"]["default_pool_size"]) >= len(GATEWAYS) * per_gateway
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]


def test_no_one_kills_a_gateway_that_is_stopping_in_time() -> None:
    assert all(seconds(SERVICES[name]["stop_grace_period"]) > STOP_S for name in GATEWAYS)
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "kaixu.service")
    assert int(unit["Service"]["TimeoutStopSec"]) > STOP_S
    # Secrets are not in the unit, which every user may read.
    assert not re.search("PASSWORD|JWT_SECRET|PEPPER|ENCRYPTION|DATABASE_URL", (DEPLOY / "kaixu.service").read_text())


def seconds(text: str) -> int:
    """`90s`."""
    return int(text.removesuffix("s"))


def test_the_image_is_built_from_what_the_wheel_needs_and_nothing_else() -> None:
    lines = (ROOT / ".containerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in (*build["only-include"], *build["force-include"]):
        assert any(path == one or path.startswith(f"{one}/") for one in kept), path
    assert "*" in lines  # whatever is new stays outside
    assert (ROOT / ".dockerignore").resolve() == ROOT / ".containerignore"
    text = (ROOT / "Containerfile").read_text()
    assert all((ROOT / "locks" / name).exists() for name in re.findall(r"locks/([\w-]+\.txt)", text))
    assert text.count("pip install") + text.count("install -q --no-cache-dir") >= 3
    for command in re.findall(r"install -q --no-cache-dir ([^&]*)", text):
        assert "--require-hashes" in command or "--no-index" in command
    assert not re.search("PASSWORD|JWT_SECRET|PEPPER|ENCRYPTION_KEY|API_KEY", text)
