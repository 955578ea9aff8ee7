"""docs/plugin-authors/integrations.md: the examples of its chapters about panels and commands work."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from textwrap import indent
from typing import Any, get_args, get_type_hints

import asyncpg
import pytest

from kaixu.catalog.build import build
from kaixu.config.load import load
from kaixu.edge.services import Services
from kaixu.gateway.app import Application
from kaixu.metering.panels import PanelLoads
from kaixu.plugin import panels
from kaixu.plugin.access import Caller
from kaixu.plugin.testing import FakeView, load_panel
from tests.api.admin.conftest import app as app  # a fixture
from tests.api.admin.conftest import services as services  # a fixture
from tests.api.test_operations import House
from tests.support.kaixu import run_kaixu
from tests.support.money import customer
from tests.support.operators import admin_token

from .pages import blocks, text_of

PAGE = text_of("docs/plugin-authors/integrations.md")


def block(language: str, marker: str) -> str:
    """The block of the page that has this text."""
    (found,) = [one for one in blocks(PAGE, language) if marker in one]
    return found


async def test_the_panel_shows_the_colour_and_its_form_changes_it(
    tmp_path: Path, app: Application, services: Services, pool: asyncpg.Pool
) -> None:
    (tmp_path / "wall.py").write_text(block("python", 'Panel("Wall"'))
    (tmp_path / "kaixu.yaml").write_text(block("yaml", "wall.py"))
    services.current.catalog = catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path)
    services.gate.databases.pool = pool
    state = catalog.integrations["wall"]
    assert (state.state, state.reason) == ("on", None)
    assert state.integration is not None
    (panel,) = state.integration.panels
    customer_id = await customer(pool)

    async def colour() -> object:
        parts, _ = await PanelLoads().load(
            services.gate,
            state,
            panel,
            customer_id=customer_id,
            caller=Caller("operator", "viewer"),
            month="2026-11",
            filters={},
            request_id="r1",
        )
        return parts[0].value

    assert await colour() == "red"
    house = House(app, services, pool)
    body = {"customer_id": customer_id, "colour": "blue"}
    assert await house.ask("POST", "/v1/wall/paint", body, key=admin_token()) == (200, {"ok": True})
    assert await colour() == "blue"
    names: dict[str, Any] = {"load_panel": load_panel, "FakeView": FakeView, "panels": panels}
    exec(f"async def check():\n{indent(block('python', 'FakeView('), '    ')}", names)
    names["INTEGRATION"] = state.integration
    await names["check"]()


async def test_the_form_with_a_file_is_one_for_the_upload(
    tmp_path: Path, services: Services, pool: asyncpg.Pool
) -> None:
    (tmp_path / "shelf.py").write_text(block("python", 'Panel("Shelf"'))
    (tmp_path / "kaixu.yaml").write_text("integrations:\n  shelf: {plugin: ./shelf.py}\n")
    services.current.catalog = catalog = build(load(tmp_path / "kaixu.yaml", {}), tmp_path)
    services.gate.databases.pool = pool
    state = catalog.integrations["shelf"]
    assert state.integration is not None
    parts, _ = await PanelLoads().load(
        services.gate,
        state,
        state.integration.panels[0],
        customer_id=await customer(pool),
        caller=Caller("session", "owner"),
        month="2026-11",
        filters={},
        request_id="r1",
    )
    assert parts == [panels.File("shelf.put", file_name="name", most_bytes=2**31)]
    assert [one.upload for one in state.integration.operations if one.name == parts[0].operation] == [True]


def test_every_part_cell_and_field_is_named() -> None:
    for kind in (*get_args(panels.Part), *get_args(panels.Cell)):
        if kind.__module__ == panels.__name__:
            assert f"`{kind.__name__}(" in PAGE, kind.__name__
    for name in get_args(get_type_hints(panels.Field)["type"]):
        assert f"`{name}`" in PAGE or f'`"{name}"`' in PAGE, name


def test_the_command_is_found_and_runs(tmp_path: Path) -> None:
    points = tomllib.loads(block("toml", "kaixu.commands"))["project"]["entry-points"]["kaixu.commands"]
    assert points == {"desk": "kaixu_desk_commands:desk"}
    info = tmp_path / "kaixu_desk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kaixu-desk\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kaixu.commands]\ndesk = kaixu_desk_commands:desk\n")
    (tmp_path / "kaixu_desk_commands.py").write_text(block("python", "GatewayClient, short"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    assert "Say whose desk this is." in run_kaixu("--help", environment=environment, folder=tmp_path).stdout
    reached = {"KAIXU_URL": "http://127.0.0.1:9", "KAIXU_KEY": "kx"}
    ran = run_kaixu("desk", "--short", environment=environment | reached, folder=tmp_path)
    assert (ran.returncode, ran.stderr.splitlines()[0]) == (
        1,
        "the gateway at http://127.0.0.1:9 does not answer: ConnectError",
    )


@pytest.mark.parametrize("name", ["KAIXU_URL", "KAIXU_KEY", "KAIXU_TRACEBACK", "--url", "--key"])
def test_what_a_command_reads_is_named(name: str) -> None:
    assert name in PAGE
