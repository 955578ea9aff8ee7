"""`platforms:` and `station:` of kaixu.yaml, and the environment that `station:` falls back to."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from kaixu.assets import asset
from kaixu.config.check import check
from kaixu.config.document import Document
from kaixu.config.environment import EnvironmentMistake, Settings, settings_from_environment
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError
from kaixu.config.platforms_section import PlatformsSection, SurfaceSection
from kaixu.config.read import read_text
from kaixu.config.station import station_of
from kaixu.config.station_section import BrainSection, ProductSection, ProductsSection, StationSection

LANE = "lanes: {up: {plugin: echo, models: {m: {type: chat, aliases: [n]}}}}\n"
SURFACE = "platforms: {surfaces: {space: {title: Space, launch_url: /space/, FIELD}}}\n"


def checked(text: str) -> Document:
    """A kaixu.yaml."""
    return check(read_text(text, "kaixu.yaml", {}))


def mistakes(text: str) -> list[str]:
    """What is wrong with one."""
    with pytest.raises(ConfigError) as caught:
        checked(text)
    return [str(one) for one in caught.value.mistakes]


def test_the_shipped_file_has_the_four_surfaces_of_the_contract() -> None:
    surfaces = load(asset("kaixu.yaml"), {}).platforms.surfaces
    assert {app: (one.launch_url, one.storage_mode, one.visibility) for app, one in surfaces.items()} == {
        "skyefuelstation": ("/skyefuelstation/", "gateway-metrics", "public"),
        "skyespace": ("/skyespace/", "gateway-functions", "public"),
        "skymail-suite": ("/skymail-suite/", "platform-state", "admin"),
        "cohort-command": ("/cohort-command/", "platform-state", "admin"),
    }


def test_the_example_of_everything_names_every_field() -> None:
    text = (asset("config") / "examples" / "everything.yaml").read_text()
    for model in (PlatformsSection, SurfaceSection, StationSection, ProductsSection, ProductSection, BrainSection):
        for name, field in model.model_fields.items():
            assert f"{name}:" in text, f"{model.__name__}.{name}"
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    "field",
    [
        "launch_url: //evil.example",
        "launch_url: 'javascript:alert(1)'",
        "launch_url: ftp://example.com",
        "launch_url: relative",
        "health_url: /health",
        "health_url: 'http://user:password@example.com'",
        "health_url: 'http://'",
        "health_url: 'http://[::1'",
        "health_url: 'http://example.com:99999'",
        "health_url: 'http://example.com/ x'",
        "storage_mode: elsewhere",
        "visibility: secret",
        "titel: x",
        f"description: {'x' * 1001}",
    ],
)
def test_a_surface_that_cannot_be_is_a_mistake(field: str) -> None:
    text = SURFACE.replace("launch_url: /space/, ", "" if field.startswith("launch_url") else "launch_url: /space/, ")
    [mistake] = mistakes(text.replace("FIELD", field))
    assert mistake.startswith("kaixu.yaml:1:")


@pytest.mark.parametrize("app_id", ["Space", "a b", "-a", "'a/b'", "a" * 64])
def test_an_app_id_is_a_plain_word(app_id: str) -> None:
    assert mistakes(f"platforms: {{surfaces: {{{app_id}: {{title: x, launch_url: /}}}}}}")


def test_the_backup_model_is_one_of_the_file() -> None:
    assert checked(LANE + "platforms: {backup_model: up/m}").platforms.backup_model == "up/m"
    assert checked(LANE + "platforms: {backup_model: up/n}").platforms.backup_model == "up/n"
    [mistake] = mistakes(LANE + "platforms: {backup_model: up/mm}")
    assert mistake == "kaixu.yaml:2:13: no such model: `up/mm`; did you mean `up/m`?"
    assert len(mistakes(LANE + "platforms: {backup_model: m}")) == 2  # too short for lane/model, and not there


@pytest.mark.parametrize(
    "station",
    [
        "{bonus_return_pct: -1}",
        "{discount_pct: 101}",
        "{products: {fuel: {unit_usd: 0}}}",
        "{products: {fuel: {unit_usd: 0.0000000001}}}",
        "{products: {gold: {unit_usd: 1}}}",
        "{brain: {url: 'https://user:secret@brain.example'}}",
        "{brain: {url: 'https://brain.example/?token=1'}}",
        "{name: ''}",
    ],
)
def test_a_station_that_cannot_be_is_a_mistake(station: str) -> None:
    [mistake] = mistakes(f"station: {station}")
    assert mistake.startswith("kaixu.yaml:1:")
    assert "secret" not in mistake


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKYEFUEL_STATION_TOKEN_USD", "0"),
        ("SKYEFUEL_STATION_TOKEN_USD", "NaN"),
        ("SKYEFUEL_STATION_TOKEN_USD", "Infinity"),
        ("SKYEFUEL_STATION_DISCOUNT_PCT", "a lot"),
        ("SKYEFUEL_STATION_BONUS_RETURN_PCT", "1e9"),
        ("SKYEFUEL_STATION_BRAIN_URL", "https://user:secret@brain.example"),
        ("SKYEFUEL_STATION_FUEL_ASSET_NAME", "x" * 81),
    ],
)
def test_a_variable_that_cannot_be_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentMistake) as caught:
        settings_from_environment()
    assert str(caught.value).startswith(f"{name}: ")
    assert "secret" not in str(caught.value)


def test_the_file_comes_before_the_environment_and_the_environment_before_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SKYEFUEL_STATION_DISCOUNT_PCT", "5")
    monkeypatch.setenv("SKYEFUEL_STATION_BONUS_RETURN_PCT", "7.5")
    monkeypatch.setenv("SKYEFUEL_STATION_KEY_SESSION_USD", "30")
    monkeypatch.setenv("SKYEFUEL_STATION_BRAIN_URL", "https://brain.example/")
    monkeypatch.setenv("SKYEFUEL_STATION_BRAIN_ADMIN_TOKEN", "brain-token")
    station = station_of(checked("station: {discount_pct: 0}").station, settings_from_environment())
    assert (station.discount_pct, station.bonus_return_pct) == (Decimal(0), Decimal("7.5"))
    assert (station.keys.unit_usd, station.tokens.unit_usd) == (Decimal(30), Decimal(1))
    assert station.brain.url == "https://brain.example"
    assert "brain-token" not in repr(station)


def test_names_have_one_meaning() -> None:
    with pytest.raises(ValidationError):
        PlatformsSection.model_validate({"surfaces": {f"s{at}": {"title": "x", "launch_url": "/"} for at in range(51)}})
    assert Settings().skyefuel_station_service_asset_name == "SkyeTokens"
