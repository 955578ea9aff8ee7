"""`admin-lanes`: lanes, models, deployments, plugins and integrations, and what is wrong with kaixu.yaml."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaixu.catalog.catalog import Catalog
from kaixu.config.check import InvalidDocument
from kaixu.config.document import Document
from kaixu.config.load import load
from kaixu.config.mistakes import ConfigError, Mistake
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.reports.lane_figures import LaneFigures, lane_figures
from kaixu.reports.schedules import list_schedules
from kaixu.reports.shared_reads import SharedReads

from .lane_replies import integration_json, lane_json, plugin_json

#: The parts of kaixu.yaml that the page compares with what is in force.
OF_MODELS = ("lanes", "integrations")


def lane_routes(services: Services) -> list[Route]:
    """The route of the list."""
    shared = SharedReads()

    async def show(request: IncomingRequest) -> Reply:
        month = request.args.get("month")
        figures: LaneFigures = await shared.read(month, lambda: lane_figures(services.reports, month=month))
        catalog, breakers = services.catalog, services.gate.breakers
        schedules = {}
        if catalog.schedules:
            schedules = {row.name: row for row in await list_schedules(services.reports)}
        now = await asyncio.to_thread(read_now, services.settings.kaixu_config, catalog)
        return json_reply(
            {
                "ok": True,
                "month": figures.month,
                "lanes": [
                    lane_json(state, catalog, breakers, figures, now.unset("lanes", name))
                    for name, state in catalog.lanes.items()
                ],
                "plugins": [plugin_json(one) for one in catalog.plugins],
                "integrations": [
                    integration_json(state, schedules, now.unset("integrations", name))
                    for name, state in catalog.integrations.items()
                ],
                "config": {
                    "file": services.settings.kaixu_config.name,
                    "is_changed": now.is_changed,
                    "mistakes": [mistake_json(one) for one in now.mistakes],
                    "mistakes_in_force": [mistake_json(one) for one in catalog.mistakes],
                    "notes": list(catalog.notes),
                },
            }
        )

    return [operator_route(services, "GET", "admin-lanes", show)]


class FileNow:
    """kaixu.yaml as it is on the disk now, which may differ from what is in force."""

    def __init__(self, document: Document | None, mistakes: list[Mistake], *, is_changed: bool) -> None:
        self.document = document
        self.mistakes = mistakes
        self.is_changed = is_changed

    def unset(self, kind: str, name: str) -> list[str]:
        """The variables that a section names and that are not set."""
        if self.document is None:
            return []
        return [name_ for path, name_ in self.document.reading.unset.items() if path[:2] == (kind, name)]


def read_now(path: Path, catalog: Catalog, environ: Mapping[str, str] = os.environ) -> FileNow:
    """Read the file, as a reload would begin; no plugin is loaded. Never raises for what is in the file."""
    try:
        document = load(path, environ)
    except InvalidDocument as error:
        return FileNow(error.usable, error.mistakes, is_changed=True)
    except ConfigError as error:
        return FileNow(None, error.mistakes, is_changed=True)
    except OSError:
        return FileNow(None, [], is_changed=True)
    in_force: dict[str, dict[str, Any]] = {
        "lanes": {name: one.section for name, one in catalog.lanes.items()},
        "integrations": {name: one.section for name, one in catalog.integrations.items()},
    }
    is_changed = any(getattr(document, kind) != in_force[kind] for kind in OF_MODELS)
    return FileNow(document, [], is_changed=is_changed)


def mistake_json(one: Mistake) -> dict[str, Any]:
    """A mistake and where it is."""
    return {"file": Path(one.file).name, "line": one.line, "column": one.column, "message": one.message}
